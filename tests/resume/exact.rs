//! The same bits, wherever a run goes on from.

use burn_peft::train::report::RunStatus;

use crate::support::{bits, model};
use crate::{
    Make, STEPS, adalora_with_dropout, checkpoint, dora_with_dropout, launch, losia, planned,
    saving, turn,
};

/// 18 steps of three epochs of 6: in the middle of a slot and of an epoch, at the end of a slot, at
/// the end of an epoch, before and after AdaLoRA's last cut, one step before the end, and after it.
fn resumes_anywhere(make: Make) {
    let whole = tempfile::tempdir().unwrap();
    let finished = launch(saving(make, whole.path(), 1)).unwrap();
    assert_eq!((finished.status, finished.steps), (RunStatus::Completed, STEPS));
    let want = bits(&finished.model.unwrap());
    assert_ne!(want, bits(&model()), "training must change something");
    for steps in [4, 9, 12, 17, 18] {
        let out = tempfile::tempdir().unwrap();
        let from = checkpoint(whole.path(), steps);
        let resumed = launch(planned(make, out.path(), Some(&from))).unwrap();
        assert_eq!(resumed.steps, STEPS);
        let got = bits(&resumed.model.unwrap());
        for (name, want) in &want {
            assert_eq!(&got[name], want, "{name} after a resume at {steps}");
        }
    }
}

#[test]
fn resuming_anywhere_gives_the_same_bits() {
    let _turn = turn();
    resumes_anywhere(&losia);
    resumes_anywhere(&dora_with_dropout);
    resumes_anywhere(&adalora_with_dropout);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let _turn = turn();
    let [a, b] = [(); 2].map(|()| {
        let out = tempfile::tempdir().unwrap();
        bits(&launch(planned(&losia, out.path(), None)).unwrap().model.unwrap())
    });
    assert_eq!(a, b);
}
