//! Choosing a device by name, among the backends compiled in.

use burn::tensor::Device;

use crate::Error;

/// Names that [`device_by_name`] knows, whether compiled in or not.
const BACKENDS: [&str; 5] = ["auto", "flex", "ndarray", "wgpu", "cuda"];

/// The device called `name`: `auto` (a GPU if this machine has one and its backend is compiled in,
/// then flex, then ndarray), `flex`, `ndarray`, `wgpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// [`Error::Device`] if the name is unknown or its backend is not compiled in,
/// [`Error::DeviceMissing`] if this machine has no such device or no driver for it.
pub fn device_by_name(name: &str) -> Result<Device, Error> {
    let (backend, index) = match name.split_once(':') {
        Some((backend, index)) => (backend, index.parse::<usize>().ok()),
        None => (name, Some(0)),
    };
    let index = index.filter(|&index| index == 0 || backend == "cuda");
    match (backend, index) {
        ("auto", Some(_)) => automatic().ok_or_else(|| missing(name)),
        #[cfg(feature = "flex")]
        ("flex", Some(_)) => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[expect(deprecated, reason = "still a backend that people test on")]
        ("ndarray", Some(_)) => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        ("wgpu", Some(_)) => wgpu().ok_or_else(|| missing(name)),
        #[cfg(feature = "cuda")]
        ("cuda", Some(index)) => cuda(index).ok_or_else(|| missing(name)),
        _ => Err(Error::Device { name: name.into(), compiled: compiled() }),
    }
}

/// The first device there is, the fastest backends first.
fn automatic() -> Option<Device> {
    let found = None;
    #[cfg(feature = "cuda")]
    let found = found.or_else(|| cuda(0));
    #[cfg(feature = "wgpu")]
    let found = found.or_else(wgpu);
    #[cfg(feature = "flex")]
    let found = found.or_else(|| Some(Device::flex()));
    #[cfg(feature = "ndarray")]
    #[expect(deprecated, reason = "still a backend that people test on")]
    let found = found.or_else(|| Some(Device::ndarray()));
    found
}

/// CUDA device number `index`. Opening one that is not there would panic in the driver's loader.
#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Option<Device> {
    let count = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec().len();
    (index < count).then(|| Device::cuda(index))
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Option<Device> {
    let none = Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec().is_empty();
    (!none).then(|| Device::wgpu(burn::tensor::DeviceKind::default()))
}

fn missing(name: &str) -> Error {
    Error::DeviceMissing { name: name.into() }
}

fn compiled() -> Vec<&'static str> {
    let enabled = [
        true,
        cfg!(feature = "flex"),
        cfg!(feature = "ndarray"),
        cfg!(feature = "wgpu"),
        cfg!(feature = "cuda"),
    ];
    BACKENDS
        .into_iter()
        .zip(enabled)
        .filter(|(_, enabled)| *enabled)
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_unknown_names_and_indices() {
        for name in ["gpu", "", "flex:1", "cuda:x", "ndarray:-1"] {
            let error = device_by_name(name).unwrap_err();
            assert_eq!(error.to_string(), format!("no device `{name}` in this build"));
        }
        let hint = device_by_name("gpu").unwrap_err().hint().unwrap();
        assert!(hint.starts_with("this build has auto, "), "{hint}");
    }

    #[test]
    #[cfg(all(feature = "flex", feature = "ndarray"))]
    #[expect(deprecated, reason = "still a backend that people test on")]
    fn finds_what_is_compiled_in() {
        assert_eq!(device_by_name("flex").unwrap(), Device::flex());
        assert_eq!(device_by_name("ndarray:0").unwrap(), Device::ndarray());
        assert_eq!(device_by_name("auto").unwrap(), Device::default());
    }
}
