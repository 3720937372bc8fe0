//! A stack of linear layers, as it stands in the middle of a model: its input requires a gradient
//! whatever is trained.

use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Distribution, Tensor};
use burn_peft::core::hook;

use crate::harness::{self, Failure, Plan};
use crate::report::Measured;
use crate::size::Size;
use crate::workload::Workload;

const LAYERS: usize = 8;

/// Linear layers without biases, SiLU between them.
#[derive(Module, Debug)]
struct Stack {
    layers: Vec<Linear>,
}

impl Stack {
    fn new(width: usize, device: &Device) -> Self {
        // SiLU leaves 0.36 of the mean square: this gain makes up for it.
        let initializer = Initializer::KaimingNormal { gain: 1.68, fan_out_only: false };
        let linear = LinearConfig::new(width, width).with_bias(false).with_initializer(initializer);
        Self { layers: (0..LAYERS).map(|_| linear.init(device)).collect() }
    }
}

impl Workload for Stack {
    type Batch = Tensor<2>;

    fn loss(&self, x: &Tensor<2>) -> Tensor<1> {
        let mut y = hook::linear(&self.layers[0], x.clone());
        for layer in &self.layers[1..] {
            y = hook::linear(layer, silu(y));
        }
        y.square().mean()
    }

    fn first_slot(&self) -> Vec<&Linear> {
        vec![&self.layers[0]]
    }
}

/// Measures everything on the stack.
pub fn measure(device: &Device, size: Size, pairs: usize) -> Result<Measured, Failure> {
    let (width, rows) = match size {
        Size::Small => (1024, 512),
        Size::Llama7b => (4096, 2048),
    };
    let make = || size.cast(Stack::new(width, device));
    let normal = Distribution::Normal(0.0, 1.0);
    let input = Tensor::<2>::random([rows, width], normal, device);
    let input = input.cast(size.dtype()).detach().require_grad();
    let plan = Plan { device: device.clone(), pairs, slots: LAYERS };
    let series = harness::measure(make, input, &plan)?;
    let title = format!("{LAYERS} linears of {width} x {width}, {rows} rows");
    Ok(Measured { title, slots: LAYERS, series })
}
