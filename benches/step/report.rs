//! Tables, and targets with what was measured.

use burn::tensor::Device;

use crate::harness::{Kind, Pair, Series};
use crate::methods::RANK_FACTOR;
use crate::size::Size;

/// Steps in a slot of a real run: LoSiA's default. The measured slots are shorter, so that the
/// cost of moving a subnet is measured often enough, and then spread over this many steps.
const PERIOD: f64 = 100.0;
const MOST_OUTSIDE: f64 = 1.10;

/// What was measured on a model.
pub struct Measured {
    /// What the model is.
    pub title: String,
    /// Slots in a cycle, `N`.
    pub slots: usize,
    pub series: Vec<Series>,
}

/// Prints what all measurements share.
pub fn heading(device: &Device, size: Size) {
    let threads = std::thread::available_parallelism().map_or(0, |threads| threads.get());
    println!("{device:?}, {:?}, {threads} threads, p = {RANK_FACTOR}", size.dtype());
}

/// Prints a table and the verdicts.
pub fn print(measured: &Measured) {
    println!("\n{}", measured.title);
    println!(
        "{:<28} {:>9} {:>9} {:>8} {:>8} {:>6} {:>16}",
        "", "median ms", "min ms", "x floor", "of mins", "pairs", "activations MiB"
    );
    for series in &measured.series {
        print_row(&series.kind.to_string(), series.activations, &series.pairs(false));
    }
    print_row("LoSiA-Pro, subnets move", None, &measured.of(Kind::ProCycle).pairs(true));
    print_targets(measured);
}

fn print_row(name: &str, activations: Option<usize>, pairs: &[Pair]) {
    let seconds = pairs.iter().map(|pair| pair.seconds);
    let ms = 1e3 * median(seconds.clone());
    let min_ms = 1e3 * min(seconds);
    let mebibytes = |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let activations = activations.map(mebibytes).unwrap_or_default();
    let (ratio, of_mins) = (ratio(pairs), ratio_of_mins(pairs));
    let count = pairs.len();
    println!(
        "{name:<28} {ms:>9.1} {min_ms:>9.1} {ratio:>8.3} {of_mins:>8.3} {count:>6} {activations:>16}"
    );
}

fn print_targets(measured: &Measured) {
    let outside = measured.of(Kind::ProOutside).pairs(false);
    verdict("no layer localised", ratio(&outside), ratio_of_mins(&outside), MOST_OUTSIDE);

    let cycle = measured.of(Kind::ProCycle);
    let importance = measured.of(Kind::Importance).pairs(false);
    let (inside, moving) = (cycle.pairs(false), cycle.pairs(true));
    let slots = measured.slots as f64;
    let most = 1.0 + 0.5 / slots + 1.5 * RANK_FACTOR * RANK_FACTOR + ratio(&importance);
    let mean = |of: fn(&[Pair]) -> f64| of(&inside) + (of(&moving) - of(&inside)) / PERIOD;
    let name = format!("mean over a cycle of {slots} slots of {PERIOD} steps");
    verdict(&name, mean(ratio), mean(ratio_of_mins), most);
}

fn verdict(name: &str, ratio: f64, of_mins: f64, most: f64) {
    let verdict = if ratio <= most { "met" } else { "NOT MET" };
    println!(
        "target {verdict}: {name}: {ratio:.3} x floor (of mins {of_mins:.3}), at most {most:.3}"
    );
}

impl Measured {
    fn of(&self, kind: Kind) -> &Series {
        let found = self.series.iter().find(|series| series.kind == kind);
        found.expect("every kind is measured")
    }
}

impl Series {
    fn pairs(&self, moved: bool) -> Vec<Pair> {
        self.pairs.iter().copied().filter(|pair| pair.moved == moved).collect()
    }
}

fn ratio(pairs: &[Pair]) -> f64 {
    median(pairs.iter().map(|pair| pair.seconds / pair.floor_seconds))
}

fn ratio_of_mins(pairs: &[Pair]) -> f64 {
    min(pairs.iter().map(|pair| pair.seconds)) / min(pairs.iter().map(|pair| pair.floor_seconds))
}

fn min(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 if middle > 0 => 0.5 * (values[middle - 1] + values[middle]),
        0 => f64::NAN,
        _ => values[middle],
    }
}
