//! Kind `losia_unit`: importance, localisation and the subnet linear by themselves.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use peft_core::adapter::Adapter;
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::subnet::{Localized, Strategy, Subnet, candidates, localize, subnet_size};
use peft_core::{Importance, Sensitivity, Tuner, TunerConfig, hook};
use serde::Deserialize;

use super::tensors::{Tensors, transposed};
use super::{Case, CaseError, Comparison};

#[derive(Deserialize)]
struct Config {
    imp_beta1: f64,
    imp_beta2: f64,
    n_steps: usize,
}

#[derive(Deserialize)]
struct Units {
    units: BTreeMap<String, Unit>,
    subnet_sizes: Vec<(f64, usize, usize)>,
}

#[derive(Deserialize)]
struct Unit {
    taylor_type: Sensitivity,
    out: usize,
    r#in: usize,
    n_rows: usize,
    n_cols: usize,
    gap: f64,
    score_sum: f64,
    /// Recorded beside what the format promises.
    score_total: Option<f64>,
}

pub fn run(case: &Case, device: &Device) -> Result<Comparison, CaseError> {
    let mut comparison = Comparison::default();
    let units: Units = case.json("unit")?;
    let tensors = case.tensors("tensors")?;
    for (name, unit) in &units.units {
        importance(case, name, unit, &tensors, device, &mut comparison)?;
    }
    for (factor, dimension, count) in units.subnet_sizes {
        let what = format!("size of {factor} · {dimension}");
        comparison.equal(&what, subnet_size(factor, dimension), count);
    }
    if tensors.find("sel.w").is_some() {
        subnet_linear(case, &tensors, device, &mut comparison)?;
    }
    comparison.all_seen(&tensors);
    Ok(comparison)
}

fn importance(
    case: &Case,
    name: &str,
    unit: &Unit,
    tensors: &Tensors,
    device: &Device,
    comparison: &mut Comparison,
) -> Result<(), CaseError> {
    let config: Config = case.settings()?;
    let (b1, b2) = (config.imp_beta1, config.imp_beta2);
    let matrix = |name: String| Ok::<_, CaseError>(transposed(tensors.get(&name)?, device));
    let size = format!("{}x{}", unit.out, unit.r#in);
    let mut importance: Option<Importance> = None;
    for step in 0..config.n_steps {
        let weight = matrix(format!("{size}.p{step}"))?;
        let sample = unit.taylor_type.of(weight, matrix(format!("{size}.g{step}"))?);
        let next = match importance.take() {
            Some(importance) => importance.update(sample, b1, b2),
            None => Importance::first(sample, b1, b2),
        };
        for (field, got) in [("I", &next.i), ("U", &next.u)] {
            let (field, got) = (format!("{name}.{field}{step}"), got.clone().transpose());
            comparison.recorded(case, "importance_rel", &field, &got.into_data(), tensors)?;
        }
        importance = Some(next);
    }
    let score = importance.ok_or("no recorded step")?.score();
    let (field, got) = (format!("{name}.score"), score.clone().transpose().into_data());
    comparison.recorded(case, "score_rel", &field, &got, tensors)?;
    selection(case, name, unit, tensors, &score, comparison)
}

fn selection(
    case: &Case,
    name: &str,
    unit: &Unit,
    tensors: &Tensors,
    score: &Tensor<2>,
    comparison: &mut Comparison,
) -> Result<(), CaseError> {
    let size = [unit.n_cols, unit.n_rows];
    let found = localize(score, size).ok_or("a score is not a number")?;
    let tried = candidates(score, size);
    let tried = tried.iter().map(|tried| (format!("{name}.{}", name_of(tried.strategy)), tried));
    for (name, Localized { subnet, .. }) in tried.chain([(name.into(), &found)]) {
        // The reference's rows are output neurons, columns of Burn's weight.
        for (end, got) in [("cols", subnet.rows()), ("rows", subnet.cols())] {
            let what = format!("{name}.{end}");
            let is_recorded = tensors.find(&what).is_some();
            if is_recorded && unit.gap > case.tolerance("min_gap")? {
                comparison.equal(&what, got, &tensors.indices(&what)?);
            }
        }
    }
    let total = unit.score_total.map(|want| (found.score_total, want));
    for (got, want) in [(found.score_sum, unit.score_sum)].into_iter().chain(total) {
        comparison.error(case, "score_sum_rel", name, (got - want).abs() / want.abs())?;
    }
    Ok(())
}

/// What the reference calls a strategy.
fn name_of(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Independent => "PureGreedy",
        Strategy::ColumnsFirst => "Row2Column",
        Strategy::RowsFirst => "Column2Row",
    }
}

/// The recorded subnet-only linear: full input gradient, weight gradient of the block alone.
fn subnet_linear(
    case: &Case,
    tensors: &Tensors,
    device: &Device,
    comparison: &mut Comparison,
) -> Result<(), CaseError> {
    let device = device.clone().autodiff();
    let weight = transposed(tensors.get("sel.w")?, &device);
    let shape = weight.dims();
    let subnet = Subnet::new(tensors.indices("sel.cols")?, tensors.indices("sel.rows")?, shape)?;
    let layer = LinearConfig::new(shape[0], shape[1]).with_bias(false).init(&device);
    let layer = Linear { weight: Param::from_tensor(weight), ..layer };

    // A weight that does not localise at step 0, with the recorded subnet.
    let config = LosiaConfig::new(1)
        .with_rank_factor(1.0)
        .with_update_type(peft_core::schedule::UpdateType::Fixed);
    let (_, layer) = attach_block(config, &subnet, layer)?;

    let x = tensors.float::<3>("sel.x", &device)?.require_grad();
    let y = hook::linear(&layer, x.clone());
    comparison.recorded(case, "sel", "sel.y", &y.clone().into_data(), tensors)?;
    let gy = tensors.float::<3>("sel.gy", &device)?;
    let mut grads = (y * gy).sum().backward();
    let gx = x.grad_remove(&mut grads).ok_or("no input gradient")?;
    comparison.recorded(case, "sel", "sel.gx", &gx.into_data(), tensors)?;
    let grads = GradientsParams::from_grads(grads, &layer);
    let Some(Adapter::Subnet(block)) = layer.weight.reparameterization() else {
        return Err("no adapter attached".into());
    };
    let block_grad = grads.get::<2>(block.delta.id).ok_or("no block gradient")?;
    let [rows, cols] = subnet.to_tensors(&block_grad.device());
    let dense = Tensor::<2>::zeros(shape, &block_grad.device());
    let gw = peft_core::subnet::settle(dense, rows, cols, block_grad).transpose().into_data();
    comparison.recorded(case, "sel", "sel.gw", &gw, tensors)
}

fn attach_block(
    config: LosiaConfig,
    subnet: &Subnet,
    layer: Linear,
) -> Result<(Tuner<Losia>, Linear), CaseError> {
    let losia = Losia::new(config)?.with_first_subnets(vec![("weight".into(), subnet.clone())]);
    Ok(Tuner::attach(losia, TunerConfig::default(), layer)?)
}
