//! A stack of linear layers, as it stands in the middle of a model: its input requires a gradient
//! whatever is trained.

use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Distribution, Tensor};
use burn_peft::core::{Error, hook};

use crate::harness;
use crate::low_rank::LowRank;
use crate::methods::{self, Workload};
use crate::report::Measured;

const LAYERS: usize = 8;
const WIDTH: usize = 1024;
const ROWS: usize = 512;

/// Linear layers without biases, SiLU between them.
#[derive(Module, Debug)]
struct Stack {
    layers: Vec<Linear>,
}

/// A stack with a low-rank update of every layer.
#[derive(Module, Debug)]
struct LowRankStack {
    stack: Stack,
    updates: Vec<LowRank>,
}

impl Stack {
    fn new(device: &Device) -> Self {
        // SiLU leaves 0.36 of the mean square: this gain makes up for it.
        let initializer = Initializer::KaimingNormal { gain: 1.68, fan_out_only: false };
        let linear = LinearConfig::new(WIDTH, WIDTH).with_bias(false).with_initializer(initializer);
        Self { layers: (0..LAYERS).map(|_| linear.init(device)).collect() }
    }

    fn loss(
        &self,
        x: &Tensor<2>,
        linear: impl Fn(usize, &Linear, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<1> {
        let mut y = linear(0, &self.layers[0], x.clone());
        for (index, layer) in self.layers.iter().enumerate().skip(1) {
            y = linear(index, layer, silu(y));
        }
        y.square().mean()
    }
}

impl Workload for Stack {
    type Batch = Tensor<2>;

    fn loss(&self, x: &Tensor<2>) -> Tensor<1> {
        self.loss(x, |_, layer, x| hook::linear(layer, x))
    }
}

impl Workload for LowRankStack {
    type Batch = Tensor<2>;

    fn loss(&self, x: &Tensor<2>) -> Tensor<1> {
        self.stack.loss(x, |index, layer, x| self.updates[index].forward(layer, x))
    }
}

/// Measures everything on the stack.
pub fn measure(device: &Device) -> Result<Measured, Error> {
    let normal = Distribution::Normal(0.0, 1.0);
    let input = || Tensor::<2>::random([ROWS, WIDTH], normal, device).require_grad();
    let stack = Stack::new(device).no_grad();
    let updates = stack.layers.iter().map(|layer| LowRank::new(layer, device)).collect();
    let low_rank = LowRankStack { stack: stack.clone(), updates };
    let mut contestants = methods::tuned(|| (Stack::new(device), input()), LAYERS, &[])?;
    contestants.insert(1, methods::low_rank(low_rank, input()));
    contestants.push(methods::importance(&[&stack.layers[0]]));
    let series = harness::measure(methods::floor(stack, input()), contestants)?;
    let title = format!("{LAYERS} linears of {WIDTH} x {WIDTH}, {ROWS} rows");
    Ok(Measured { title, slots: LAYERS, series })
}
