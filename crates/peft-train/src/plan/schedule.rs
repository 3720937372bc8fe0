//! What a run's schedules come to, with its real number of steps.

use peft_core::schedule::UpdateType;

use super::method::MethodSettings;
use super::slots::SlotPlan;
use crate::config::{LrShape, TrainingConfig};

/// The steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Rows of an epoch: samples, or packs of them.
    pub samples: usize,
    /// Optimizer steps in an epoch.
    pub per_epoch: usize,
    /// Optimizer steps of the whole run.
    pub total: usize,
}

impl Steps {
    /// How many steps and why: `375: 12000 samples / (32 × 1), 1 epoch`.
    pub(super) fn describe(&self, config: &TrainingConfig) -> String {
        let Self { samples, total, per_epoch } = self;
        let (batch, windows) = (config.micro_batch_size, config.gradient_accumulation_steps);
        let rows = if config.sample_packing { "packed rows" } else { "samples" };
        let epochs = match (config.max_steps, config.num_epochs.get()) {
            (Some(_), _) => {
                format!("{:.1} epochs up to `max_steps`", *total as f64 / *per_epoch as f64)
            }
            (None, 1) => "1 epoch".to_string(),
            (None, many) => format!("{many} epochs"),
        };
        let devices = match config.device.names().len() {
            1 => String::new(),
            many => format!(" × {many} devices"),
        };
        format!("{total}: {samples} {rows} / ({batch} × {windows}{devices}), {epochs}")
    }
}

/// How the schedules of method and learning rate go, a line each.
pub(super) fn describe(
    method: &MethodSettings,
    slots: Option<SlotPlan>,
    weights: usize,
    steps: Steps,
    config: &TrainingConfig,
) -> Vec<String> {
    let own = match (method, slots) {
        (MethodSettings::Losia(losia), Some(slots)) => {
            losia_line(losia.period, losia.update_type, slots, steps.total)
        }
        (MethodSettings::AdaLora(config), _) => Some(format!(
            "ranks {} → {} on average ({} → {} in all): first cut after step {}, then every {}, \
             last cut at step {}",
            config.init_r,
            config.target_r,
            config.init_r * weights,
            config.target_r * weights,
            config.tinit,
            config.delta_t,
            config.last_cut(),
        )),
        _ => None,
    };
    own.into_iter().chain([rate_line(method, steps, config)]).collect()
}

/// How the learning rate goes.
fn rate_line(method: &MethodSettings, steps: Steps, config: &TrainingConfig) -> String {
    let warmup = (steps.total as f64 * config.warmup_ratio) as usize;
    let peak = config.learning_rate.unwrap_or_default();
    let end = rounded(peak * config.min_lr_ratio);
    let warm = format!("rate {peak:e} after {warmup} steps of warm-up");
    let shape = config.lr_scheduler.unwrap_or(LrShape::Cosine);
    match (method, shape) {
        (MethodSettings::Losia(losia), LrShape::Cosine) => format!(
            "rate {peak:e} after {} steps of warm-up, down to {end:e} in a cycle, and again \
             whenever a subnet moves; `warmup_ratio` plays no part",
            losia.period
        ),
        (MethodSettings::Losia(losia), LrShape::CosineRestarts) => {
            // A subnet's first period is one of warm-up, too, whatever the run's warm-up.
            let (first, again) = (warmup.max(losia.period), losia.period);
            format!(
                "rate {peak:e} after {first} steps of warm-up, down to {end:e}; {again} steps of \
                 warm-up whenever a subnet moves"
            )
        }
        (_, LrShape::Linear) => format!("{warm}, down to {end:e} in a line"),
        (_, LrShape::Constant) => warm,
        _ => format!("{warm}, down to {end:e}"),
    }
}

/// Three digits are enough, and spare the last one of binary fractions.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.2e}").parse().unwrap_or(rate)
}

fn losia_line(
    period: usize,
    update_type: UpdateType,
    slots: SlotPlan,
    total: usize,
) -> Option<String> {
    let cycle = period.saturating_mul(slots.count);
    let cycles = total as f64 / cycle as f64;
    match update_type {
        UpdateType::Fixed => Some("subnets stay where they are".into()),
        UpdateType::Asynchronous | UpdateType::Synchronous => Some(format!(
            "{} slots of {period} steps: {cycle} steps a cycle, {cycles:.1} cycles",
            slots.count
        )),
    }
}

/// What a person may not have meant.
pub(super) fn notes(method: &MethodSettings, slots: Option<SlotPlan>, steps: Steps) -> Vec<String> {
    let (MethodSettings::Losia(losia), Some(slots)) = (method, slots) else { return Vec::new() };
    if losia.update_type != UpdateType::Asynchronous {
        return Vec::new();
    }
    let reached = steps.total / losia.period;
    let longest = steps.total / slots.count;
    match reached < slots.count {
        false => Vec::new(),
        true => vec![format!(
            "only {reached} of {} slots end within {} steps: the other subnets never move; {}",
            slots.count,
            steps.total,
            match longest {
                0 => "train for more steps".to_string(),
                longest => format!("`period` = {longest} would reach all"),
            }
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TypedConfig;
    use peft_core::adapter::adalora::AdaLoraConfig;
    use peft_core::adapter::lora::LoraConfig;
    use peft_core::adapter::losia::LosiaConfig;

    const STEPS: Steps = Steps { samples: 3200, per_epoch: 100, total: 100 };
    const SLOTS: Option<SlotPlan> = Some(SlotPlan { count: 5, localized: 1, inputs: 1 });

    fn config(settings: &[&str]) -> TrainingConfig {
        let toml = "base_model = \"m\"\nmethod = \"full\"\ndatasets = [{path = \"d\"}]\n\
                    output_dir = \"o\"\nlearning_rate = 2e-4\nmicro_batch_size = 32\n";
        let settings: Vec<_> = settings.iter().map(|setting| setting.to_string()).collect();
        TypedConfig::parse(toml, "run.toml", &settings).unwrap().config
    }

    fn losia(period: usize) -> MethodSettings {
        MethodSettings::Losia(LosiaConfig::new(100).with_period(period))
    }

    #[test]
    fn steps_are_told_with_their_arithmetic() {
        let text = |settings: &[&str]| STEPS.describe(&config(settings));
        assert_eq!(text(&[]), "100: 3200 samples / (32 × 1), 1 epoch");
        assert_eq!(
            text(&["device=[\"cuda:0\", \"cuda:1\"]", "gradient_accumulation_steps=4"]),
            "100: 3200 samples / (32 × 4 × 2 devices), 1 epoch"
        );
        assert_eq!(
            text(&["sample_packing=true", "num_epochs=3", "max_steps=100"]),
            "100: 3200 packed rows / (32 × 1), 1.0 epochs up to `max_steps`"
        );
    }

    #[test]
    fn schedules_are_told_with_their_arithmetic() {
        let text =
            |method: &MethodSettings| describe(method, SLOTS, 7, STEPS, &config(&[])).join("\n");
        let rate = "rate 2e-4 after 10 steps of warm-up, down to 2e-5";
        assert_eq!(
            text(&losia(10)),
            "5 slots of 10 steps: 50 steps a cycle, 2.0 cycles\n\
             rate 2e-4 after 10 steps of warm-up, down to 2e-5 in a cycle, and again whenever a \
             subnet moves; `warmup_ratio` plays no part"
        );
        let adalora = AdaLoraConfig::new(100).with_tinit(5).with_tfinal(20).with_delta_t(3);
        assert_eq!(
            text(&MethodSettings::AdaLora(adalora)),
            format!(
                "ranks 12 → 8 on average (84 → 56 in all): first cut after step 5, then every 3, \
                 last cut at step 80\n{rate}"
            )
        );
    }

    #[test]
    fn rates_are_told_by_their_shape() {
        let lora = || MethodSettings::Lora(LoraConfig::new(100));
        let again = ", down to 2e-5; 7 steps of warm-up whenever a subnet moves";
        for (shape, method, end) in [
            (LrShape::CosineRestarts, losia(7), again),
            (LrShape::NoRewarming, losia(7), ", down to 2e-5"),
            (LrShape::Linear, lora(), ", down to 2e-5 in a line"),
            (LrShape::Constant, lora(), ""),
        ] {
            let config = TrainingConfig { lr_scheduler: Some(shape), ..config(&[]) };
            let want = format!("rate 2e-4 after 10 steps of warm-up{end}");
            assert_eq!(rate_line(&method, STEPS, &config), want);
        }
    }

    #[test]
    fn a_subnet_s_first_period_is_one_of_warm_up() {
        let lr_scheduler = Some(LrShape::CosineRestarts);
        let config = TrainingConfig { lr_scheduler, warmup_ratio: 0.0, ..config(&[]) };
        let want = "rate 2e-4 after 20 steps of warm-up, down to 2e-5; 20 steps of warm-up \
                    whenever a subnet moves";
        assert_eq!(rate_line(&losia(20), STEPS, &config), want);
    }

    #[test]
    fn a_cycle_longer_than_the_run_is_noted() {
        assert!(notes(&losia(20), SLOTS, STEPS).is_empty());
        assert_eq!(
            notes(&losia(30), SLOTS, STEPS),
            ["only 3 of 5 slots end within 100 steps: the other subnets never move; \
              `period` = 20 would reach all"]
        );
    }
}
