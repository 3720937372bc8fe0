use std::collections::BTreeMap;
use std::fs;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases").join(name)
}

/// A copy of a recorded case.
fn copy(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(recorded(name)).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir
}

/// Changes the JSON in a file.
fn edit(dir: &TempDir, file: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.path().join(file);
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

type Raw = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Changes the tensors in a file.
fn edit_tensors(dir: &TempDir, file: &str, change: impl FnOnce(&mut Raw)) {
    let path = dir.path().join(file);
    let bytes = fs::read(&path).unwrap();
    let raw = SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter();
    let parts = |view: TensorView| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    let mut raw: Raw = raw.map(|(name, view)| (name, parts(view))).collect();
    change(&mut raw);
    let views = raw.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn outcome(dir: &Path) -> Outcome {
    run(dir, &peft_testing::device()).unwrap().1
}

fn failure(dir: &Path) -> String {
    match outcome(dir) {
        Outcome::Fail(comparison) => comparison.to_string(),
        other => panic!("{other:?}"),
    }
}

fn assert_passes(dir: &Path) {
    let outcome = outcome(dir);
    assert!(matches!(outcome, Outcome::Pass(_)), "{outcome:?}");
}

#[test]
fn every_recorded_case_passes() {
    let cases = find(&[recorded("")]).unwrap();
    let passes = |dir: &&PathBuf| match outcome(dir) {
        Outcome::Pass(_) => true,
        Outcome::Skip(_) => false,
        Outcome::Fail(comparison) => panic!("{}: {comparison}", dir.display()),
    };
    let passed = cases.iter().filter(passes).count();
    assert_eq!((cases.len(), passed), (15, 14), "one is informational");
}

#[test]
fn cases_are_found_anywhere_below_a_folder() {
    let direct = find(&[recorded("")]).unwrap();
    let deep = find(&[recorded("../../tests")]).unwrap();
    let names = |found: &[PathBuf]| {
        let names = found.iter().map(|dir| dir.file_name().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&deep), names(&direct));
    assert_eq!(find(&[recorded("lr_table")]).unwrap(), [recorded("lr_table")]);
}

#[test]
fn a_folder_without_a_case_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = find(&[recorded("lr_table"), dir.path().into()]).unwrap_err().to_string();
    assert!(error.contains(dir.path().to_str().unwrap()) && error.contains("no case"), "{error}");
}

#[test]
fn an_unknown_kind_is_skipped_and_said() {
    let dir = copy("lr_table");
    edit(&dir, "case.json", |case| case["kind"] = json!("rl_table"));
    let Outcome::Skip(why) = outcome(dir.path()) else { panic!("not skipped") };
    assert!(why.contains("unknown kind `rl_table`, known are model, "), "{why}");
}

#[test]
fn a_unit_need_not_say_the_total_of_its_scores() {
    let dir = copy("losia_unit");
    edit(&dir, "unit.json", |unit| {
        let units = unit["units"].as_object_mut().unwrap().values_mut();
        units.for_each(|unit| drop(unit.as_object_mut().unwrap().remove("score_total").unwrap()));
    });
    assert_passes(dir.path());
    edit(&dir, "unit.json", |unit| {
        unit["units"]["param_mix.24x40"]["score_sum"] = json!(1.0);
    });
    assert!(failure(dir.path()).contains("score_sum_rel"));
}

#[test]
fn a_wrong_number_fails() {
    let dir = copy("lr_table");
    edit(&dir, "table.json", |table| table["tables"][0]["cosine"][3] = json!(0.25));
    assert!(failure(dir.path()).contains("table 0 Cosine step 3"));
}

#[test]
fn the_choices_of_every_strategy_are_compared() {
    let dir = copy("losia_unit");
    let name = "param_mix.24x40.PureGreedy.rows";
    edit_tensors(&dir, "unit.safetensors", |tensors| {
        tensors.get_mut(name).unwrap().2[..8].copy_from_slice(&23_i64.to_le_bytes());
    });
    assert!(failure(dir.path()).contains(name));
}

#[test]
fn a_tensor_that_is_compared_with_nothing_fails() {
    let dir = copy("losia_unit");
    edit_tensors(&dir, "unit.safetensors", |tensors| {
        let score = tensors["param_mix.24x40.score"].clone();
        tensors.insert("param_mix.24x40.scores".into(), score);
    });
    assert!(failure(dir.path()).contains("`param_mix.24x40.scores` is recorded, and nothing"));
}

#[test]
fn files_may_hold_a_part_and_the_case_may_say_less() {
    let dir = copy("llama_tiny");
    edit(&dir, "case.json", |case| {
        let case = case.as_object_mut().unwrap();
        case.retain(|key, _| ["format", "name", "kind", "base"].contains(&key.as_str()));
    });
    assert_passes(dir.path());
    edit_tensors(&dir, "io.safetensors", |tensors| {
        tensors.retain(|name, _| ["input_ids", "hidden.2"].contains(&name.as_str()));
    });
    assert_passes(dir.path());
    edit_tensors(&dir, "io.safetensors", |tensors| drop(tensors.remove("hidden.2")));
    assert_eq!(failure(dir.path()), "nothing is recorded that could be compared");
}

/// Wherever they come from: here from a move that no slot of the table would make.
#[test]
fn recorded_restarts_are_those_that_count() {
    let dir = copy("lr_table");
    edit(&dir, "table.json", |tables| {
        let table = &mut tables["tables"][0]; // with restarts at 5, 15, …
        let cosine = table["cosine"].as_array().unwrap();
        let moved = [&cosine[..5], &cosine[10..12], &cosine[5..10]].concat();
        (table["restarts"], table["cosine"]) = (json!([7]), json!(moved));
        table["cosine_restarts"] = json!([]);
    });
    assert_passes(dir.path());
}
