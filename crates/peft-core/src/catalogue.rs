//! The float parameters of a model: what can be adapted or trained.

use std::collections::HashSet;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};

use crate::Error;
use crate::target::is_saved;
use crate::visit::{Place, VisitFloat, visit_floats};

/// One float parameter of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamInfo {
    /// Identity, stable across mappings of the model.
    pub id: ParamId,
    /// Path through the module tree, such as `model.layers.0.self_attn.q_proj.weight`.
    pub path: String,
    /// Type of the module that owns it, such as `Linear` or `Embedding`.
    pub container: String,
    /// Shape, as Burn sees it: a `Linear` weight is `[d_input, d_output]`.
    pub shape: Vec<usize>,
    /// Device, with the autodiff context the parameter is in.
    pub device: Device,
}

impl ParamInfo {
    /// Path of the owning module: the parameter's path without its last segment.
    pub fn module_path(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(module, _)| module)
    }

    /// Whether this is the weight matrix of a `Linear`.
    pub fn is_linear_weight(&self) -> bool {
        Self::is_linear_matrix(&self.container, self.shape.len())
    }

    /// Whether a parameter of `rank` dimensions in a module of type `container` is the weight matrix
    /// of a `Linear`.
    pub(crate) fn is_linear_matrix(container: &str, rank: usize) -> bool {
        container == "Linear" && rank == 2
    }

    /// Number of elements.
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Every float parameter of a model, in the order of its traversal.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    params: Vec<ParamInfo>,
    /// Those of modules that are trained densely instead of getting an adapter.
    saved: HashSet<ParamId>,
}

impl Catalogue {
    /// Lists the parameters of `model`. Lazily initialised ones are initialised.
    ///
    /// # Errors
    /// [`Error::AlreadyAttached`] if any parameter carries a reparameterization.
    pub fn of<M: Module>(model: &M) -> Result<Self, Error> {
        let mut lister = Lister::default();
        visit_floats(model, &mut lister);
        match lister.attached {
            Some(path) => Err(Error::AlreadyAttached { path }),
            None => Ok(lister.params.into_iter().collect()),
        }
    }

    /// The parameters, in traversal order.
    pub fn params(&self) -> &[ParamInfo] {
        &self.params
    }

    /// The same model, where [`Targeting::select`](crate::Targeting::select) leaves out what is in
    /// modules that `modules_to_save` names.
    pub(crate) fn saving(&self, modules_to_save: &[String]) -> Self {
        let named = |param: &&ParamInfo| modules_to_save.iter().any(|name| is_saved(param, name));
        let saved = self.params.iter().filter(named).map(|param| param.id).collect();
        Self { params: self.params.clone(), saved }
    }

    /// Whether a parameter gets no adapter because it is trained densely.
    pub(crate) fn saves(&self, param: &ParamInfo) -> bool {
        self.saved.contains(&param.id)
    }

    /// Number of elements of all parameters together.
    pub fn num_elements(&self) -> usize {
        self.params.iter().map(ParamInfo::num_elements).sum()
    }
}

/// A model of which only the parameters' names and shapes are known, in the order of its traversal.
impl FromIterator<ParamInfo> for Catalogue {
    fn from_iter<I: IntoIterator<Item = ParamInfo>>(params: I) -> Self {
        Self { params: params.into_iter().collect(), saved: HashSet::new() }
    }
}

#[derive(Default)]
struct Lister {
    params: Vec<ParamInfo>,
    attached: Option<String>,
}

impl VisitFloat for Lister {
    fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
        if let Some(adapted) = place.reparameterized() {
            self.attached.get_or_insert_with(|| adapted.path());
        }
        let base = param.base();
        self.params.push(ParamInfo {
            id: param.id,
            path: place.path(),
            container: place.container().into(),
            shape: base.dims().to_vec(),
            device: base.device(),
        });
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Lora, Module};
    use burn::nn::LinearConfig;

    use super::*;
    use crate::testing::{Tiny, device};

    #[test]
    fn lists_every_parameter_with_its_owner() {
        let model = Tiny::new();
        let catalogue = Catalogue::of(&model).unwrap();
        let listed: Vec<_> =
            catalogue.params().iter().map(|p| (p.path.as_str(), p.container.as_str())).collect();
        let layer = [
            ("layers.0.q_proj.weight", "Linear"),
            ("layers.0.q_proj.bias", "Linear"),
            ("layers.0.freq_proj.weight", "Linear"),
            ("layers.0.norm.gamma", "LayerNorm"),
            ("layers.0.norm.beta", "LayerNorm"),
        ];
        assert_eq!(listed[0], ("embed.weight", "Embedding"));
        assert_eq!(listed[1..6], layer);
        assert_eq!(listed[11], ("lm_head.weight", "Linear"));
        assert_eq!(catalogue.num_elements(), model.num_params());

        let params = catalogue.params();
        assert_eq!(params[1].module_path(), "layers.0.q_proj");
        assert_eq!(params[1].shape, [4, 6]);
        assert_eq!(params[1].device, device().autodiff());
        let linear: Vec<_> = params.iter().filter(|p| p.is_linear_weight()).collect();
        assert_eq!(linear.len(), 5, "neither biases nor the embedding");
    }

    #[test]
    fn the_parameters_of_a_bare_layer_have_no_module_path() {
        let layer = LinearConfig::new(2, 3).init(&device());
        let catalogue = Catalogue::of(&layer).unwrap();
        assert_eq!(catalogue.params()[0].path, "weight");
        assert_eq!(catalogue.params()[0].module_path(), "");
    }

    #[test]
    fn a_model_with_any_reparameterization_is_refused() {
        let layer = LinearConfig::new(2, 3).init(&device());
        let layer = layer.apply_lora(Lora::new(1, 1.0));
        let error = Catalogue::of(&layer).unwrap_err();
        assert_eq!(error, Error::AlreadyAttached { path: "weight".into() });
    }
}
