//! Which modules a method adapts, and which are trained densely beside it.

mod layers;
mod modules;
mod saved;
mod targeting;
mod tied;

pub use layers::layer_number;
pub use modules::TargetModules;
pub(crate) use saved::is_saved;
pub use saved::modules_to_save;
pub use targeting::Targeting;
pub(crate) use tied::{EMBEDDING, OUTPUT_HEAD, tied_embedding};

/// Whether `name` is the path, or an end of it that begins at a dot.
fn named(path: &str, name: &str) -> bool {
    path == name || path.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
}
