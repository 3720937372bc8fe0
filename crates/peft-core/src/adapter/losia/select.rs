//! Which weights get a subnet, in which slot, of which size, and the subnets they start with.

use super::Losia;
use crate::error::no_param;
use crate::rng::path_rng;
use crate::subnet::{Subnet, subnet_size};
use crate::{Catalogue, Error, ParamInfo};

impl Losia {
    /// Targets and their slots: the head first, if it has a subnet, then layer by layer.
    pub(super) fn select<'a>(
        &self,
        catalogue: &'a Catalogue,
    ) -> Result<Vec<(&'a ParamInfo, usize)>, Error> {
        let head = self.output_head(catalogue)?;
        let head_path = head.map(|head| head.path.as_str());
        let layers = self.config.targeting().select(catalogue, head_path)?;
        let localized_head = head.filter(|_| self.config.output_dim_factor > 0.0);
        let mut selected: Vec<_> = localized_head.map(|head| (head, 0)).into_iter().collect();
        let first_slot = selected.len();
        let mut keys = Vec::new();
        for param in layers {
            let key = layer_key(param.module_path());
            let slot = keys.iter().position(|&k| k == key).unwrap_or(keys.len());
            if slot == keys.len() {
                keys.push(key);
            }
            selected.push((param, first_slot + slot));
        }
        Ok(selected)
    }

    fn output_head<'a>(&self, catalogue: &'a Catalogue) -> Result<Option<&'a ParamInfo>, Error> {
        let Some(path) = &self.config.output_head else { return Ok(None) };
        let matrices = || catalogue.params().iter().filter(|param| param.shape.len() == 2);
        match matrices().find(|param| param.path == *path) {
            Some(head) => Ok(Some(head)),
            None => Err(no_param("output_head", path, matrices())),
        }
    }

    /// Refuses first subnets for weights that have none.
    pub(super) fn check_first_subnets(
        &self,
        selected: &[(&ParamInfo, usize)],
    ) -> Result<(), Error> {
        let known = |path: &str| selected.iter().any(|(param, _)| param.path == path);
        match self.first_subnets.iter().find(|(path, _)| !known(path)) {
            Some((path, _)) => {
                Err(no_param("first_subnets", path, selected.iter().map(|(param, _)| *param)))
            }
            None => Ok(()),
        }
    }

    pub(super) fn first_subnet(
        &self,
        param: &ParamInfo,
        shape: [usize; 2],
    ) -> Result<Subnet, Error> {
        match self.first_subnets.iter().find(|(path, _)| *path == param.path) {
            Some((path, subnet)) => subnet.clone().checked(shape).map_err(|e| Error::Setting {
                key: "first_subnets",
                found: format!("{e} (`{path}`)"),
                expected: "rows and columns of the weight",
            }),
            None => {
                let mut rng = path_rng(self.config.seed, &param.path);
                Ok(Subnet::random(shape, self.size(param, shape), &mut rng))
            }
        }
    }

    /// Of the output head, a share of the vocabulary and all of the other dimension.
    fn size(&self, param: &ParamInfo, shape: [usize; 2]) -> [usize; 2] {
        let is_head = self.config.output_head.as_ref() == Some(&param.path);
        let (p, vocab) = (self.config.rank_factor, self.config.output_dim_factor);
        match (is_head, param.is_linear_weight()) {
            (false, _) => shape.map(|dim| subnet_size(p, dim)),
            (true, true) => [shape[0], subnet_size(vocab, shape[1])],
            (true, false) => [subnet_size(vocab, shape[0]), shape[1]], // a tied embedding
        }
    }
}

/// What groups weights into a layer: the path up to its first number, or the whole path if it has
/// none.
fn layer_key(path: &str) -> &str {
    let mut end = 0;
    for segment in path.split('.') {
        end += segment.len();
        if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
            return &path[..end];
        }
        end += 1;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_named_by_the_path_up_to_its_first_number() {
        for (path, key) in [
            ("model.layers.0.self_attn.q_proj", "model.layers.0"),
            ("model.layers.0.mlp.up_proj", "model.layers.0"),
            ("model.layers.10.mlp.up_proj", "model.layers.10"),
            ("encoder.3.blocks.1.linear", "encoder.3"),
            ("12", "12"),
            ("conv2d.linear1", "conv2d.linear1"),
            ("head", "head"),
            ("", ""),
        ] {
            assert_eq!(layer_key(path), key, "{path:?}");
        }
    }

    #[test]
    fn first_subnets_depend_on_seed_and_path_alone() {
        let draw = |seed, path| Subnet::random([40, 30], [8, 6], &mut path_rng(seed, path));
        assert_eq!(draw(1, "a.weight"), draw(1, "a.weight"));
        assert_ne!(draw(1, "a.weight"), draw(1, "b.weight"));
        assert_ne!(draw(1, "a.weight"), draw(2, "a.weight"));
        let subnet = draw(1, "a.weight");
        assert_eq!(subnet.size(), [8, 6]);
        assert!(subnet.checked([40, 30]).is_ok(), "sorted, unique and in range");
    }
}
