//! A plan in words.

use std::fmt;

use indicatif::{DecimalBytes, HumanCount};
use peft_core::Outline;

use super::{Plan, schedule};
use crate::data::PreparedDataset;

impl fmt::Display for Plan {
    /// A line or more for each part, notes last. No newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![
            ("device", self.devices()),
            ("model", self.model()),
            ("method", self.config.method.to_string()),
            ("adapts", adapted(&self.outline)),
            ("trains", self.trained()),
        ];
        lines.extend(self.data.datasets.iter().map(|dataset| ("data", of_dataset(dataset))));
        lines.push(("samples", self.samples()));
        lines.push(("steps", self.steps.describe(&self.config)));
        let weights = self.outline.adapted.len();
        let schedule =
            schedule::describe(&self.method, self.slots, weights, self.steps, &self.config);
        lines.extend(schedule.into_iter().map(|line| ("schedule", line)));
        lines.push(("memory", self.memory_line()));
        lines.push((
            "saves",
            self.checkpoint_size().describe(&self.config, !self.data.valid.is_empty()),
        ));
        lines.push(("writes", self.config.output_dir.display().to_string()));
        if let Some(checkpoint) = &self.config.resume_from_checkpoint {
            lines.push(("resumes", checkpoint.display().to_string()));
        }
        lines.extend(self.notes.iter().map(|note| ("note", note.clone())));
        let lines: Vec<_> =
            lines.into_iter().map(|(label, text)| format!("{label:<9}{text}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Plan {
    fn model(&self) -> String {
        let config = self.base.checkpoint.config();
        format!(
            "{} ({} layers of {}, {} parameters, {:?})",
            self.config.base_model.display(),
            config.num_hidden_layers,
            config.hidden_size,
            HumanCount(self.outline.counts.total as u64),
            self.base.dtype.dtype,
        )
    }

    fn devices(&self) -> String {
        let devices = self.base.devices.iter().map(|device| format!("{device:?}"));
        devices.collect::<Vec<_>>().join(", ")
    }

    fn trained(&self) -> String {
        let counts = self.outline.counts;
        let share = 100.0 * counts.trainable as f64 / counts.total as f64;
        let dense: Vec<_> = self.outline.dense.iter().map(|param| param.path.as_str()).collect();
        let dense = match &dense[..] {
            [] => String::new(),
            [first, rest @ ..] if rest.len() > 2 => {
                format!(", {first} and {} more densely", rest.len())
            }
            few => format!(", {} densely", few.join(", ")),
        };
        format!(
            "{} parameters at a time ({share:.2} %){dense}",
            HumanCount(counts.trainable as u64)
        )
    }

    fn samples(&self) -> String {
        let tokens: usize = self.data.train.iter().map(|sample| sample.input_ids.len()).sum();
        format!(
            "{} in an epoch, {} tokens, the longest row {}; {} held back to measure on",
            HumanCount(self.data.train.len() as u64),
            HumanCount(tokens as u64),
            self.data.longest(),
            HumanCount(self.data.valid.len() as u64),
        )
    }

    fn memory_line(&self) -> String {
        let available = self.available.map(|available| available.to_string());
        let available = available.unwrap_or("the device does not tell how much it has".into());
        format!(
            "{} for a step ({}); {available}",
            DecimalBytes(self.memory.total() as u64),
            self.memory
        )
    }
}

/// `35 weights: 5 q_proj, 5 k_proj, …`.
pub(crate) fn adapted(outline: &Outline) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for weight in &outline.adapted {
        let module = weight.param.module_path();
        let name = module.rsplit('.').next().unwrap_or(module);
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    match outline.adapted.len() {
        0 => "nothing".into(),
        weights => format!("{weights} weights: {}", counts.join(", ")),
    }
}

fn of_dataset(dataset: &PreparedDataset) -> String {
    let PreparedDataset { path, format, samples, tokens, cached, .. } = dataset;
    let cached = if *cached { ", tokenized before" } else { "" };
    format!(
        "{path} ({format}): {} samples, {} tokens{cached}",
        HumanCount(*samples as u64),
        HumanCount(*tokens as u64)
    )
}
