//! AdaLoRA before its last cut: LoRA by another name, which nobody gets without asking for it.

use burn::module::Module;
use burn::tensor::TensorData;
use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig};
use peft_core::store::{
    AdaLoraFields, AdapterConfig, AdapterFile, AdapterFiles, ModuleTensors, PeftType,
};
use peft_core::{Adapters, Error, Params, TargetModules, Tuner, TunerConfig};

use crate::Run;
use crate::common::{Mlp, device, max_difference};
use crate::inspect::output;
use crate::methods::{adalora_config, named};

#[test]
fn a_run_before_its_last_cut_is_neither_merged_nor_exported() {
    for name in ["adalora", "adalora masked"] {
        let mut run = Run::new(&named(name), &device());
        let before = run.model.num_params();
        for steps in [0, 7, 12] {
            run.train(steps - run.tuner.steps()); // past cuts at 3, 6, 9 and 12
            let undecided = Error::NotAllocated { steps, last_cut: 13 };
            assert_eq!(run.tuner.merge(run.model.clone()).unwrap_err(), undecided, "{name}");
            assert_eq!(run.tuner.export(&run.model).unwrap_err(), undecided, "{name}");
        }
        run.train(2);
        run.tuner.merge(run.model.clone()).expect("allocated at the end of step 13");
        let file = run.tuner.export(&run.model).expect("allocated");
        assert!(!file.expect("a file").has_undecided_ranks(), "{name}");
        let dropped = run.model.num_params() < before;
        assert_eq!(dropped, name == "adalora", "pruned triplets are dropped unless masked");
    }
}

#[test]
fn a_run_before_its_last_cut_is_no_lora() {
    let adalora = AdaLora::new(adalora_config()).unwrap();
    let base = Mlp::new(&device(), true);
    let (tuner, model) = Tuner::attach(adalora, TunerConfig::default(), base).unwrap();
    let error = tuner.method().to_lora(tuner.steps(), &Params::of(&model)).unwrap_err();
    assert_eq!(error, Error::NotAllocated { steps: 0, last_cut: 13 });
}

/// What PEFT saves before the first cut: two triplets of `blocks.0`, and no pattern.
fn undecided() -> AdapterFiles {
    let fields = AdaLoraFields { init_r: 2, target_r: 1, ..AdaLoraFields::new(10) };
    let ones = |shape: [usize; 2]| TensorData::ones::<f32, _>(shape);
    let tensors = ModuleTensors::AdaLora { a: ones([2, 12]), b: ones([20, 2]), e: ones([2, 1]) };
    let names = TargetModules::Names(vec!["blocks.0".into()]);
    AdapterFiles {
        config: AdapterConfig::new(PeftType::AdaLora(fields), 4.0, names),
        modules: [("blocks.0".to_string(), tensors)].into(),
        other: [].into(),
    }
}

#[test]
fn a_file_without_ranks_is_used_but_not_merged_or_passed_on() {
    assert!(AdapterFile::from(undecided()).has_undecided_ranks());
    let mut adapters = Adapters::new(Mlp::new(&device().inner(), true));
    adapters.load("undecided", undecided()).unwrap();
    let batch = &crate::common::batches(&device(), 1)[0];
    let [base, adapted] =
        [adapters.base(), adapters.get("undecided").unwrap()].map(|model| output(model, batch));
    assert!(max_difference(&base, &adapted) > 0.1, "attached, as in PEFT");
    let error = adapters.merged("undecided").unwrap_err();
    assert_eq!(error, Error::UndecidedRanks);
    assert!(error.to_string().contains("`rank_pattern`") && error.hint().is_some());
    assert_eq!(undecided().to_lora().unwrap_err(), Error::UndecidedRanks);

    let adalora = AdaLora::from_adapter(&undecided(), AdaLoraConfig::new(3)).unwrap();
    let mut run = Run::of(Box::new(adalora), Mlp::new(&device(), true), &device());
    assert_eq!(run.tuner.export(&run.model).unwrap_err(), Error::UndecidedRanks);
    run.train(2);
    let error = run.tuner.export(&run.model).unwrap_err();
    assert_eq!(error, Error::NotAllocated { steps: 2, last_cut: 2 });
    run.train(1);
    run.tuner.merge(run.model.clone()).expect("trained to its last cut");
    run.tuner.export(&run.model).expect("trained to its last cut");
}
