//! The newest value of each metric, as text.

use burn::train::{
    metric::{MetricDefinition, MetricEntry, MetricId},
    renderer::MetricState,
};

/// The metrics of the split at work, in the order of their first update.
#[derive(Default)]
pub(super) struct LatestMetrics {
    names: Vec<(MetricId, String)>,
    states: Vec<MetricState>,
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

    /// Puts `state` in place of the metric's older one.
    pub fn update(&mut self, state: MetricState) {
        let id = &entry(&state).metric_id;
        let old = self.states.iter_mut().find(|old| entry(old).metric_id == *id);
        match old {
            Some(old) => *old = state,
            None => self.states.push(state),
        }
    }

    /// The numbers, `  loss 0.4321  accuracy 0.5000`.
    pub fn numbers(&self) -> String {
        let number = |state: &MetricState| match state {
            MetricState::Numeric(entry, Some(value)) => {
                let name = self.name(&entry.metric_id)?;
                Some(format!("  {name} {}", short(value.current())))
            }
            _ => None,
        };
        self.states.iter().filter_map(number).collect()
    }

    /// Every metric in its own words, `  loss epoch 0.43 - batch 0.41`.
    pub fn texts(&self) -> String {
        let text = |state: &MetricState| {
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
    fn numbers_stay_short() {
        let cases = [(0.0, "0.0000"), (1.5, "1.5000"), (-5e-5, "-5.0e-5"), (f64::NAN, "NaN")];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
        }
    }
}
