//! Burn's own LoRA.

use burn::module::{
    Lora, LoraAdapter, Module, Param, ParamGroup, Reparameterization, Reparameterizer,
};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Tensor;
use burn_peft::core::Error;

use crate::contestants::Training;
use crate::harness::{Contestant, Kind};
use crate::methods::{LEARNING_RATE, RANK};
use crate::workload::Workload;

/// As any Burn model runs it, composing dense weights, and in a model that calls the hook.
pub fn both<M: Workload>(make: impl Fn() -> M, batch: &M::Batch) -> [Box<dyn Contestant>; 2] {
    let others: Vec<_> = M::OUTPUT_HEAD.into_iter().chain(M::EMBEDDING).collect();
    let adapted = ParamGroup::all().exclude(ParamGroup::from_paths(others));
    let lora = || Lora::new(RANK, RANK as f64).set_param_group(adapted.clone());
    let composed = make().apply_reparameterization(Composing(lora()));
    let hooked = make().apply_lora(lora());
    [(Kind::BurnLora, composed), (Kind::BurnLoraHook, hooked)]
        .map(|(kind, model)| training(kind, model.reached(), batch.clone()))
}

/// AdamW trains whatever requires a gradient.
fn training<M: Workload>(kind: Kind, model: M, batch: M::Batch) -> Box<dyn Contestant> {
    let mut optim = AdamWConfig::new().init();
    let update = move |model: M, grads: GradientsParams| {
        Ok::<_, Error>((optim.step(LEARNING_RATE, model, grads), false))
    };
    Box::new(Training { kind, model: Some(model), batch, update })
}

/// Burn's adapter as a type the hook does not know, so that forward passes compose dense weights.
#[derive(Module, Debug)]
struct Composed {
    adapter: LoraAdapter,
}

impl Reparameterization for Composed {
    const NAME: &'static str = LoraAdapter::NAME;

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        self.adapter.apply(base)
    }
}

struct Composing(Lora);

impl Reparameterizer for Composing {
    type Reparam = Composed;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Composed>) {
        let (base, adapter) = self.0.reparameterize(path, param);
        (base, adapter.map(|adapter| Composed { adapter }))
    }
}
