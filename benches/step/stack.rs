//! A stack of linear layers, as it stands in the middle of a model: its input requires a gradient
//! whatever is trained.

use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Distribution, Tensor};
use burn_peft::core::{Error, hook};

use crate::harness;
use crate::methods::{self, Workload};
use crate::report::Measured;

const LAYERS: usize = 8;
const WIDTH: usize = 1024;
const ROWS: usize = 512;

/// Linear layers without biases, SiLU between them.
#[derive(Module, Debug)]
struct Stack {
    layers: Vec<Linear>,
    /// Whether adapters are computed on activations.
    #[module(skip)]
    hooked: bool,
}

impl Stack {
    fn new(device: &Device) -> Self {
        // SiLU leaves 0.36 of the mean square: this gain makes up for it.
        let initializer = Initializer::KaimingNormal { gain: 1.68, fan_out_only: false };
        let linear = LinearConfig::new(WIDTH, WIDTH).with_bias(false).with_initializer(initializer);
        Self { layers: (0..LAYERS).map(|_| linear.init(device)).collect(), hooked: true }
    }

    fn linear(&self, layer: &Linear, x: Tensor<2>) -> Tensor<2> {
        match self.hooked {
            true => hook::linear(layer, x),
            false => layer.forward(x),
        }
    }
}

impl Workload for Stack {
    type Batch = Tensor<2>;

    fn loss(&self, x: &Tensor<2>) -> Tensor<1> {
        let mut y = self.linear(&self.layers[0], x.clone());
        for layer in &self.layers[1..] {
            y = self.linear(layer, silu(y));
        }
        y.square().mean()
    }
}

/// Measures everything on the stack.
pub fn measure(device: &Device) -> Result<Measured, Error> {
    let normal = Distribution::Normal(0.0, 1.0);
    let input = || Tensor::<2>::random([ROWS, WIDTH], normal, device).require_grad();
    let stack = Stack::new(device).no_grad();
    let mut contestants = methods::tuned(|| (Stack::new(device), input()), LAYERS, &[])?;
    let composed = Stack { hooked: false, ..Stack::new(device) };
    contestants.insert(2, methods::burn_lora(composed, input()));
    contestants.push(methods::importance(&[&stack.layers[0]]));
    let series = harness::measure(methods::floor(stack, input()), contestants)?;
    let title = format!("{LAYERS} linears of {WIDTH} x {WIDTH}, {ROWS} rows");
    Ok(Measured { title, slots: LAYERS, series })
}
