//! `report.md`: what a run was and what came of it, for people.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{History, RankHistory, RunReport, Scores, SelectionHistory, write_atomic};
use crate::Error;

/// The report's name in the output folder.
pub(super) const FILE_NAME: &str = "report.md";

/// Draws `loss.svg`, `learning_rate.svg` and, where there are such, AdaLoRA's `ranks.svg` and LoSiA's
/// `selections.svg` into the output folder `dir` of a run, and writes `report.md`, which shows them with settings and results. All
/// of it is made of `run.json` and `metrics.jsonl`, whether the run is done, failed or still at
/// work.
///
/// # Errors
/// [`Error::Io`] where a file cannot be read or written, [`Error::BadReport`], [`Error::BadMetricsLine`],
/// [`Error::Plot`].
pub fn write_report(dir: &Path) -> Result<PathBuf, Error> {
    let (report, history) = (RunReport::read(dir)?, History::read(dir)?);
    let pictures = draw(dir, &history)?;
    let path = dir.join(FILE_NAME);
    write_atomic(&path, markdown(&report, &history, &pictures).as_bytes())?;
    Ok(path)
}

fn draw(dir: &Path, history: &History) -> Result<Vec<PathBuf>, Error> {
    let mut pictures = Vec::new();
    if !history.steps.is_empty() {
        pictures.push(history.draw_loss(dir)?);
        pictures.push(history.draw_learning_rate(dir)?);
    }
    if let Some(ranks) = RankHistory::of(history) {
        pictures.push(ranks.draw(dir)?);
    }
    if let Some(selections) = SelectionHistory::of(history) {
        pictures.push(selections.draw(dir)?);
    }
    Ok(pictures)
}

fn markdown(report: &RunReport, history: &History, pictures: &[PathBuf]) -> String {
    let method = report.config["method"].as_str().unwrap_or("fine-tuning");
    let mut text = format!("# {method}: {}\n", name(&report.status));
    if let Some(error) = &report.error {
        text += &format!("\n**{error}**\n");
    }
    for note in &report.notes {
        text += &format!("\nNote: {note}.\n");
    }
    table(&mut text, ["run", ""], facts(report, history));
    if let Some(data) = &report.data {
        table(&mut text, ["data", ""], data.facts());
    }
    let scores = scores(report);
    if !scores.is_empty() {
        table(&mut text, ["score", "before → after"], scores);
    }
    for picture in pictures {
        let file = picture.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let _ = write!(text, "\n![{}]({file})\n", file.trim_end_matches(".svg").replace('_', " "));
    }
    let mut settings = Vec::new();
    flatten("", &report.config, &mut settings);
    table(&mut text, ["setting", ""], settings);
    text
}

type Row = (String, String);

fn table(text: &mut String, head: [&str; 2], rows: Vec<Row>) {
    let _ = write!(text, "\n| {} | {} |\n|---|---|\n", head[0], head[1]);
    for (key, value) in rows {
        let _ = writeln!(text, "| {key} | {} |", value.replace('|', "\\|"));
    }
}

fn facts(report: &RunReport, history: &History) -> Vec<Row> {
    let last = history.steps.last();
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    let share = 100.0 * report.trainable_parameters as f64 / report.total_parameters.max(1) as f64;
    let trained = format!(
        "{} of {} parameters at a time ({share:.2} %)",
        report.trainable_parameters, report.total_parameters
    );
    let facts = [
        ("steps", Some(report.steps.to_string())),
        ("skipped steps", Some(report.skipped_steps).filter(|n| *n > 0).map(|n| n.to_string())),
        ("last logged loss", last.map(|last| format!("{:.4}", last.loss))),
        ("lowest validation loss", report.best_eval_loss.map(|loss| format!("{loss:.4}"))),
        ("its checkpoint", path(&report.best_checkpoint)),
        ("last checkpoint", path(&report.checkpoint)),
        ("trained", Some(trained)),
        ("device", Some(format!("{}, {}", report.device, report.dtype))),
        ("time", Some(format!("{:.1} s", report.seconds))),
        ("speed", Some(format!("{:.0} tokens/s", report.tokens_per_second))),
        ("peak memory of the process", report.peak_memory_bytes.map(mebibytes)),
        ("memory held on the device", report.device_memory_bytes.map(mebibytes)),
        ("burn-peft", Some(report.version.clone())),
        ("Burn", report.burn_version.clone()),
    ];
    let known = facts.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?)));
    known.collect()
}

/// A run that did not end well has none after it.
fn scores(report: &RunReport) -> Vec<Row> {
    let RunReport { before, after, known, .. } = report;
    let trained = before.map(|before| ("trained tasks", before, *after));
    let known = known.map(|[before, after]| ("other tasks", before, Some(after)));
    let row = |(tasks, before, after): (&str, Scores, Option<Scores>)| {
        let both = |value: &dyn Fn(Scores) -> Option<String>| {
            let after = after.and_then(value).unwrap_or_else(|| "–".into());
            value(before).map(|before| format!("{before} → {after}"))
        };
        let exact = both(&|scores| Some(format!("{:.1} %", 100.0 * scores.accuracy?)));
        let loss = both(&|scores| scores.loss.map(|loss| format!("{loss:.4}")));
        let rows = [("right answers", exact), ("loss", loss)];
        rows.map(|(what, value)| Some((format!("{tasks}: {what}"), value?))).into_iter().flatten()
    };
    trained.into_iter().chain(known).flat_map(row).collect()
}

/// Every leaf of `value` with its path.
fn flatten(key: &str, value: &Value, rows: &mut Vec<Row>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&path, value, rows);
            }
        }
        Value::String(text) => rows.push((key.into(), text.clone())),
        other => rows.push((key.into(), other.to_string())),
    }
}

fn name(status: &impl serde::Serialize) -> String {
    let name = serde_json::to_value(status).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{MetricsLog, RunStatus, data};
    use serde_json::json;

    fn report() -> RunReport {
        RunReport {
            version: "0.1.0".into(),
            burn_version: Some("0.22.1".into()),
            config: json!({ "method": "adalora", "settings": { "r": 8, "target": "a|b" } }),
            device: "Flex".into(),
            dtype: "F32".into(),
            status: RunStatus::Failed,
            error: Some("the disk is full".into()),
            notes: vec!["nothing is as it was meant".into()],
            steps: 3,
            skipped_steps: 1,
            seconds: 1.5,
            tokens_per_second: 2048.0,
            peak_memory_bytes: Some(3 << 20),
            device_memory_bytes: Some(5 << 20),
            trainable_parameters: 10,
            total_parameters: 1000,
            checkpoint: Some("out/checkpoint-3".into()),
            best_eval_loss: None,
            best_checkpoint: None,
            data: Some(data::tests::report()),
            before: Some(Scores { accuracy: Some(0.25), loss: Some(2.5), items: 8 }),
            after: Some(Scores { accuracy: Some(0.5), loss: Some(2.0), items: 8 }),
            known: None,
        }
    }

    #[test]
    fn the_report_shows_settings_results_and_pictures() {
        let dir = tempfile::tempdir().unwrap();
        report().write(dir.path()).unwrap();
        let line = json!({
            "step": 2, "loss": 1.25, "learning_rate": 1e-3,
            "events": [
                { "event": "allocation", "ranks": [["model.layers.0.up_proj.weight", 2]] },
                {
                    "event": "relocalization", "path": "model.layers.0.up_proj.weight",
                    "gradient_share": 0.25,
                },
            ],
        });
        std::fs::write(dir.path().join(MetricsLog::FILE_NAME), format!("{line}\n")).unwrap();
        let text = std::fs::read_to_string(write_report(dir.path()).unwrap()).unwrap();
        for expected in [
            "# adalora: failed\n\n**the disk is full**\n\nNote: nothing is as it was meant.\n",
            "| steps | 3 |\n| skipped steps | 1 |\n| last logged loss | 1.2500 |\n",
            "| memory held on the device | 5 MiB |\n",
            "| trained | 10 of 1000 parameters at a time (1.00 %) |",
            "| data |  |\n|---|---|\n| rows of an epoch | 90 |\n",
            "| trained tasks: right answers | 25.0 % → 50.0 % |\n| trained tasks: loss | 2.5000 → 2.0000 |",
            "| settings.target | a\\|b |",
        ] {
            assert!(text.contains(expected), "{expected}\n---\n{text}");
        }
        for picture in ["loss", "learning_rate", "ranks", "selections"] {
            assert!(text.contains(&format!("({picture}.svg)")), "{text}");
            assert!(dir.path().join(format!("{picture}.svg")).exists());
        }
    }

    #[test]
    fn scores_before_a_run_are_shown_whether_there_are_others_or_not() {
        let scores = |after| scores(&RunReport { after, ..report() });
        let loss = |loss: &str| ("trained tasks: loss".to_string(), loss.to_string());
        assert_eq!(scores(None)[1], loss("2.5000 → –"));
        let without = Scores { accuracy: None, loss: Some(2.0), items: 8 };
        let exact = ("trained tasks: right answers".to_string(), "25.0 % → –".to_string());
        assert_eq!(scores(Some(without)), [exact, loss("2.5000 → 2.0000")]);
    }

    #[test]
    fn a_run_without_steps_has_a_report_without_pictures() {
        let dir = tempfile::tempdir().unwrap();
        report().write(dir.path()).unwrap();
        std::fs::write(dir.path().join(MetricsLog::FILE_NAME), "").unwrap();
        let text = std::fs::read_to_string(write_report(dir.path()).unwrap()).unwrap();
        assert!(!text.contains(".svg"), "{text}");
        std::fs::remove_file(dir.path().join(RunReport::FILE_NAME)).unwrap();
        assert!(write_report(dir.path()).unwrap_err().to_string().contains("run.json"));
    }
}
