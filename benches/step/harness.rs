//! Interleaved measurement.

use std::error::Error;
use std::fmt;
use std::time::Instant;

use burn::tensor::Device;

use crate::contestants::{Floor, ImportanceUpdate};
use crate::workload::Workload;
use crate::{burn_lora, methods};

/// Why a bench ends early.
pub type Failure = Box<dyn Error>;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Floor,
    Full,
    Lora,
    Dora,
    Pissa,
    AdaLora,
    /// Burn's own `apply_lora`, composing dense weights.
    BurnLora,
    /// The same adapters, computed on activations.
    BurnLoraHook,
    Losia,
    /// LoSiA-Pro with no layer being localised.
    ProOutside,
    /// LoSiA-Pro, localising one layer after another.
    ProCycle,
    /// The importance update of a layer, alone.
    Importance,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor (forward + dx)",
            Self::Full => "full",
            Self::Lora => "LoRA, r = 16",
            Self::Dora => "DoRA, r = 16",
            Self::Pissa => "PiSSA, r = 16",
            Self::AdaLora => "AdaLoRA, r = 16",
            Self::BurnLora => "Burn's apply_lora, r = 16",
            Self::BurnLoraHook => "the same through the hook",
            Self::Losia => "LoSiA",
            Self::ProOutside => "LoSiA-Pro, no slot",
            Self::ProCycle => "LoSiA-Pro, in a slot",
            Self::Importance => "importance update",
        })
    }
}

/// Something that takes steps.
pub trait Contestant {
    fn kind(&self) -> Kind;

    /// Takes a step and says whether subnets moved at its end. The work may still be under way.
    fn step(&mut self, device: &Device) -> Result<bool, Failure>;

    /// Bytes a forward pass leaves alive for its backward pass, if there is one.
    fn activations(&self, device: &Device) -> Option<usize>;
}

/// Where and how much is measured.
pub struct Plan {
    pub device: Device,
    /// Pairs measured of every contestant.
    pub pairs: usize,
    /// Layers of the model, each a slot of LoSiA.
    pub slots: usize,
}

impl Plan {
    /// Steps in a slot: each has its turn among the pairs.
    pub fn period(&self) -> usize {
        self.pairs / self.slots
    }

    /// Steps before the first pair: past the first move of a subnet, so that every kernel has been
    /// compiled and tuned.
    fn warm_up(&self) -> usize {
        self.period() + 1
    }

    /// Steps each contestant takes.
    pub fn steps(&self) -> usize {
        self.warm_up() + self.pairs
    }
}

/// A step and the step of the floor before it.
#[derive(Clone, Copy)]
pub struct Pair {
    pub floor_seconds: f64,
    pub seconds: f64,
    /// Whether subnets moved.
    pub moved: bool,
}

/// Measurements of a contestant.
pub struct Series {
    pub kind: Kind,
    pub pairs: Vec<Pair>,
    /// In bytes.
    pub activations: Option<usize>,
}

/// Takes everything that is measured on a model through its steps, all contestants in turn, each
/// after a step of the floor. The last series is the floor's own.
pub fn measure<M: Workload>(
    make: impl Fn() -> M,
    batch: M::Batch,
    plan: &Plan,
) -> Result<Vec<Series>, Failure> {
    let frozen = make().no_grad().reached();
    let mut contestants = methods::all(&make, &batch, plan)?;
    contestants.extend(burn_lora::both(&make, &batch));
    contestants.push(Box::new(ImportanceUpdate::new(&frozen.first_slot())));
    let mut floor = Floor { model: frozen, batch };

    for _ in 0..plan.warm_up() {
        floor.step(&plan.device)?;
        for contestant in &mut contestants {
            contestant.step(&plan.device)?;
        }
    }
    let mut series: Vec<_> = contestants.iter().map(|c| Series::new(&**c, plan)).collect();
    let mut floor_series = Series::new(&floor, plan);
    for _ in 0..plan.pairs {
        for (contestant, series) in contestants.iter_mut().zip(&mut series) {
            let (floor_seconds, _) = timed(&mut floor, &plan.device)?;
            let (seconds, moved) = timed(&mut **contestant, &plan.device)?;
            floor_series.pairs.push(Pair { floor_seconds, seconds: floor_seconds, moved: false });
            series.pairs.push(Pair { floor_seconds, seconds, moved });
        }
    }
    series.push(floor_series);
    Ok(series)
}

/// Seconds until the device has done the work of a step, and whether subnets moved.
fn timed(contestant: &mut dyn Contestant, device: &Device) -> Result<(f64, bool), Failure> {
    device.sync()?;
    let start = Instant::now();
    let moved = contestant.step(device)?;
    device.sync()?;
    Ok((start.elapsed().as_secs_f64(), moved))
}

impl Series {
    fn new(contestant: &dyn Contestant, plan: &Plan) -> Self {
        let activations = contestant.activations(&plan.device);
        Self { kind: contestant.kind(), pairs: Vec::new(), activations }
    }
}
