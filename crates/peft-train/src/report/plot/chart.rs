//! Lines over the steps of a run.

use std::error::Error as StdError;
use std::ops::Range;

use plotters::prelude::*;

use super::Area;

/// Up to so many points of a line are marked: a single one would not be seen.
const FEW: usize = 30;

/// A line of a chart.
pub(super) struct Series {
    pub name: &'static str,
    pub color: RGBColor,
    /// Step and value.
    pub points: Vec<(f64, f64)>,
}

/// Draws `series` over the steps, with the values written by `format`.
pub(super) fn line_chart(
    area: &Area,
    title: &str,
    series: &[Series],
    format: &dyn Fn(&f64) -> String,
) -> Result<(), Box<dyn StdError>> {
    let values = || series.iter().flat_map(|series| &series.points);
    let last = values().map(|(step, _)| *step).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(title, ("sans-serif", 16))
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last + 1.0, range(values().map(|(_, value)| *value)))?;
    chart
        .configure_mesh()
        .x_desc("step")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(format)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for Series { name, color, points } in series {
        let style = color.stroke_width(2);
        if points.len() <= FEW {
            let mark = |point: &(f64, f64)| Circle::new(*point, 3, color.filled());
            chart.draw_series(points.iter().map(mark))?;
        }
        let line = chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        if series.len() > 1 {
            line.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
    }
    if series.len() > 1 {
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    }
    Ok(())
}

/// The values' range and a little more.
fn range(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let low = finite.clone().fold(f64::INFINITY, f64::min);
    let high = finite.fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return 0.0..1.0; // no value
    }
    let margin = match high > low {
        true => 0.05 * (high - low),
        false => high.abs().max(1e-12),
    };
    low - margin..high + margin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_never_empty() {
        for (values, expected) in [
            (vec![1.0, 3.0, f64::NAN], 0.9..3.1),
            (vec![2.0, 2.0], 0.0..4.0),
            (vec![0.0], -1e-12..1e-12),
            (vec![f64::INFINITY], 0.0..1.0),
        ] {
            let found = range(values.into_iter());
            assert!((found.start - expected.start).abs() < 1e-9, "{found:?}");
            assert!((found.end - expected.end).abs() < 1e-9 && found.end > found.start);
        }
    }
}
