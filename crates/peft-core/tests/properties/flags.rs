//! Which parameters require gradients.

use crate::common::device;
use crate::files::{file, load};
use crate::inspect::parameters;
use crate::methods::{Candidate, Config, PERIOD, adapting, all, is_target};
use crate::{Run, STEPS};

/// Within a slot, at the end of one, and at the end of the run.
const STOPS: [usize; 3] = [4, 6, STEPS];

/// Whether the method trains, or looks at, the parameter at `path` after `steps` steps.
fn requires(candidate: &Candidate, path: &str, steps: usize) -> bool {
    let slot = steps / PERIOD % 2; // one for each block
    match candidate.config {
        // The weight in its own slot is tracked for its importance alone.
        Config::Losia(_) => path.contains("peft") || path == format!("blocks.{slot}.weight"),
        Config::Lora(_) | Config::AdaLora(_) => path.contains("peft"),
        Config::Full(_) => is_target(path),
    }
}

fn check(candidate: &Candidate, run: &Run, what: &str) {
    let steps = run.tuner.steps();
    for found in parameters(&run.model) {
        let want = requires(candidate, &found.path, steps);
        assert_eq!(found.tracked, want, "{} {what} {steps}: {}", candidate.name, found.path);
    }
}

#[test]
fn exactly_the_methods_parameters_require_gradients() {
    for candidate in all() {
        let mut run = Run::new(&candidate, &device());
        check(&candidate, &run, "attached at");
        let counts = run.tuner.counts();
        assert_eq!(counts.trainable < counts.total / 2, candidate.adapts, "{}", candidate.name);
        for stop in STOPS {
            run.train(stop - run.tuner.steps());
            check(&candidate, &run, "trained to");
        }
    }
}

#[test]
fn they_do_after_a_record_is_restored() {
    for candidate in all() {
        let mut run = Run::new(&candidate, &device());
        for stop in STOPS {
            run.train(stop - run.tuner.steps());
            let restored = Run::restored(&candidate, &run.record(), &device());
            assert_eq!(restored.tuner.steps(), stop);
            check(&candidate, &restored, "restored at");
        }
    }
}

#[test]
fn they_do_after_an_adapter_file_is_loaded() {
    for candidate in adapting() {
        let loaded = load(&candidate, &file(&Run::trained(&candidate, &device())));
        check(&candidate, &loaded, "loaded at");
    }
}
