//! Records.

use crate::common::{Mlp, device, max_difference, same, tolerance, values};
use crate::methods::{adapting, all};
use crate::{OTHER_SEED, Run, STEPS};

#[test]
fn a_record_resumes_bit_for_bit_at_any_step() {
    let device = device();
    for candidate in adapting() {
        let mut whole = Run::new(&candidate, &device);
        whole.train(STEPS);
        let whole = values(&whole.model);
        for stop in [1, 3, 5, 7, 13, 14, 16, STEPS] {
            let mut first = Run::new(&candidate, &device);
            first.train(stop);
            let mut second = Run::restored(&candidate, &first.record(), &device);
            second.train(STEPS - stop);
            for ((path, want), (_, got)) in whole.iter().zip(&values(&second.model)) {
                assert!(same(got, want), "{}: {path} at {stop}", candidate.name);
            }
        }
    }
}

#[test]
fn a_record_restores_outputs_and_parameters_under_another_seed() {
    let device = device();
    for candidate in all() {
        let base = Mlp::new(&device, true);
        let start = |seed| Run::of(candidate.method(seed), base.clone(), &device);
        let [a, b] = [crate::SEED, OTHER_SEED].map(|seed| start(seed).record());
        let differs = (a.tensors, a.meta) != (b.tensors, b.meta);
        assert_eq!(differs, candidate.random, "{}: seeds", candidate.name);

        let run = Run::trained(&candidate, &device);
        let restored = Run::restored(&candidate, &run.record(), &device);
        let difference = max_difference(&run.output(), &restored.output());
        assert!(difference < tolerance(1e-5), "{}: {difference}", candidate.name);
        for ((path, want), (_, got)) in values(&run.model).iter().zip(&values(&restored.model)) {
            assert!(same(want, got), "{}: {path}", candidate.name);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let device = device();
    for candidate in all() {
        let [a, b] = [0, 1].map(|_| values(&Run::trained(&candidate, &device).model));
        for ((path, a), (_, b)) in a.iter().zip(&b) {
            assert!(same(a, b), "{}: {path}", candidate.name);
        }
    }
}

#[test]
fn a_record_that_lacks_an_adapter_is_refused_by_name() {
    for candidate in adapting() {
        let run = Run::trained(&candidate, &device());
        let mut record = run.record();
        record.tensors.retain(|name, _| !name.starts_with("blocks.1.weight"));
        let mut fresh = Run::new(&candidate, &device());
        let error = fresh.tuner.restore(fresh.model, &record).unwrap_err().to_string();
        assert!(error.starts_with("record entry `blocks.1.weight"), "{}: {error}", candidate.name);
    }
}
