//! The present value of each metric, as text.

use burn::train::{
    metric::{MetricDefinition, MetricEntry, MetricId, NumericEntry},
    renderer::MetricState,
};

/// The metrics of the split at work, in the order of their first update: of the last batch, and the loss
/// of all batches since the last step, where several make one.
#[derive(Default)]
pub(super) struct LatestMetrics {
    names: Vec<(MetricId, String)>,
    /// Each with whether it is of a step that has ended.
    states: Vec<(MetricState, bool)>,
}

impl LatestMetrics {
    /// Makes a metric known; updates of unknown ones are never shown.
    pub fn register(&mut self, definition: MetricDefinition) {
        let name = definition.name.to_lowercase();
        self.names.push((definition.metric_id, name));
    }

    /// Forgets the values, for a new split.
    pub fn clear(&mut self) {
        self.states.clear();
    }

    /// A step has ended: what comes next is of another.
    pub fn end_step(&mut self) {
        self.states.iter_mut().for_each(|(_, is_old)| *is_old = true);
    }

    /// Puts `state` in place of the metric's older one. A loss is averaged with those of the same step.
    pub fn update(&mut self, state: MetricState) {
        let id = &entry(&state).metric_id;
        let is_loss = self.name(id) == Some("loss");
        match self.states.iter_mut().find(|(old, _)| entry(old).metric_id == *id) {
            Some((old, is_old)) if *is_old => (*old, *is_old) = (state, false),
            Some((old, _)) if is_loss => *old = averaged(old, state),
            Some((old, _)) => *old = state,
            None => self.states.push((state, false)),
        }
    }

    /// The numbers, `  loss 0.4321  accuracy 0.5000`.
    pub fn numbers(&self) -> String {
        let number = |state: &(MetricState, bool)| match state {
            (MetricState::Numeric(entry, Some(value)), _) => {
                let name = self.name(&entry.metric_id)?;
                Some(format!("  {name} {}", short(value.current())))
            }
            _ => None,
        };
        self.states.iter().filter_map(number).collect()
    }

    /// Every metric in its own words, `  loss epoch 0.43 - batch 0.41`.
    pub fn texts(&self) -> String {
        let text = |(state, _): &(MetricState, bool)| {
            let entry = entry(state);
            let name = self.name(&entry.metric_id)?;
            Some(format!("  {name} {}", entry.serialized_entry.formatted))
        };
        self.states.iter().filter_map(text).collect()
    }

    fn name(&self, id: &MetricId) -> Option<&str> {
        let registered = self.names.iter().find(|(known, _)| known == id);
        registered.map(|(_, name)| &**name)
    }
}

/// `new`, with the mean over both, by what they count. What is no mean, as a split's final value, is taken as
/// it is.
fn averaged(old: &MetricState, new: MetricState) -> MetricState {
    let mean = |state: &MetricState| match state {
        MetricState::Numeric(_, Some(NumericEntry::Aggregated { aggregated_value, count })) => {
            Some((*aggregated_value, *count))
        }
        _ => None,
    };
    let (Some((a, n)), Some((b, m)), MetricState::Numeric(entry, _)) =
        (mean(old), mean(&new), &new)
    else {
        return new;
    };
    let aggregated_value = (a * n as f64 + b * m as f64) / (n + m).max(1) as f64;
    let value = NumericEntry::Aggregated { aggregated_value, count: n + m };
    MetricState::Numeric(entry.clone(), Some(value))
}

fn entry(state: &MetricState) -> &MetricEntry {
    match state {
        MetricState::Generic(entry) | MetricState::Numeric(entry, _) => entry,
    }
}

/// Four decimals, or a power of ten for what they would not show, such as learning rates.
fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.1e}") } else { format!("{value:.4}") }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use burn::train::metric::{MetricAttributes, NumericEntry, SerializedEntry};

    use super::*;

    pub(in crate::progress) fn definition(name: &str) -> MetricDefinition {
        MetricDefinition {
            metric_id: id(name),
            name: Arc::new(name.to_owned()),
            description: None,
            attributes: MetricAttributes::None,
        }
    }

    fn id(name: &str) -> MetricId {
        MetricId::new(Arc::new(name.to_owned()))
    }

    pub(in crate::progress) fn numeric(name: &str, value: f64) -> MetricState {
        let text = SerializedEntry::new(format!("epoch {value}"), String::new());
        let entry = MetricEntry::new(id(name), text);
        MetricState::Numeric(entry, Some(NumericEntry::Value(value)))
    }

    pub(in crate::progress) fn note() -> MetricState {
        let text = SerializedEntry::new("fine".into(), String::new());
        MetricState::Generic(MetricEntry::new(id("Note"), text))
    }

    #[test]
    fn the_newest_values_are_shown_until_the_next_split() {
        let mut metrics = LatestMetrics::default();
        metrics.register(definition("Loss"));
        metrics.register(definition("Note"));
        metrics.update(numeric("Loss", 2.0));
        metrics.update(note());
        metrics.update(numeric("Loss", 1.0));
        metrics.update(numeric("Unknown", 3.0));
        assert_eq!(metrics.numbers(), "  loss 1.0000");
        assert_eq!(metrics.texts(), "  loss epoch 1  note fine");
        metrics.clear();
        assert_eq!(metrics.numbers(), "");
    }

    #[test]
    fn the_batches_of_a_step_are_averaged_by_what_they_count() {
        let mut metrics = LatestMetrics::default();
        metrics.register(definition("Loss"));
        metrics.register(definition("Learning Rate"));
        let mut update = |aggregated_value, count| {
            for (name, aggregated_value) in
                [("Loss", aggregated_value), ("Learning Rate", count as f64)]
            {
                let mean = NumericEntry::Aggregated { aggregated_value, count };
                let MetricState::Numeric(entry, _) = numeric(name, 0.0) else { unreachable!() };
                metrics.update(MetricState::Numeric(entry, Some(mean)));
            }
            let numbers = metrics.numbers();
            if count == 6 {
                metrics.end_step();
            }
            numbers
        };
        assert_eq!(update(8.0, 2), "  loss 8.0000  learning rate 2.0000");
        assert_eq!(update(4.0, 6), "  loss 5.0000  learning rate 6.0000");
        assert_eq!(update(3.0, 1), "  loss 3.0000  learning rate 1.0000");
        metrics.update(numeric("Loss", 7.0));
        assert_eq!(metrics.numbers(), "  loss 7.0000  learning rate 1.0000");
    }

    #[test]
    fn numbers_stay_short() {
        let cases = [(0.0, "0.0000"), (1.5, "1.5000"), (-5e-5, "-5.0e-5"), (f64::NAN, "NaN")];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
        }
    }
}
