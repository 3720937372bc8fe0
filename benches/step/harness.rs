//! Interleaved measurement.

use std::fmt;
use std::time::Instant;

use burn_peft::core::Error;

/// Pairs measured of every contestant: a multiple of the slots of either model.
pub const PAIRS: usize = 32;
const WARM_UP: usize = 2;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Floor,
    Full,
    Lora,
    Dora,
    AdaLora,
    /// Burn's own `apply_lora`, composing dense weights.
    BurnLora,
    Losia,
    /// LoSiA-Pro with no layer being localised.
    ProOutside,
    /// LoSiA-Pro, localising one layer after another.
    ProCycle,
    /// The importance update of a layer, alone.
    Importance,
}

/// Something that takes steps.
pub struct Contestant {
    pub kind: Kind,
    pub step: Box<dyn FnMut() -> Result<Step, Error>>,
}

/// What a step did.
#[derive(Default)]
pub struct Step {
    /// Bytes its forward pass left alive for its backward pass.
    pub activations: usize,
    /// Whether subnets moved at its end.
    pub moved: bool,
}

/// A step and the step of the floor before it.
#[derive(Clone, Copy)]
pub struct Pair {
    pub floor_seconds: f64,
    pub seconds: f64,
    pub moved: bool,
}

/// Measurements of a contestant.
pub struct Series {
    pub kind: Kind,
    pub pairs: Vec<Pair>,
    /// Largest of any step, in bytes.
    pub activations: usize,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor (forward + dx)",
            Self::Full => "full",
            Self::Lora => "LoRA, r = 16",
            Self::Dora => "DoRA, r = 16",
            Self::AdaLora => "AdaLoRA, r = 16",
            Self::BurnLora => "Burn's apply_lora, r = 16",
            Self::Losia => "LoSiA",
            Self::ProOutside => "LoSiA-Pro, no slot",
            Self::ProCycle => "LoSiA-Pro, in a slot",
            Self::Importance => "importance update",
        })
    }
}

/// Takes every contestant through [`PAIRS`] steps, all of them in turn, each after a step of the
/// floor. The last series is the floor's own.
pub fn measure(
    mut floor: Contestant,
    mut contestants: Vec<Contestant>,
) -> Result<Vec<Series>, Error> {
    for _ in 0..WARM_UP {
        timed(&mut floor)?;
        for contestant in &mut contestants {
            timed(contestant)?;
        }
    }
    let mut series: Vec<_> = contestants.iter().map(|c| Series::new(c.kind)).collect();
    let mut floor_series = Series::new(floor.kind);
    for _ in 0..PAIRS {
        for (contestant, series) in contestants.iter_mut().zip(&mut series) {
            let (floor_seconds, floor_step) = timed(&mut floor)?;
            let (seconds, step) = timed(contestant)?;
            floor_series.push(floor_seconds, floor_seconds, &floor_step);
            series.push(floor_seconds, seconds, &step);
        }
    }
    series.push(floor_series);
    Ok(series)
}

fn timed(contestant: &mut Contestant) -> Result<(f64, Step), Error> {
    let start = Instant::now();
    let step = (contestant.step)()?;
    Ok((start.elapsed().as_secs_f64(), step))
}

impl Series {
    fn new(kind: Kind) -> Self {
        Self { kind, pairs: Vec::new(), activations: 0 }
    }

    fn push(&mut self, floor_seconds: f64, seconds: f64, step: &Step) {
        self.pairs.push(Pair { floor_seconds, seconds, moved: step.moved });
        self.activations = self.activations.max(step.activations);
    }
}
