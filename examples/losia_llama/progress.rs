//! How far loading and measuring have come, on terminals.

use burn_peft::train::plan::Activity;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar for what is being done; nothing where standard error is no terminal.
#[derive(Default)]
pub struct Bar {
    bar: Option<ProgressBar>,
}

impl Bar {
    /// Shows what a run is busy with.
    pub fn show(&mut self, activity: Activity) {
        match activity {
            Activity::Loading { done, total } => {
                self.at("loading {wide_bar} {bytes}/{total_bytes}", done, total);
            }
            Activity::Measuring { done, total } => {
                self.at("measuring {wide_bar} {pos}/{len}", done, total);
            }
            Activity::Saving => {}
        }
    }

    fn at(&mut self, template: &str, done: u64, total: u64) {
        let new = || {
            let style = ProgressStyle::with_template(template);
            ProgressBar::new(total).with_style(style.unwrap_or(ProgressStyle::default_bar()))
        };
        self.bar.get_or_insert_with(new).set_position(done);
        if done >= total
            && let Some(bar) = self.bar.take()
        {
            bar.finish_and_clear();
        }
    }
}
