//! A number for each weight, by layer and kind of module, and how they went over the run.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::path::PathBuf;

use peft_core::target::layer_number;
use plotters::prelude::*;

use super::chart::{Series, line_chart};
use super::{Area, draw};
use crate::Error;

/// Pixels of a cell of the heat map.
const CELL: (u32, u32) = (44, 30);
/// Room for the names of modules, of layers, and for the chart over time.
const NAMES: u32 = 120;
const TITLE: u32 = 60;
const CHART: u32 = 260;

/// Numbers by layer and kind of module.
pub(super) struct Cells {
    layers: Vec<usize>,
    modules: Vec<String>,
    /// Layer, module, number.
    values: Vec<(usize, usize, f64)>,
}

impl Cells {
    /// Those of weights, by path.
    pub fn of<'a>(values: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        let placed: Vec<_> = values.into_iter().map(|(path, value)| (place(path), value)).collect();
        let layers: BTreeSet<usize> = placed.iter().map(|((layer, _), _)| *layer).collect();
        let mut cells =
            Self { layers: layers.into_iter().collect(), modules: vec![], values: vec![] };
        for ((layer, module), value) in placed {
            let column = position(&mut cells.layers, layer);
            let row = position(&mut cells.modules, module);
            cells.values.push((column, row, value));
        }
        cells
    }

    /// Draws a heat map of the numbers, and `series` below it, into the file at `path`: with a title for
    /// each of the two, and their values written by `format`.
    ///
    /// # Errors
    /// [`Error::Plot`], [`Error::Io`].
    pub fn draw_above(
        &self,
        series: Series,
        path: PathBuf,
        [of_map, of_chart]: [&str; 2],
        format: &dyn Fn(&f64) -> String,
    ) -> Result<PathBuf, Error> {
        let width = NAMES + CELL.0 * self.layers.len().max(8) as u32 + 20;
        let map = TITLE + CELL.1 * self.modules.len() as u32;
        draw(path, (width, map + CHART), |root| {
            let (heat_map, chart) = root.split_vertically(map);
            self.draw(&heat_map, of_map, format)?;
            line_chart(&chart, of_chart, &[series], format)
        })
    }

    fn draw(
        &self,
        area: &Area,
        title: &str,
        format: &dyn Fn(&f64) -> String,
    ) -> Result<(), Box<dyn StdError>> {
        let font = |size: u32| ("sans-serif", size).into_font();
        let most = self.values.iter().map(|(.., value)| *value).fold(0.0, f64::max);
        area.draw(&Text::new(title, (10, 8), font(16)))?;
        for (column, layer) in self.layers.iter().enumerate() {
            let (x, _) = corner(column, 0);
            area.draw(&Text::new(layer.to_string(), (x + 10, TITLE as i32 - 20), font(13)))?;
        }
        for (row, module) in self.modules.iter().enumerate() {
            let (_, y) = corner(0, row);
            area.draw(&Text::new(module.clone(), (10, y + 8), font(13)))?;
        }
        for (column, row, value) in &self.values {
            let (x, y) = corner(*column, *row);
            let share = if most > 0.0 { value / most } else { 0.0 };
            let end = (x + CELL.0 as i32 - 2, y + CELL.1 as i32 - 2);
            area.draw(&Rectangle::new([(x, y), end], BLUE.mix(0.08 + 0.8 * share).filled()))?;
            let ink = if share > 0.6 { &WHITE } else { &BLACK };
            area.draw(&Text::new(format(value), (x + 10, y + 8), font(13).color(ink)))?;
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

    #[test]
    fn a_module_of_an_expert_is_placed_in_its_layer() {
        let place_of = |path| place(path).0;
        assert_eq!(place_of("model.layers.3.mlp.experts.5.up_proj.weight"), 3);
        assert_eq!(place_of("lm_head.weight"), 0);
    }
}
