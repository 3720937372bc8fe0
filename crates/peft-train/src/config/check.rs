//! What can be checked of a configuration by itself, without a file or a device.

use peft_core::Error as MethodError;
use serde_json::{Value, json};

use super::{MethodName, Problem, Problems, TrainingConfig, TypedConfig};
use crate::Error;
use crate::plan::{MethodSettings, typed_key};

/// More steps than any run has: what depends on their number is checked once it is known.
const MANY_STEPS: usize = 1 << 40;

impl TypedConfig {
    /// Checks every value against its range, and settings against each other.
    ///
    /// # Errors
    /// [`Error::Config`] with all that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let checks = [
            self.check_ceilings(),
            self.check_rates(),
            self.check_method(),
            self.check_data(),
            self.check_validation(),
        ];
        let problems: Vec<_> = checks.into_iter().flatten().collect();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Problems(problems).into()),
        }
    }

    /// Larger numbers than the schema's are nobody's intention, and products of them overflow.
    fn check_ceilings(&self) -> Vec<Problem> {
        let (schema, config) = (TrainingConfig::schema(), json!(self.config));
        let most = |key: &str| schema["properties"][key]["maximum"].as_u64();
        let check = |(key, value): (&String, &Value)| {
            let most = most(key).or_else(|| most("lora_r").filter(|_| key == "rank_pattern"))?;
            let found = largest(value).filter(|found| *found > most)?;
            Some(self.problem(key, format!("`{key}` is {found}, expected at most {most}"), None))
        };
        config.as_object().into_iter().flatten().filter_map(check).collect()
    }

    fn check_rates(&self) -> Vec<Problem> {
        let config = &self.config;
        let positive = |x: f64| x.is_finite() && x >= 0.0;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let rate = config.learning_rate.unwrap_or(0.0);
        let checks = [
            ("learning_rate", rate, positive(rate), "a finite rate, 0 or more"),
            ("warmup_ratio", config.warmup_ratio, share(config.warmup_ratio), "a share in [0, 1]"),
            ("min_lr_ratio", config.min_lr_ratio, share(config.min_lr_ratio), "a share in [0, 1]"),
            (
                "weight_decay",
                config.weight_decay,
                positive(config.weight_decay),
                "a finite rate, 0 or more",
            ),
            (
                "max_grad_norm",
                config.max_grad_norm,
                positive(config.max_grad_norm),
                "a finite norm, 0 or more",
            ),
        ];
        let wrong = checks.into_iter().filter(|(.., ok, _)| !ok);
        let problem = |(key, found, _, expected)| {
            self.problem(key, format!("`{key}` is {found}, expected {expected}"), None)
        };
        wrong.map(problem).collect()
    }

    fn check_method(&self) -> Vec<Problem> {
        let mut config = self.config.clone();
        let steps = config.max_steps.map_or(MANY_STEPS, |steps| steps.get());
        let method = MethodSettings::resolve(&mut config, steps, "").validate();
        // A rate is a setting of every method, and checked above.
        let own = |error: &MethodError| match error {
            MethodError::Setting { key, .. } => {
                !["learning_rate", "warmup_ratio", "min_lr_ratio", "weight_decay"]
                    .contains(&typed_key(key))
            }
            _ => true,
        };
        let method = method.err().filter(own).map(|error| self.method_problem(&error));
        method.into_iter().chain(self.check_scheduler()).collect()
    }

    fn check_scheduler(&self) -> Option<Problem> {
        let (shape, method) = (self.config.lr_scheduler?, self.config.method);
        if shape.suits(method) {
            return None;
        }
        let expected = match method {
            MethodName::LosiaPro | MethodName::Losia => {
                r#""cosine_restarts", "no_rewarming" or "cosine""#
            }
            _ => r#""cosine", "linear" or "constant""#,
        };
        let shape = serde_json::to_value(shape).unwrap_or_default();
        let message =
            format!("`lr_scheduler` is {shape}, expected {expected} with `method` = \"{method}\"",);
        let hint = "LoSiA's shapes say what happens when a subnet moves";
        Some(self.problem("lr_scheduler", message, Some(hint.into())))
    }

    fn check_data(&self) -> Vec<Problem> {
        let config = &self.config;
        let mut problems = Vec::new();
        if config.datasets.is_empty() {
            let message = "`datasets` is empty, expected at least one".into();
            let hint = "datasets = [{ path = \"data.jsonl\" }]";
            problems.push(self.problem("datasets", message, Some(hint.into())));
        }
        for (key, datasets) in
            [("datasets", &config.datasets), ("test_datasets", &config.test_datasets)]
        {
            let wrong = datasets.iter().filter_map(|dataset| dataset.check().err());
            problems.extend(wrong.map(|error| self.problem(key, error.to_string(), error.hint())));
        }
        problems
    }

    fn check_validation(&self) -> Vec<Problem> {
        let config = &self.config;
        let mut problems = Vec::new();
        let size = config.val_set_size;
        if !(size.is_finite() && size >= 0.0 && (size < 1.0 || size.fract() == 0.0)) {
            let message = format!("`val_set_size` is {size}, expected a share below 1 or a number");
            problems.push(self.problem("val_set_size", message, None));
        }
        if config.eval_max_new_tokens > 0 && config.train_on_inputs {
            let message =
                "`eval_max_new_tokens` asks for answers, but with `train_on_inputs` there \
                           is no telling where they begin"
                    .into();
            problems.push(self.problem("eval_max_new_tokens", message, None));
        }
        let on_nothing = size == 0.0 && config.test_datasets.is_empty();
        let asked_for = config.train_config().asks_for_validation();
        if let Some((key, value)) = asked_for.filter(|_| on_nothing) {
            let error = Error::NoValidation { key, value };
            problems.push(self.problem(key, error.to_string(), error.hint()));
        }
        if size > 0.0 && !config.test_datasets.is_empty() {
            let message = "`val_set_size` and `test_datasets` are both given".into();
            let hint = "measure on `test_datasets`, or on what `val_set_size` holds back";
            problems.push(self.problem("val_set_size", message, Some(hint.into())));
        }
        problems
    }

    /// What a method refuses, at the place of the setting it names.
    pub(crate) fn method_problem(&self, error: &MethodError) -> Problem {
        match error {
            MethodError::Setting { key, found, expected } => {
                let key = typed_key(key);
                self.problem(key, format!("`{key}` is {found}, expected {expected}"), error.hint())
            }
            MethodError::NoMatch { key, .. } | MethodError::Pattern { key, .. } => {
                self.problem(key, error.to_string(), error.hint())
            }
            error => self.problem("method", error.to_string(), error.hint()),
        }
    }
}

/// The largest whole number in a value or a table of values.
fn largest(value: &Value) -> Option<u64> {
    match value {
        Value::Object(fields) => fields.values().filter_map(largest).max(),
        value => value.as_u64(),
    }
}
