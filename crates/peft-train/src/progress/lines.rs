//! Progress as plain lines of text.

use std::{error::Error as StdError, io::Write, num::NonZeroUsize};

use burn::train::{
    LearnerSummary,
    logger::{EvaluationProgressLogger, TrainingProgressLogger},
    metric::MetricDefinition,
    renderer::{
        EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
        MetricsRendererTraining,
    },
};

use super::latest::LatestMetrics;
use crate::run::{Segments, TrainConfig};

/// What a [`LinesRenderer`] must know to count steps, which the Learner does not report.
#[derive(Clone, Copy, Debug)]
pub struct LinesOptions {
    /// Batch size times batches of all devices.
    samples_per_step: NonZeroUsize,
    /// What the Learner calls epochs.
    segments: Segments,
    total_steps: usize,
    logging_steps: NonZeroUsize,
}

impl LinesOptions {
    /// Of a run of `config` on that many training samples.
    pub fn new(config: &TrainConfig, samples: usize) -> Self {
        Self {
            samples_per_step: config.micro_batch_size.saturating_mul(config.batches_per_step()),
            segments: config.segments(samples),
            total_steps: config.total_steps(samples),
            logging_steps: config.logging_steps,
        }
    }
}

/// Renders progress as lines such as `epoch 1/3  step 120/600  loss 0.4321  learning rate 1.0e-4`:
/// one every `logging_steps`, with that step's loss (of as many batches, where several devices finish
/// theirs in any order), and one at the end of each split: what was trained on up to a validation or an
/// epoch's end, and what was validated on. Lines count skipped steps too, and where these make the run
/// longer its total is shown as it grows.
///
/// It writes to the sink it is given and never to the standard streams by itself. A sink that
/// fails is not worth a training run, so its errors are passed over.
pub struct LinesRenderer<W> {
    sink: W,
    options: LinesOptions,
    /// The run's steps before the present segment.
    segment_begin: usize,
    split: String,
    /// Samples in an epoch of it.
    split_samples: usize,
    /// Those of them that were processed.
    processed: usize,
    /// The last step that was reported. Where several devices share one, each reports it.
    reported: usize,
    metrics: LatestMetrics,
}

impl<W: Write> LinesRenderer<W> {
    /// A renderer that writes to `sink` and flushes it after every line.
    pub fn new(sink: W, options: LinesOptions) -> Self {
        Self {
            sink,
            options,
            segment_begin: 0,
            split: String::new(),
            split_samples: 0,
            processed: 0,
            reported: 0,
            metrics: LatestMetrics::default(),
        }
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.sink, "{line}").and_then(|()| self.sink.flush());
    }

    fn begin(&mut self, split: &str, samples: usize) {
        self.split = split.to_owned();
        self.split_samples = samples;
        self.processed = 0;
        self.metrics.clear();
    }

    /// Epochs of the data that have ended.
    fn epochs_done(&self) -> usize {
        self.segment_begin / self.options.segments.steps_per_epoch
    }

    /// `epoch 1/3`.
    fn epoch(&self) -> String {
        let epoch = self.epochs_done() + 1;
        let epochs = self.options.total_steps.div_ceil(self.options.segments.steps_per_epoch.get());
        format!("epoch {epoch}/{}", epochs.max(epoch))
    }

    /// The run's step that ends with the current epoch's sample `samples`, if one does: a step
    /// cut short by the epoch's end is a step too.
    fn finished_step(&self, samples: usize) -> Option<usize> {
        let per_step = self.options.samples_per_step.get();
        let ends = samples.is_multiple_of(per_step) || samples == self.split_samples;
        let earlier = self.epochs_done() * self.options.segments.steps_per_epoch.get();
        ends.then(|| earlier + samples.div_ceil(per_step))
    }
}

impl<W: Write + Send + Sync> MetricsRendererTraining for LinesRenderer<W> {
    fn update_train(&mut self, state: MetricState) {
        self.metrics.update(state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.metrics.update(state);
    }

    fn on_train_end(&mut self, summary: Option<LearnerSummary>) -> Result<(), Box<dyn StdError>> {
        if let Some(summary) = summary {
            self.line(&summary.to_string());
        }
        Ok(())
    }
}

impl<W: Write + Send + Sync> TrainingProgressLogger for LinesRenderer<W> {
    fn start(&mut self, _segments: usize, segment: usize, _: Option<usize>, _: Option<&str>) {
        self.segment_begin = self.options.segments.begin(segment.saturating_sub(1));
    }

    fn update_epoch(&mut self, _segment: usize) {
        self.segment_begin = self.options.segments.end(self.segment_begin);
    }

    fn start_split(&mut self, split: &str, total_items: usize) {
        self.begin(split, total_items);
    }

    fn update_split(&mut self, items_processed: usize) {
        self.processed = items_processed;
        if self.split != "train" {
            return;
        }
        let every = self.options.logging_steps.get();
        let step = self.finished_step(items_processed);
        if step.is_some() {
            self.metrics.end_step();
        }
        if let Some(step) = step.filter(|step| step.is_multiple_of(every) && *step > self.reported)
        {
            self.reported = step;
            let steps = self.options.total_steps.max(step);
            let (epoch, numbers) = (self.epoch(), self.metrics.numbers());
            self.line(&format!("{epoch}  step {step}/{steps}{numbers}"));
        }
    }

    /// By now the metrics hold the split's own values instead of the last batch's. Where there is no
    /// validation, the Learner has an empty split for it.
    fn end_split(&mut self) {
        if self.processed == 0 {
            return;
        }
        let line = format!("{}  {}{}", self.epoch(), self.split, self.metrics.numbers());
        self.line(&line);
    }

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl<W: Write + Send + Sync> MetricsRendererEvaluation for LinesRenderer<W> {
    fn update_test(&mut self, _name: EvaluationName, state: MetricState) {
        self.metrics.update(state);
    }

    fn on_test_end(&mut self, summary: Option<LearnerSummary>) -> Result<(), Box<dyn StdError>> {
        if let Some(summary) = summary {
            self.line(&summary.to_string());
        }
        Ok(())
    }
}

impl<W: Write + Send + Sync> EvaluationProgressLogger for LinesRenderer<W> {
    fn start_global_progress(&mut self, _total_tests: usize) {}

    fn start_test(&mut self, name: &str, total_items: usize) {
        self.begin(name, total_items);
    }

    fn update_test_progress(&mut self, _items_processed: usize) {}

    /// The numbers of a test are the last batch's; only the formatted entries hold its averages.
    fn end_test(&mut self) {
        let line = format!("test {}{}", self.split, self.metrics.texts());
        self.line(&line);
    }

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

impl<W: Write + Send + Sync> MetricsRenderer for LinesRenderer<W> {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.metrics.register(definition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::latest::tests::{definition, note, numeric};

    fn renderer() -> LinesRenderer<Vec<u8>> {
        validating(None)
    }

    /// Of two epochs of ten samples: steps of 4, 4 and 2.
    fn validating(eval_steps: Option<NonZeroUsize>) -> LinesRenderer<Vec<u8>> {
        let two = NonZeroUsize::new(2).unwrap();
        let config = TrainConfig {
            micro_batch_size: two,
            gradient_accumulation_steps: two,
            num_epochs: two,
            logging_steps: two,
            eval_steps,
            ..TrainConfig::default()
        };
        let mut renderer = LinesRenderer::new(Vec::new(), LinesOptions::new(&config, 10));
        for name in ["Loss", "Learning Rate", "Note"] {
            renderer.register_metric(definition(name));
        }
        renderer
    }

    fn output(renderer: LinesRenderer<Vec<u8>>) -> Vec<String> {
        let text = String::from_utf8(renderer.sink).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// What the Learner calls in one epoch of ten samples, in batches of two.
    fn train_epoch(renderer: &mut LinesRenderer<Vec<u8>>, epoch: usize) {
        renderer.start_split("train", 10);
        for samples in [2, 4, 6, 8, 10] {
            renderer.update_train(numeric("Loss", 1.0 / samples as f64));
            renderer.update_train(numeric("Learning Rate", 1e-4));
            renderer.update_train(note());
            renderer.update_split(samples);
        }
        renderer.update_train(numeric("Loss", 0.5));
        renderer.end_split();
        renderer.start_split("valid", 2);
        renderer.update_valid(numeric("Loss", 0.25));
        renderer.update_split(2);
        renderer.end_split();
        renderer.update_epoch(epoch);
    }

    #[test]
    fn a_run_reports_every_second_step_and_each_split() {
        let mut renderer = renderer();
        renderer.start(2, 1, None, None);
        train_epoch(&mut renderer, 1);
        train_epoch(&mut renderer, 2);
        renderer.end();
        assert_eq!(
            output(renderer),
            [
                "epoch 1/2  step 2/6  loss 0.1250  learning rate 1.0e-4",
                "epoch 1/2  train  loss 0.5000  learning rate 1.0e-4",
                "epoch 1/2  valid  loss 0.2500",
                // Step 3 is the first epoch's last, of two samples.
                "epoch 2/2  step 4/6  loss 0.2500  learning rate 1.0e-4",
                "epoch 2/2  step 6/6  loss 0.1000  learning rate 1.0e-4",
                "epoch 2/2  train  loss 0.5000  learning rate 1.0e-4",
                "epoch 2/2  valid  loss 0.2500",
            ]
        );
    }

    #[test]
    fn a_resumed_run_counts_on() {
        let mut renderer = renderer();
        renderer.start(2, 2, None, None);
        renderer.start_split("train", 10);
        renderer.update_split(8);
        renderer.update_split(10);
        renderer.update_split(10); // of another device
        assert_eq!(output(renderer), ["epoch 2/2  step 6/6"]);
    }

    /// Validations after steps 2, 4 and 6: the Learner has four epochs, from 0, 2, 3 and 4 steps on.
    #[test]
    fn epochs_are_those_of_the_data() {
        let segments = |renderer: &mut LinesRenderer<Vec<u8>>, segments: &[(&[usize], usize)]| {
            for (samples, validated) in segments {
                renderer.start_split("train", 10);
                samples.iter().for_each(|samples| renderer.update_split(*samples));
                renderer.end_split();
                renderer.start_split("valid", 2);
                if *validated > 0 {
                    renderer.update_split(*validated);
                }
                renderer.update_valid(numeric("Loss", 0.5));
                renderer.end_split();
                renderer.update_epoch(0);
            }
        };
        let all: [(&[usize], usize); 4] = [(&[4, 8], 2), (&[10], 0), (&[4], 2), (&[8, 10], 2)];
        let lines = [
            "epoch 1/2  step 2/6",
            "epoch 1/2  train",
            "epoch 1/2  valid  loss 0.5000",
            "epoch 1/2  train",
            "epoch 2/2  step 4/6",
            "epoch 2/2  train",
            "epoch 2/2  valid  loss 0.5000",
            "epoch 2/2  step 6/6",
            "epoch 2/2  train",
            "epoch 2/2  valid  loss 0.5000",
        ];
        for (done, said) in [(0, 0), (1, 3), (2, 4), (3, 7)] {
            let mut renderer = validating(NonZeroUsize::new(2));
            renderer.start(4, done + 1, None, None);
            segments(&mut renderer, &all[done..]);
            assert_eq!(output(renderer), lines[said..]);
        }
    }

    #[test]
    fn steps_that_make_up_for_skipped_ones_count_on() {
        let mut renderer = renderer();
        renderer.start(3, 3, None, None);
        renderer.start_split("train", 10);
        renderer.update_split(8);
        assert_eq!(output(renderer), ["epoch 3/3  step 8/8"]);
    }

    #[test]
    fn a_split_without_samples_has_no_line() {
        let mut renderer = renderer();
        renderer.start(1, 1, None, None);
        renderer.start_split("valid", 0);
        renderer.update_valid(numeric("Loss", f64::NAN));
        renderer.end_split();
        assert!(output(renderer).is_empty());
    }

    #[test]
    fn a_test_reports_its_averages() {
        let mut renderer = renderer();
        renderer.start_global_progress(1);
        renderer.start_test("arc", 4);
        renderer.update_test(EvaluationName::new("arc"), numeric("Loss", 0.25));
        renderer.update_test(EvaluationName::new("arc"), note());
        renderer.update_test_progress(4);
        renderer.end_test();
        assert_eq!(output(renderer), ["test arc  loss epoch 0.25  note fine"]);
    }

    /// A sink that is gone, such as a closed pipe.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_closed_sink_does_not_stop_the_run() {
        let mut renderer = LinesRenderer::new(Closed, renderer().options);
        renderer.start(1, 1, None, None);
        renderer.start_split("train", 8);
        renderer.update_split(8);
        renderer.end_split();
        assert!(renderer.on_train_end(None).is_ok());
    }
}
