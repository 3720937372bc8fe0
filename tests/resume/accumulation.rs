//! How a step's batches are cut changes nothing: its loss is a mean over all their targets.

use std::num::NonZeroUsize;
use std::path::Path;

use burn_peft::train::run::RunPlan;
use serde_json::Value;

use crate::support::{bits, samples};
use crate::{configured, launch, losia, metrics, turn};

/// Steps of four samples, in `batches` batches.
fn cut(batches: usize, out: &Path) -> RunPlan<'_> {
    configured(&losia, out, &|config| {
        let of = |n| NonZeroUsize::new(n).unwrap();
        config.micro_batch_size = of(4 / batches);
        config.gradient_accumulation_steps = of(batches);
        config.group_by_length = false;
    })
}

#[test]
fn accumulation_is_normalised_by_target_tokens() {
    let _turn = turn();
    let targets = |range: std::ops::Range<usize>| {
        samples()[range].iter().map(|sample| sample.input_ids.len() - 3).sum::<usize>()
    };
    assert_ne!(targets(0..2), targets(2..4), "means of batches would weigh tokens differently");
    let outs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [whole, halves, quarters] =
        [(1, &outs[0]), (2, &outs[1]), (4, &outs[2])].map(|(n, out)| {
            let model = launch(cut(n, out.path())).unwrap().model.unwrap();
            let told =
                |line: Value| ["step", "target_tokens", "events"].map(|key| line[key].clone());
            let told: Vec<_> = metrics(out.path()).into_iter().map(told).collect();
            (bits(&model), told)
        });
    for (cut, what) in [(halves, "halves"), (quarters, "quarters")] {
        assert_eq!(moves(&cut.1), moves(&whole.1), "{what}");
        for (name, want) in &whole.0 {
            let pairs = want.iter().zip(&cut.0[name]);
            let value = |bits: &u32| f32::from_bits(*bits);
            let apart = |(a, b)| (value(a) - value(b)).abs();
            let difference = pairs.map(apart).fold(0.0, f32::max);
            assert!(difference < 1e-5, "{name} in {what} differs by {difference}");
        }
    }
}

/// Which subnets moved when, of how many targets; their shares of scores are rounded.
fn moves(lines: &[[Value; 3]]) -> Vec<(Value, Value, Vec<Value>)> {
    let path = |event: &Value| event["path"].clone();
    let paths = |events: &Value| events.as_array().unwrap().iter().map(path).collect();
    let moved = lines.iter().map(|[step, targets, events]| {
        (step.clone(), targets.clone(), if events.is_null() { vec![] } else { paths(events) })
    });
    moved.collect()
}
