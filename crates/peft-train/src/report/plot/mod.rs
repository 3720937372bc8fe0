//! Pictures of a run, as SVG.

mod cells;
mod chart;
mod curves;
mod ranks;
mod selections;

use std::error::Error as StdError;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Error;

pub use ranks::RankHistory;
pub use selections::SelectionHistory;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws a picture of `size` pixels into the file at `path`.
///
/// # Errors
/// [`Error::Plot`].
fn draw(
    path: PathBuf,
    size: (u32, u32),
    content: impl FnOnce(&Area) -> Result<(), Box<dyn StdError>>,
) -> Result<PathBuf, Error> {
    match try_draw(&path, size, content) {
        Ok(()) => Ok(path),
        Err(error) => Err(Error::Plot { path, reason: error.to_string() }),
    }
}

fn try_draw(
    path: &Path,
    size: (u32, u32),
    content: impl FnOnce(&Area) -> Result<(), Box<dyn StdError>>,
) -> Result<(), Box<dyn StdError>> {
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    content(&root)?;
    Ok(root.present()?)
}
