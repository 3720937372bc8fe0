//! Pictures of a run, as SVG.

mod cells;
mod chart;
mod curves;
mod ranks;
mod selections;

use std::error::Error as StdError;
use std::path::PathBuf;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::write_atomic;
use crate::Error;

pub use ranks::RankHistory;
pub use selections::SelectionHistory;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws a picture of `size` pixels and writes it to the file at `path`, whole or not at all.
///
/// # Errors
/// [`Error::Plot`], [`Error::Io`].
fn draw(
    path: PathBuf,
    size: (u32, u32),
    content: impl FnOnce(&Area) -> Result<(), Box<dyn StdError>>,
) -> Result<PathBuf, Error> {
    let mut svg = String::new();
    match try_draw(&mut svg, size, content) {
        Ok(()) => write_atomic(&path, svg.as_bytes()).map(|()| path),
        Err(error) => Err(Error::Plot { path, reason: error.to_string() }),
    }
}

fn try_draw(
    svg: &mut String,
    size: (u32, u32),
    content: impl FnOnce(&Area) -> Result<(), Box<dyn StdError>>,
) -> Result<(), Box<dyn StdError>> {
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    content(&root)?;
    Ok(root.present()?)
}
