//! The blocks a LoSiA run added to its weights.

mod file;

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::error::no_param;
use crate::subnet::SettledBlock;
use crate::{Catalogue, Error, ParamInfo, Params, Plan};
pub(super) use file::FILE;

/// The settled blocks of a LoSiA run, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct SettledBlocks(pub Vec<SettledBlock>);

impl SettledBlocks {
    /// `model` with all blocks added to its weights.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::NotFinite`] where what a block makes of its weight is not
    /// finite.
    pub fn apply<M: Module>(&self, model: M) -> Result<M, Error> {
        changed(model, self.0.iter(), SettledBlock::apply)
    }

    /// `model`, which has all blocks in its weights, as it was before, bit for bit: how a merged model
    /// is unmerged. Blocks have their original entries if the run kept a journal
    /// ([`LosiaConfig::journal`](crate::adapter::losia::LosiaConfig::journal)), and were not read from
    /// a file, which has no place for them.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::Irreversible`] for a block without its original entries.
    pub fn undo<M: Module>(&self, model: M) -> Result<M, Error> {
        changed(model, self.0.iter().rev(), SettledBlock::undo)
    }

    /// Checks that every block belongs to a weight of `catalogue` and lies within its shape.
    ///
    /// # Errors
    /// [`Error::NoMatch`] for a block of a weight the model lacks, [`Error::Subnet`] for one
    /// beyond the weight's shape.
    pub fn check(&self, catalogue: &Catalogue) -> Result<(), Error> {
        self.0.iter().try_for_each(|block| weight_of(block, catalogue).map(drop))
    }
}

/// `model` after `change` was made to the weight of each block, in their order.
fn changed<'a, M: Module>(
    model: M,
    blocks: impl Iterator<Item = &'a SettledBlock>,
    change: fn(&SettledBlock, Tensor<2>) -> Result<Tensor<2>, Error>,
) -> Result<M, Error> {
    let catalogue = Catalogue::of(&model)?;
    let (params, mut plan) = (Params::of(&model), Plan::default());
    let mut weights = HashMap::new();
    for block in blocks {
        let param = weight_of(block, &catalogue)?;
        let weight = match weights.remove(&param.id) {
            Some(weight) => weight,
            None => params.require(param.id, &param.path)?,
        };
        weights.insert(param.id, change(block, weight)?);
    }
    weights.into_iter().for_each(|(id, weight)| plan.set(id, weight));
    Ok(plan.apply(model)?.0)
}

/// The weight a block belongs to.
fn weight_of<'a>(block: &SettledBlock, catalogue: &'a Catalogue) -> Result<&'a ParamInfo, Error> {
    let mut matrices = catalogue.params().iter().filter(|param| param.shape.len() == 2);
    let gone = || no_param("losia_blocks", &block.path, catalogue.params());
    let param = matrices.find(|param| param.path == block.path).ok_or_else(gone)?;
    block.subnet.clone().checked([param.shape[0], param.shape[1]])?;
    Ok(param)
}

/// A block of a weight of three rows and two columns.
#[cfg(test)]
fn block(step: usize, delta: f32) -> SettledBlock {
    let subnet = crate::subnet::Subnet::new(vec![0, 2], vec![1], [3, 2]).unwrap();
    let delta = burn::tensor::TensorData::from([[delta], [2.0 * delta]]);
    SettledBlock { path: "weight".into(), step, subnet, delta, original: None }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;
    use crate::testing::{bits, device};

    fn layer(rows: usize) -> Linear {
        LinearConfig::new(rows, 2).with_bias(false).init(&device())
    }

    #[test]
    fn blocks_are_added_in_order() {
        let (blocks, layer) = (SettledBlocks(vec![block(3, 0.25), block(9, 1e-3)]), layer(3));
        let applied = blocks.apply(layer.clone()).unwrap().weight.val();
        let add = |weight: Tensor<2>, block: &SettledBlock| block.apply(weight).unwrap();
        let want = blocks.0.iter().fold(layer.weight.val(), add);
        assert_eq!(bits(&applied.into_data()), bits(&want.into_data()));
    }

    #[test]
    fn indices_out_of_range_and_unknown_weights_are_refused() {
        let blocks = SettledBlocks(vec![block(0, 1.0)]);
        assert!(matches!(blocks.apply(layer(2)).unwrap_err(), Error::Subnet { .. }));
        let lost = SettledBlock { path: "lost.weight".into(), ..block(0, 1.0) };
        let error = SettledBlocks(vec![lost]).apply(layer(3)).unwrap_err();
        assert!(matches!(error, Error::NoMatch { key: "losia_blocks", .. }), "{error}");
    }
}
