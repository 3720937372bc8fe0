//! Which weights a method adapts, or trains where it has no adapters.

use burn::module::ParamId;
use peft_core::{Catalogue, Error, Outline, ParamInfo, TargetModules, Tuner, TunerConfig};

use crate::common::{Mlp, device, linear};
use crate::methods::{Candidate, Config, all};
use crate::{Run, SEED};

/// What selects modules.
struct Selection {
    target_modules: TargetModules,
    exclude_modules: Option<TargetModules>,
    layers_to_transform: Option<Vec<usize>>,
}

impl Selection {
    fn of(target_modules: TargetModules) -> Self {
        Self { target_modules, exclude_modules: None, layers_to_transform: None }
    }

    /// A method with this selection; `None` if it has no such settings.
    fn with(&self, candidate: &Candidate) -> Option<Candidate> {
        let modules = self.target_modules.clone();
        let (excluded, layers) = (self.exclude_modules.clone(), self.layers_to_transform.clone());
        macro_rules! selecting {
            ($config:expr) => {
                $config
                    .with_target_modules(modules)
                    .with_exclude_modules(excluded)
                    .with_layers_to_transform(layers)
            };
        }
        let config = match candidate.config.clone() {
            Config::Losia(config) => Config::Losia(selecting!(config)),
            Config::Lora(config) => Config::Lora(selecting!(config)),
            Config::AdaLora(config) => Config::AdaLora(selecting!(config)),
            Config::Full(_) if excluded.is_some() || layers.is_some() => return None,
            Config::Full(mut full) => {
                full.target_modules = Some(modules);
                Config::Full(full)
            }
        };
        Some(Candidate { config, ..*candidate })
    }
}

fn names(names: &[&str]) -> TargetModules {
    TargetModules::Names(names.iter().map(|name| name.to_string()).collect())
}

/// The linear layers of a small decoder.
const MODULES: [&str; 5] = [
    "model.layers.0.attn.q_proj",
    "model.layers.0.attn.freq_proj",
    "model.layers.1.attn.q_proj",
    "model.layers.1.mlp.up_proj",
    "lm_head",
];

fn decoder() -> Catalogue {
    let layer = Catalogue::of(&Mlp::new(&device(), true)).unwrap().params()[0].clone();
    let weight = |module| format!("{module}.weight");
    MODULES
        .iter()
        .map(|module| ParamInfo { id: ParamId::new(), path: weight(module), ..layer.clone() })
        .collect()
}

#[test]
fn every_way_to_select_modules_selects_the_same_with_every_method() {
    let (catalogue, all_linear) = (decoder(), TargetModules::all_linear);
    let pattern = |pattern: &str| TargetModules::Pattern(pattern.into());
    let cases = [
        ("an exact name", Selection::of(names(&[MODULES[3]])), vec![3]),
        ("a suffix", Selection::of(names(&["q_proj", "lm_head"])), vec![0, 2, 4]),
        ("an expression", Selection::of(pattern(r".*\.[01]\.(attn|x)\..*")), vec![0, 1, 2]),
        ("all-linear", Selection::of(all_linear()), vec![0, 1, 2, 3, 4]),
        (
            "an exclusion",
            Selection {
                exclude_modules: Some(names(&["lm_head", "q_proj"])),
                ..Selection::of(all_linear())
            },
            vec![1, 3],
        ),
        (
            "layers",
            Selection { layers_to_transform: Some(vec![1]), ..Selection::of(names(&["q_proj"])) },
            vec![2],
        ),
    ];
    for (what, selection, want) in cases {
        for candidate in all().iter().filter_map(|candidate| selection.with(candidate)) {
            let mut method = candidate.method(SEED);
            let outline = Outline::new(&mut *method, &TunerConfig::default(), &catalogue).unwrap();
            let adapted = outline.adapted.into_iter().map(|adapted| adapted.param);
            let selected = adapted.chain(outline.dense);
            let selected: Vec<_> = selected.map(|param| param.module_path().to_string()).collect();
            let want: Vec<_> = want.iter().map(|&index| MODULES[index]).collect();
            assert_eq!(selected, want, "{}: {what}", candidate.name);
        }
    }
}

#[test]
fn a_model_without_the_targets_is_refused_with_what_it_has() {
    for candidate in all() {
        let model = vec![linear(3, 4, 0, &device())];
        let attached = Tuner::attach(candidate.method(SEED), TunerConfig::default(), model);
        let Some(error) = attached.err() else { panic!("{}", candidate.name) };
        assert!(matches!(error, Error::NoMatch { key: "target_modules", .. }), "{error}");
        assert_eq!(error.hint().unwrap(), "this model has: 0", "{}", candidate.name);
    }
}

#[test]
fn a_module_to_save_is_trained_densely_and_not_adapted() {
    let attach = |candidate: &Candidate, saved: &[&str]| {
        let modules_to_save = saved.iter().map(|name| name.to_string()).collect();
        let config = TunerConfig { modules_to_save, ..TunerConfig::default() };
        let mut method = candidate.method(SEED);
        let catalogue = Catalogue::of(&Mlp::new(&device(), true)).unwrap();
        let outlined = Outline::new(&mut *method, &config, &catalogue);
        outlined.and(Tuner::attach(method, config, Mlp::new(&device(), true)))
    };
    for candidate in all() {
        let (tuner, model) = attach(&candidate, &["blocks.1"]).unwrap();
        let adapted: &[&str] = if candidate.adapts { &["blocks.0.weight"] } else { &[] };
        assert_eq!(tuner.adapted(), adapted, "{}", candidate.name);
        let mut run = Run { tuner, model, batches: crate::common::batches(&device(), 4) };
        let before = run.record();
        run.train(2);
        let after = run.record();
        for path in ["dense.blocks.1.weight", "dense.blocks.1.bias"] {
            assert_ne!(before.tensors[path], after.tensors[path], "{}: {path}", candidate.name);
        }
        let error = attach(&candidate, &["blocks"]).err().expect("nothing is left");
        assert!(matches!(error, Error::NoMatch { key: "target_modules", .. }), "{error}");
        assert_eq!(error.hint().unwrap(), "this model has: head", "{}", candidate.name);
    }
}
