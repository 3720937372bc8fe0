//! What is said of configurations that are wrong.

use super::{MethodName, TrainingConfig, TypedConfig};
use crate::Error;
use crate::data::DatasetConfig;
use crate::run::TrainConfig;

const GOOD: &str = "base_model = \"m\"\nmethod = \"losia-pro\"\n\
                    datasets = [{ path = \"d.jsonl\" }]\noutput_dir = \"o\"\n";

fn parse(more: &str, settings: &[&str]) -> Result<TypedConfig, Error> {
    let settings: Vec<String> = settings.iter().map(|setting| setting.to_string()).collect();
    TypedConfig::parse(&format!("{GOOD}{more}"), "run.toml", &settings)
}

fn refused(more: &str, settings: &[&str]) -> String {
    let error = parse(more, settings).unwrap_err();
    match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

#[test]
fn settings_of_the_command_line_go_before_those_of_the_file() {
    let typed = parse("period = 100\nseed = 3\n", &["period=50", "lr_scheduler=cosine"]).unwrap();
    assert_eq!((typed.config.period, typed.config.seed), (Some(50), 3));
    let place = |key| typed.problem(key, "x".into(), None).to_string();
    assert_eq!(place("period"), "command line: x");
    assert_eq!(place("seed"), "run.toml:6: x");
    assert_eq!(place("max_steps"), "run.toml: x");
}

#[test]
fn defaults_are_those_of_the_descriptions() {
    let config = parse("", &[]).unwrap().config;
    assert_eq!((config.device.names(), config.max_grad_norm), (&["auto".to_string()][..], 1.0));
    assert_eq!((config.micro_batch_size.get(), config.logging_steps.get()), (1, 10));
    assert_eq!((config.warmup_ratio, config.min_lr_ratio), (0.1, 0.1));
    let datasets = vec![DatasetConfig::new("d.jsonl")];
    assert_eq!(config, TrainingConfig::new("m", MethodName::LosiaPro, datasets, "o"));
}

#[test]
fn settings_of_the_run_reach_it() {
    let lines = "val_set_size = 4\nearly_stopping_patience = 2\nmax_nonfinite_steps = 3\n";
    let run = parse(lines, &[]).unwrap().config.train_config();
    assert_eq!(run.early_stopping_patience.map(usize::from), Some(2));
    assert_eq!(run.max_nonfinite_steps.get(), 3);
    let default = parse("", &[]).unwrap().config.train_config();
    assert_eq!(default.max_nonfinite_steps, TrainConfig::default().max_nonfinite_steps);
}

/// A line that is wrong, and what is said of it.
#[test]
fn every_wrong_line_is_refused_with_its_place() {
    for (line, message) in [
        ("peroid = 50", "run.toml:5: unknown key `peroid`\nhint: did you mean `period`?"),
        ("zzz = 1", "run.toml:5: unknown key `zzz`\nhint: `burn-peft schema` lists all settings"),
        (
            "lora_r = 8",
            "run.toml:5: `lora_r` is a setting of lora, dora and pissa, but `method` is \
             \"losia-pro\"\nhint: leave it out, or choose another method",
        ),
        (
            "evals_per_epoch = 2",
            "run.toml:5: unknown key `evals_per_epoch`\nhint: there is no such setting: the \
             validation loss is measured every `eval_steps`, or without it at the end of every epoch",
        ),
        (
            "eval_steps = 10",
            "run.toml:5: `eval_steps` is 10, but there is nothing to validate on\nhint: give \
             `test_datasets` or a `val_set_size`, or leave `eval_steps` out",
        ),
        (
            "early_stopping_patience = 3",
            "run.toml:5: `early_stopping_patience` is 3, but there is nothing to validate on\nhint: give \
             `test_datasets` or a `val_set_size`, or leave `early_stopping_patience` out",
        ),
        ("eval_steps = 0", "run.toml:5: `eval_steps` is 0, expected a whole number, 1 or more"),
        (
            "period = \"long\"",
            "run.toml:5: `period` is \"long\", expected a whole number, 1 or more",
        ),
        ("period = 1.5", "run.toml:5: `period` is 1.5, expected a whole number, 1 or more"),
        ("period = -1", "run.toml:5: `period` is -1, expected a whole number, 1 or more"),
        ("period = 0", "run.toml:5: `period` is 0, expected at least 1"),
        (
            "period = 9223372036854775807",
            "run.toml:5: `period` is 9223372036854775807, expected at most 1000000000",
        ),
        ("num_epochs = 1000001", "run.toml:5: `num_epochs` is 1000001, expected at most 1000000"),
        (
            "max_steps = 1000000001",
            "run.toml:5: `max_steps` is 1000000001, expected at most 1000000000",
        ),
        (
            "micro_batch_size = 65537",
            "run.toml:5: `micro_batch_size` is 65537, expected at most 65536",
        ),
        (
            "gradient_accumulation_steps = 1000001",
            "run.toml:5: `gradient_accumulation_steps` is 1000001, expected at most 1000000",
        ),
        ("rank_factor = 2", "run.toml:5: `rank_factor` is 2, expected a share in (0, 1]"),
        (
            "output_dim_factor = -0.5",
            "run.toml:5: `output_dim_factor` is -0.5, expected a share in [0, 1]",
        ),
        (
            "learning_rate = -1",
            "run.toml:5: `learning_rate` is -1, expected a finite rate, 0 or more",
        ),
        (
            "learning_rate = inf",
            "run.toml:5: `learning_rate` is inf, expected a finite rate, 0 or more",
        ),
        ("warmup_ratio = 1.1", "run.toml:5: `warmup_ratio` is 1.1, expected a share in [0, 1]"),
        (
            "max_grad_norm = nan",
            "run.toml:5: `max_grad_norm` is NaN, expected a finite norm, 0 or more",
        ),
        (
            "micro_batch_size = 0",
            "run.toml:5: `micro_batch_size` is 0, expected a whole number, 1 or more",
        ),
        (
            "dtype = \"int8\"",
            "run.toml:5: `dtype` is \"int8\", expected one of \"f32\", \"bf16\", \"f16\"",
        ),
        (
            "update_type = \"sometimes\"",
            "run.toml:5: `update_type` is \"sometimes\", expected one of \"asynchronous\", \
             \"synchronous\", \"fixed\"",
        ),
        ("sample_packing = 1", "run.toml:5: `sample_packing` is 1, expected true or false"),
        (
            "target_modules = 3",
            "run.toml:5: `target_modules` is 3, expected a string or a list, each item a string",
        ),
        (
            "val_set_size = 1.5",
            "run.toml:5: `val_set_size` is 1.5, expected a share below 1 or a number",
        ),
        (
            "[lora]\nr = 8",
            "run.toml:5: unknown key `lora`\nhint: there is no such setting: use `method = \"lora\"`; \
             settings stand in no section",
        ),
    ] {
        assert_eq!(refused(line, &[]), message, "{line}");
    }
}

#[test]
fn ranks_beyond_all_weights_are_refused() {
    for (method, setting) in [
        ("lora", "lora_r"),
        ("adalora", "init_r"),
        ("adalora", "target_r"),
        ("lora", "rank_pattern"),
    ] {
        let value = if setting == "rank_pattern" { "{ q_proj = 65537 }" } else { "65537" };
        let settings = [format!("method={method}"), format!("{setting}={value}")];
        let message = refused("", &settings.each_ref().map(String::as_str));
        let expected = format!("command line: `{setting}` is 65537, expected at most 65536");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn wrong_settings_say_that_they_came_from_the_command_line() {
    for (setting, message) in [
        ("peroid=50", "command line: unknown key `peroid`\nhint: did you mean `period`?"),
        ("period=50x", "command line: `period` is \"50x\", expected a whole number, 1 or more"),
        ("base_model=7", "command line: `base_model` is 7, expected a string"),
        ("rank_factor=0", "command line: `rank_factor` is 0, expected a share in (0, 1]"),
    ] {
        assert_eq!(refused("", &[setting]), message);
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "method = \"lora\"\nperiod = 50\nseed = \"x\"\n";
    let error = TypedConfig::parse(text, "run.toml", &["x".into()]).unwrap_err();
    insta::assert_snapshot!(error, @r#"
    6 problems
      command line: `x` is no setting: it has no `=`
        hint: settings are written `key=value`, lists as `key='["a", "b"]'`
      run.toml: `base_model` is missing
        hint: Folder of the base model: a LLaMA or Gemma checkpoint as Hugging Face publishes them, with its tokenizer; or the name of one in the Hugging Face cache: `org/name`.
      run.toml: `datasets` is missing
        hint: What to train on.
      run.toml: `output_dir` is missing
        hint: Folder for all that the run writes.
      run.toml:2: `period` is a setting of losia-pro and losia, but `method` is "lora"
        hint: leave it out, or choose another method
      run.toml:3: `seed` is "x", expected a whole number, 0 or more
    "#);
}

#[test]
fn a_wrong_method_does_not_hide_other_problems() {
    let settings = ["method=lorra".to_string(), "period=x".into()];
    let error = TypedConfig::parse(GOOD, "run.toml", &settings).unwrap_err().to_string();
    assert!(error.contains("`method` is \"lorra\", expected one of \"losia-pro\""), "{error}");
    assert!(error.contains("`period` is \"x\", expected a whole number"), "{error}");
    assert!(!error.contains("is a setting of"), "{error}");
}

#[test]
fn datasets_are_checked_entry_by_entry() {
    let datasets = |text: &str| {
        let settings = [format!("datasets={text}")];
        refused("", &settings.each_ref().map(String::as_str))
    };
    assert_eq!(
        datasets(r#"[{ path = "a" }, { path = "b", wieght = 2 }]"#),
        "command line: unknown key `datasets[1].wieght`\nhint: did you mean `weight`?"
    );
    assert_eq!(datasets("[{ type = 'text' }]"), "command line: `datasets`: missing field `path`");
    assert_eq!(
        datasets("a.jsonl"),
        "command line: `datasets` is \"a.jsonl\", expected a list, each item a table"
    );
    assert!(datasets("[]").starts_with("command line: `datasets` is empty"));
    let weight = datasets(r#"[{ path = "a", weight = 0 }]"#);
    assert!(weight.contains("dataset `a`: `weight` is 0, expected above 0"), "{weight}");
}

#[test]
fn settings_of_a_dataset_are_refused_with_their_lines() {
    for (line, message) in [
        ("wieght = 2", "unknown key `test_datasets[0].wieght`\nhint: did you mean `weight`?"),
        (
            "rows = 2",
            "unknown key `test_datasets[0].rows`\nhint: a dataset has columns, name, path, revision, \
             split, type, weight",
        ),
        (
            "type = \"chat_template\"",
            "`test_datasets[0].type` is \"chat_template\", expected one of \"alpaca\", \
             \"prompt-completion\", \"messages\", \"sharegpt\", \"text\"\n\
             hint: did you mean `messages`?",
        ),
        ("weight = \"x\"", "`test_datasets[0].weight` is \"x\", expected a number"),
        (
            "columns = { output = 3 }",
            "`test_datasets[0].columns` is { output = 3 }, expected a table, each value a string",
        ),
    ] {
        let text = format!("[[test_datasets]]\npath = \"t\"\n{line}");
        assert_eq!(refused(&text, &[]), format!("run.toml:7: {message}"), "{line}");
    }
}

#[test]
fn another_method_leaves_out_what_is_the_file_s_own() {
    let file = "period = 9\nlr_scheduler = \"no_rewarming\"\nlearning_rate = 0.5\n";
    let typed = parse(file, &["method=lora", "lora_r=4"]).unwrap();
    let TrainingConfig { period, lr_scheduler, learning_rate, lora_r, .. } = typed.config;
    assert_eq!((period, lr_scheduler, learning_rate, lora_r), (None, None, Some(0.5), Some(4)));
    let note = "left out of run.toml, because lora has no such setting or value: `lr_scheduler`, \
                `period`";
    assert_eq!(typed.notes(), [note]);

    let typed = parse(file, &["method=losia"]).unwrap();
    assert_eq!((typed.config.period, typed.notes().len()), (Some(9), 0), "a method that has them");
    let refusal = "`lora_r` is a setting of lora, dora and pissa, but `method` is";
    for (file, settings, place) in [
        ("", ["method=full", "lora_r=4"], "command line"), // not of the file
        ("lora_r = 4", ["method=full", "seed=1"], "run.toml:5"), // of a third method
    ] {
        let message = refused(file, &settings);
        assert!(message.starts_with(&format!("{place}: {refusal} \"full\"")), "{message}");
    }
    let message = refused(file, &["method=lora", "period=5"]);
    assert!(message.starts_with("command line: `period` is a setting of losia-pro"), "{message}");
}

#[test]
fn a_missing_file_is_named() {
    let error = TypedConfig::read("/nowhere/run.toml", &[]).unwrap_err();
    assert!(error.to_string().starts_with("cannot read `/nowhere/run.toml`"), "{error}");
}

#[test]
fn a_written_configuration_reads_back_equal() {
    let more = "period = 20\nval_set_size = 0.1\nlr_scheduler = \"cosine_restarts\"\n\
                [[test_datasets]]\npath = \"t.jsonl\"\nweight = 0.5\n";
    let config = parse(&more.replace("val_set_size = 0.1\n", ""), &[]).unwrap().config;
    let written = config.to_toml().unwrap();
    assert_eq!(TypedConfig::parse(&written, "run.toml", &[]).unwrap().config, config);
}

proptest::proptest! {
    /// Whatever is typed is a configuration, or refused with a reason.
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,80}", setting in "[a-z_]{0,12}=?\\PC{0,20}") {
        for text in [text.clone(), format!("{GOOD}{text}"), format!("{GOOD}period = {text}")] {
            for settings in [vec![], vec![setting.clone()]] {
                if let Err(error) = TypedConfig::parse(&text, "run.toml", &settings) {
                    proptest::prop_assert!(matches!(error, Error::Config(_)), "{}", error);
                    proptest::prop_assert!(!error.to_string().is_empty());
                }
            }
        }
    }
}
