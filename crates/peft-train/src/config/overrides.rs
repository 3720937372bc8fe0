//! A method named on the command line in place of the file's.

use std::collections::BTreeMap;

use toml::Value;

use super::source::Entry;
use super::{LrShape, MethodName, Place};

/// The method of `entries`, if it is one.
pub(super) fn method(entries: &BTreeMap<String, Entry>) -> Option<MethodName> {
    entries.get("method")?.value.clone().try_into().ok()
}

/// Takes out of `entries` what the file says for its own method `of_file` and another one, named on the
/// command line, does not have. Returns the keys.
pub(super) fn leave_out(
    entries: &mut BTreeMap<String, Entry>,
    of_file: Option<MethodName>,
) -> Vec<String> {
    let Some((of_file, method)) = of_file.zip(method(entries)) else { return Vec::new() };
    let left_out = entries.extract_if(.., |key, entry| {
        let in_file = entry.place != Place::CommandLine;
        in_file && suits(of_file, key, &entry.value) && !suits(method, key, &entry.value)
    });
    left_out.map(|(key, _)| key).collect()
}

/// Whether `method` has the setting `key`, and the shape of a learning rate.
fn suits(method: MethodName, key: &str, value: &Value) -> bool {
    let shape = || value.clone().try_into::<LrShape>();
    match key {
        "lr_scheduler" => shape().is_ok_and(|shape| shape.suits(method)),
        key => MethodName::with_key(key).is_none_or(|methods| methods.contains(&method)),
    }
}
