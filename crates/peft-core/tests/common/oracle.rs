//! One layer with a constant gradient, and the LoSiA reference's update of it in f64 on the host.

use super::tolerance;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::optim::GradientsParams;
use burn::tensor::{Device, FloatDType, Tensor};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::subnet::Subnet;
use peft_core::{StepReport, Tuner, TunerConfig, hook};

pub const ROWS: usize = 4;
pub const COLS: usize = 6;

/// `loss = Σ (I·W) ⊙ G`, so that `∂loss/∂W = G` whatever W is.
#[derive(Module, Debug)]
pub struct Constant {
    pub layer: Linear,
}

impl Constant {
    pub fn new(device: &Device) -> Self {
        let weight: Vec<f32> = (0..ROWS * COLS).map(|i| 0.1 * i as f32 - 1.0).collect();
        let weight = Tensor::<1>::from_floats(weight.as_slice(), device).reshape([ROWS, COLS]);
        Self { layer: Linear { weight: Param::from_tensor(weight.detach()), bias: None } }
    }

    pub fn grads(&self) -> GradientsParams {
        let device = self.layer.weight.device();
        let grad: Vec<f32> = (0..ROWS * COLS).map(|i| gradient(i) as f32).collect();
        let grad = Tensor::<1>::from_floats(grad.as_slice(), &device).reshape([ROWS, COLS]);
        let dtype = FloatDType::from(self.layer.weight.dtype());
        let y = hook::linear(&self.layer, Tensor::<2>::eye(ROWS, &device).cast(dtype));
        GradientsParams::from_grads((y * grad.cast(dtype)).sum().backward(), self)
    }

    pub fn attach(self, config: LosiaConfig, max_grad_norm: Option<f64>) -> (Tuner<Losia>, Self) {
        let tuner_config = TunerConfig { max_grad_norm, ..TunerConfig::default() };
        Tuner::attach(Losia::new(config).unwrap(), tuner_config, self).unwrap()
    }

    pub fn step(self, tuner: &mut Tuner<Losia>) -> (Self, StepReport) {
        let grads = self.grads();
        tuner.step(self, &mut super::optim(), grads).unwrap()
    }

    /// The effective weight.
    pub fn weight(&self) -> Vec<f64> {
        self.layer.weight.val().into_data().iter::<f64>().collect()
    }
}

/// `G`, entry by entry.
pub fn gradient(index: usize) -> f64 {
    (0.25 * index as f64 - 2.0) * 0.01
}

/// Indices of a subnet's entries in the flattened weight.
pub fn entries(subnet: &Subnet) -> Vec<usize> {
    super::cells(subnet.rows(), subnet.cols()).map(|(row, col)| row * COLS + col).collect()
}

/// The reference's optimizer: Adam with eps before bias correction, then decoupled decay.
pub struct Reference {
    pub weight: Vec<f64>,
    pub eps: f64,
    pub weight_decay: f64,
    /// What the gradients are multiplied by.
    pub factor: f64,
    pub moments: Vec<(f64, f64)>,
}

impl Reference {
    pub fn new(weight: Vec<f64>, eps: f64) -> Self {
        let moments = vec![(0.0, 0.0); weight.len()];
        Self { weight, eps, weight_decay: 0.0, factor: 1.0, moments }
    }

    /// Update number `t`, counted from 1, of the given entries.
    pub fn step(&mut self, entries: &[usize], lr: f64, t: usize) {
        let step_size =
            lr * (1.0 - 0.999_f64.powi(t as i32)).sqrt() / (1.0 - 0.9_f64.powi(t as i32));
        for &index in entries {
            let grad = self.factor * gradient(index);
            let (m, v) = &mut self.moments[index];
            *m = 0.9 * *m + 0.1 * grad;
            *v = 0.999 * *v + 0.001 * grad * grad;
            self.weight[index] -= step_size * *m / (v.sqrt() + self.eps);
            self.weight[index] *= 1.0 - lr * self.weight_decay;
        }
    }

    pub fn forget_moments(&mut self) {
        self.moments.fill((0.0, 0.0));
    }

    pub fn assert_matches(&self, weight: &[f64], what: &str) {
        for (index, (got, want)) in weight.iter().zip(&self.weight).enumerate() {
            assert!(
                (got - want).abs() < f64::from(tolerance(2e-6)),
                "{what}, entry {index}: {got} against {want}"
            );
        }
    }
}
