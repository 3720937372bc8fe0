//! How far a command has come, on terminals.

use std::cell::RefCell;

use indicatif::{ProgressBar, ProgressStyle};
use peft_train::plan::Activity;

/// A bar for what is being done; nothing where standard error is no terminal.
#[derive(Default)]
pub struct Progress {
    bar: RefCell<Option<(&'static str, ProgressBar)>>,
}

impl Progress {
    /// Shows a run's activity.
    pub fn activity(&self, activity: Activity) {
        match activity {
            Activity::Loading { done, total } => self.bytes("loading", done, total),
            Activity::Measuring { done, total } => {
                self.show("measuring", "{pos}/{len}", done, total);
            }
            Activity::Saving => self.show("saving", "", 0, 1),
        }
    }

    /// Shows bytes of `label` done.
    pub fn bytes(&self, label: &'static str, done: u64, total: u64) {
        self.show(label, "{bytes}/{total_bytes}", done, total);
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn show(&self, label: &'static str, unit: &str, done: u64, total: u64) {
        let other = self.bar.borrow().as_ref().is_none_or(|(shown, _)| *shown != label);
        if other {
            self.clear();
            let style = ProgressStyle::with_template(&format!("{label} {{wide_bar}} {unit}"));
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar.replace(Some((label, ProgressBar::new(total).with_style(style))));
        }
        if let Some((_, bar)) = &*self.bar.borrow() {
            bar.set_position(done);
        }
        if done >= total {
            self.clear();
        }
    }
}
