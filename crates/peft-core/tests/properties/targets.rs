//! Models that a method's targets do not fit.

use peft_core::{Error, Tuner, TunerConfig};

use crate::SEED;
use crate::common::{device, linear};
use crate::methods::all;

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
