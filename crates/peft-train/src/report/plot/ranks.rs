//! The picture people look for in AdaLoRA's paper: which weights kept how many ranks.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};

use peft_core::target::layer_number;
use plotters::prelude::*;

use super::chart::{Series, line_chart};
use super::{Area, draw};
use crate::Error;
use crate::report::History;

/// Pixels of a cell of the heat map.
const CELL: (u32, u32) = (44, 30);
/// Room for the names of modules, of layers, and for the chart of ranks over time.
const NAMES: u32 = 120;
const TITLE: u32 = 60;
const CHART: u32 = 260;

/// Ranks over a run, read back from its `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct RankHistory {
    /// Ranks of all weights together, by step.
    pub totals: Vec<(usize, usize)>,
    /// Ranks after the last cut, by path of the weight.
    pub last: Vec<(String, usize)>,
}

impl RankHistory {
    /// The picture's name in the output folder.
    pub const FILE_NAME: &str = "ranks.svg";

    /// Reads the cuts of the run in the folder `dir`; `None` if there were none.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::BadMetricsLine`].
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        Ok(Self::of(&History::read(dir)?))
    }

    /// The cuts of a run; `None` if there were none.
    pub fn of(history: &History) -> Option<Self> {
        let sum = |ranks: &[(String, usize)]| ranks.iter().map(|(_, rank)| rank).sum();
        let (_, last) = history.allocations.last()?;
        let totals = history.allocations.iter().map(|(step, ranks)| (*step, sum(ranks)));
        Some(Self { totals: totals.collect(), last: last.clone() })
    }

    /// Draws the final ranks by layer and module, and their sum over time, into `ranks.svg` in the
    /// folder `dir`.
    ///
    /// # Errors
    /// [`Error::Plot`].
    pub fn draw(&self, dir: &Path) -> Result<PathBuf, Error> {
        let cells = Cells::of(&self.last);
        let width = NAMES + CELL.0 * cells.layers.len().max(8) as u32 + 20;
        let map = TITLE + CELL.1 * cells.modules.len() as u32;
        let totals = Series {
            name: "ranks",
            color: BLUE,
            points: self.totals.iter().map(|(step, sum)| (*step as f64, *sum as f64)).collect(),
        };
        draw(dir.join(Self::FILE_NAME), (width, map + CHART), |root| {
            let (heat_map, chart) = root.split_vertically(map);
            cells.draw(&heat_map)?;
            let title = "ranks kept, all weights";
            line_chart(&chart, title, &[totals], &|ranks| format!("{ranks:.0}"))
        })
    }
}

/// Ranks by layer and kind of module.
struct Cells {
    layers: Vec<usize>,
    modules: Vec<String>,
    /// Layer, module, rank.
    ranks: Vec<(usize, usize, usize)>,
}

impl Cells {
    fn of(ranks: &[(String, usize)]) -> Self {
        let mut cells = Self { layers: vec![], modules: vec![], ranks: vec![] };
        for (path, rank) in ranks {
            let (layer, module) = place(path);
            let column = position(&mut cells.layers, layer);
            let row = position(&mut cells.modules, module);
            cells.ranks.push((column, row, *rank));
        }
        cells
    }

    fn draw(&self, area: &Area) -> Result<(), Box<dyn StdError>> {
        let font = |size: u32| ("sans-serif", size).into_font();
        let most = self.ranks.iter().map(|(.., rank)| *rank).max().unwrap_or(0).max(1);
        area.draw(&Text::new("final ranks by layer and module", (10, 8), font(16)))?;
        for (column, layer) in self.layers.iter().enumerate() {
            let (x, _) = corner(column, 0);
            area.draw(&Text::new(layer.to_string(), (x + 14, TITLE as i32 - 20), font(13)))?;
        }
        for (row, module) in self.modules.iter().enumerate() {
            let (_, y) = corner(0, row);
            area.draw(&Text::new(module.clone(), (10, y + 8), font(13)))?;
        }
        for (column, row, rank) in &self.ranks {
            let (x, y) = corner(*column, *row);
            let share = *rank as f64 / most as f64;
            let end = (x + CELL.0 as i32 - 2, y + CELL.1 as i32 - 2);
            area.draw(&Rectangle::new([(x, y), end], BLUE.mix(0.08 + 0.8 * share).filled()))?;
            let ink = if share > 0.6 { &WHITE } else { &BLACK };
            let style = font(13).color(ink);
            area.draw(&Text::new(rank.to_string(), (x + 14, y + 8), style))?;
        }
        Ok(())
    }
}

fn corner(column: usize, row: usize) -> (i32, i32) {
    let x = NAMES + CELL.0 * column as u32;
    let y = TITLE + CELL.1 * row as u32;
    (x as i32, y as i32)
}

/// The layer's number, 0 if there is none, and the module's own name.
fn place(path: &str) -> (usize, String) {
    let module = path.strip_suffix(".weight").unwrap_or(path);
    let name = module.rsplit('.').next().unwrap_or(module);
    (layer_number(module).unwrap_or(0), name.to_string())
}

fn position<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    all.iter().position(|other| *other == one).unwrap_or_else(|| {
        all.push(one);
        all.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::MetricsLog;

    #[test]
    fn cuts_are_read_back_and_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let path = |layer: usize, name: &str| format!("model.layers.{layer}.mlp.{name}.weight");
        let line = |step: usize, ranks: [usize; 3]| {
            let ranks = [(path(0, "up_proj"), ranks[0]), (path(0, "down_proj"), ranks[1])]
                .into_iter()
                .chain([(path(1, "up_proj"), ranks[2])]);
            let event = serde_json::json!({
                "event": "allocation", "budget": 9, "threshold": 0.5,
                "ranks": ranks.collect::<Vec<_>>(),
            });
            serde_json::json!({ "step": step, "loss": 1.0, "events": [event] }).to_string()
        };
        let other = r#"{"step":7,"events":[{"event":"relocalization","path":"x"}]}"#;
        let text = format!("{}\n{other}\n{}\n", line(3, [4, 4, 4]), line(9, [1, 0, 4]));
        std::fs::write(dir.path().join(MetricsLog::FILE_NAME), text).unwrap();
        let history = RankHistory::read(dir.path()).unwrap().unwrap();
        assert_eq!(history.totals, [(3, 12), (9, 5)]);
        assert_eq!(history.last[2], (path(1, "up_proj"), 4));

        let svg = std::fs::read_to_string(history.draw(dir.path()).unwrap()).unwrap();
        for text in ["up_proj", "down_proj", "final ranks by layer and module", "step"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn a_module_of_an_expert_is_placed_in_its_layer() {
        let place_of = |path| place(path).0;
        assert_eq!(place_of("model.layers.3.mlp.experts.5.up_proj.weight"), 3);
        assert_eq!(place_of("lm_head.weight"), 0);
    }

    #[test]
    fn a_run_without_cuts_has_no_picture() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MetricsLog::FILE_NAME), "{\"step\":1}\n").unwrap();
        assert_eq!(RankHistory::read(dir.path()).unwrap(), None);
    }
}
