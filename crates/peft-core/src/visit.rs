//! A traversal of a module's float parameters that knows where each one is.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// What to do at each float parameter of a module, those of adapters included.
pub trait VisitFloat {
    /// Looks at `param`, which is at `place`.
    fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>);
}

/// Where a parameter is: the segments of its path, each with the type that was entered by it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a>(&'a [(String, String)]);

impl<'a> Place<'a> {
    /// Path through the module tree, such as `layers.0.q_proj.weight`.
    pub fn path(&self) -> String {
        let segments: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        segments.join(".")
    }

    /// Name of the field that holds the parameter, such as `weight`.
    pub fn field(&self) -> &'a str {
        self.0.last().map_or("", |(name, _)| name)
    }

    /// Type of the module that owns the parameter, such as `Linear`.
    pub fn container(&self) -> &'a str {
        let container = self.0.last().map_or("", |(_, container)| container);
        container.strip_prefix("Struct:").unwrap_or(container)
    }

    /// Where the parameter is that this one belongs to the reparameterization of, if it does.
    pub fn reparameterized(&self) -> Option<Place<'a>> {
        let at = self.0.iter().position(|(_, container)| container == "Reparameterization")?;
        Some(Place(&self.0[..at]))
    }
}

/// Visits every float parameter of `model`, in the order of its fields.
pub fn visit_floats<M: Module>(model: &M, visitor: &mut impl VisitFloat) {
    model.visit(&mut Traversal { visitor, place: Vec::new() });
}

struct Traversal<'a, V> {
    visitor: &'a mut V,
    place: Vec<(String, String)>,
}

impl<V: VisitFloat> ModuleVisitor for Traversal<'_, V> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.push((name.into(), container_type.into()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.visitor.visit(Place(&self.place), param);
    }
}
