//! LoSiA's slots on a model, before it is loaded.

use std::collections::BTreeMap;

use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::schedule::UpdateType;
use peft_core::{Catalogue, Error, Method, ParamInfo};

use super::memory::shared_inputs;

/// The slots of a LoSiA run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotPlan {
    /// Slots in a cycle: the layers, and the output head if it has a subnet.
    pub count: usize,
    /// Elements of the weights whose importance is gathered at one time, at most.
    pub localized: usize,
    /// Features of their inputs that their dense gradients need beside those in the subnets.
    pub inputs: usize,
}

impl SlotPlan {
    /// # Errors
    /// What the method refuses about its settings or the model.
    pub fn new(config: &LosiaConfig, catalogue: &Catalogue) -> Result<Self, Error> {
        let mut losia = Losia::new(config.clone())?;
        losia.attach(catalogue)?;
        let mut slots = BTreeMap::<usize, Vec<(&ParamInfo, usize)>>::new();
        for target in losia.targets() {
            let param = catalogue.params().iter().find(|param| param.path == target.path());
            let picked = target.subnet().rows().len();
            slots.entry(target.slot()).or_default().extend(param.map(|param| (param, picked)));
        }
        let elements =
            |slot: &Vec<(&ParamInfo, usize)>| slot.iter().map(|(p, _)| p.num_elements()).sum();
        let localized = match config.update_type {
            UpdateType::Asynchronous => slots
                .into_values()
                .max_by_key(|slot| -> usize { elements(slot) })
                .unwrap_or_default(),
            UpdateType::Synchronous => slots.into_values().flatten().collect(),
            UpdateType::Fixed => Vec::new(),
        };
        let of_all = |&(param, picked): &(&ParamInfo, usize)| picked == param.shape[0];
        let picked: usize = localized.iter().filter(|w| !of_all(w)).map(|(_, picked)| picked).sum();
        let inputs = shared_inputs(localized.iter().map(|(param, _)| *param));
        Ok(Self {
            count: losia.slot_count(),
            localized: elements(&localized),
            inputs: inputs.saturating_sub(picked),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::tiny_catalogue;

    #[test]
    fn each_layer_has_a_slot_and_a_localised_head_the_first() {
        let (catalogue, [hidden, inner, vocab]) = tiny_catalogue();
        let config = LosiaConfig::new(10).with_output_head(Some("lm_head.weight".into()));
        let plan = |config: LosiaConfig| SlotPlan::new(&config, &catalogue).unwrap();
        let layer = 4 * hidden * hidden + 3 * hidden * inner;
        let picked = 6 * (hidden / 8) + inner / 8;
        let inputs = 3 * hidden + inner - picked;
        assert_eq!(plan(config.clone()), SlotPlan { count: 5, localized: layer, inputs });
        let with_head = plan(config.clone().with_output_dim_factor(0.5));
        assert!(hidden * vocab < layer);
        assert_eq!(with_head, SlotPlan { count: 6, localized: layer, inputs });
        let localized = |update_type| plan(config.clone().with_update_type(update_type)).localized;
        assert_eq!(localized(UpdateType::Synchronous), 5 * layer);
        assert_eq!(localized(UpdateType::Fixed), 0);
    }
}
