//! What a method would take of a model, told without the model's weights.

use std::collections::HashMap;

use burn::module::{Module, ParamId};

use crate::adapter::Adapter;
use crate::method::Method;
use crate::tuner::{self, ParamCounts};
use crate::{Catalogue, Error, ParamInfo, TunerConfig};

/// What a method would take of a model.
#[derive(Debug, Clone)]
pub struct Outline {
    /// Sizes of the attached model.
    pub counts: ParamCounts,
    /// The weights that get an adapter, in the order of the model.
    pub adapted: Vec<AdaptedWeight>,
    /// The parameters trained densely, in the order of the model.
    pub dense: Vec<ParamInfo>,
}

/// A weight that gets an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaptedWeight {
    /// The weight.
    pub param: ParamInfo,
    /// Elements of its adapter that train.
    pub trainable: usize,
    /// Input features that a forward pass keeps for the backward pass: those of a subnet that is
    /// computed on activations, all of them for other adapters.
    pub kept_inputs: usize,
    /// Whether forward passes compute the adapter on activations. If not, each composes the dense
    /// weight.
    pub on_activations: bool,
}

impl Outline {
    /// Attaches `method` to a model that has the parameters of `catalogue`, as
    /// [`Tuner::attach`](crate::Tuner::attach) would, and drops what is attached. Adapters are
    /// allocated on the devices of the catalogue.
    ///
    /// # Errors
    /// What [`Tuner::attach`](crate::Tuner::attach) refuses before it looks at weights.
    pub fn new(
        method: &mut dyn Method,
        config: &TunerConfig,
        catalogue: &Catalogue,
    ) -> Result<Self, Error> {
        let attachments = tuner::attachments(method, config, catalogue)?;
        let counts = tuner::counts(&attachments, catalogue);
        let params = catalogue.params().iter();
        let dense = params.clone().filter(|p| attachments.dense.contains(&p.id)).cloned();
        let mut adapters: HashMap<ParamId, Adapter> = attachments.adapters.into_iter().collect();
        let adapted =
            params.filter_map(|param| Some(outlined(param, &adapters.remove(&param.id)?)));
        Ok(Self { counts, adapted: adapted.collect(), dense: dense.collect() })
    }
}

fn outlined(param: &ParamInfo, adapter: &Adapter) -> AdaptedWeight {
    let on_activations = adapter.on_activations();
    let kept_inputs = match adapter {
        Adapter::Subnet(subnet) if on_activations => subnet.rows.dims()[0],
        _ => param.shape[0],
    };
    AdaptedWeight {
        param: param.clone(),
        trainable: adapter.num_params(),
        kept_inputs,
        on_activations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tuner;
    use crate::adapter::lora::{Lora, LoraConfig};
    use crate::adapter::losia::{Losia, LosiaConfig};
    use crate::testing::Tiny;

    #[test]
    fn an_outline_says_what_attaching_does() {
        let config = TunerConfig {
            modules_to_save: vec!["embed".into(), "norm.gamma".into()],
            ..TunerConfig::default()
        };
        let lora = || Lora::new(LoraConfig::new(1).with_r(2)).unwrap();
        let model = Tiny::new();
        let catalogue = Catalogue::of(&model).unwrap();
        let outline = Outline::new(&mut lora(), &config, &catalogue).unwrap();
        let (tuner, _) = Tuner::attach(lora(), config, model).unwrap();
        assert_eq!(outline.counts, tuner.counts());
        let paths: Vec<_> = outline.adapted.iter().map(|a| a.param.path.as_str()).collect();
        assert_eq!(paths, tuner.adapted());
        assert_eq!((outline.adapted[0].trainable, outline.dense.len()), (2 * (4 + 6), 3));
        assert!(outline.adapted[0].on_activations);
        assert_eq!(outline.adapted[0].kept_inputs, 4);
    }

    #[test]
    fn a_subnet_keeps_its_own_inputs_unless_it_is_composed() {
        let catalogue = Catalogue::of(&Tiny::new()).unwrap();
        let kept = |pro| {
            let config = LosiaConfig::new(1).with_rank_factor(0.5).with_pro(pro);
            let mut losia = Losia::new(config).unwrap();
            let outline = Outline::new(&mut losia, &TunerConfig::default(), &catalogue).unwrap();
            let AdaptedWeight { trainable, kept_inputs, on_activations, .. } = outline.adapted[0];
            (trainable, kept_inputs, on_activations)
        };
        assert_eq!(kept(true), (2 * 3, 2, true));
        assert_eq!(kept(false), (2 * 3, 4, false));
    }

    #[test]
    fn what_attaching_refuses_is_refused() {
        let config =
            TunerConfig { modules_to_save: vec!["nothing".into()], ..TunerConfig::default() };
        let catalogue = Catalogue::of(&Tiny::new()).unwrap();
        let mut lora = Lora::new(LoraConfig::new(1)).unwrap();
        let error = Outline::new(&mut lora, &config, &catalogue).unwrap_err();
        assert!(matches!(error, Error::NoMatch { key: "modules_to_save", .. }), "{error}");
    }
}
