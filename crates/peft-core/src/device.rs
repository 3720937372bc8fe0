//! Choosing a device by name, among the backends compiled in.

use burn::tensor::{Device, Tensor};

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

/// Whether `device` computes on the CPU, in the memory of this machine, be it an autodiff device or
/// not.
pub fn is_cpu(device: &Device) -> bool {
    let device = device.clone().inner();
    #[cfg(feature = "flex")]
    if device == Device::flex() {
        return true;
    }
    #[cfg(feature = "ndarray")]
    #[expect(deprecated, reason = "still a backend that people test on")]
    if device == Device::ndarray() {
        return true;
    }
    drop(device);
    false
}

/// How many bytes of memory the GPU `device` has. CUDA tells it; wgpu does with Burn's feature
/// `vulkan` or `metal` alone. None for a CPU.
pub fn gpu_memory(device: &Device) -> Option<u64> {
    match device.clone().inner().as_dispatch() {
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        burn::backend::DispatchDevice::Cube(gpu) => gpu.client().properties().memory.max_memory(),
        _ => None,
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

/// Whether `device` multiplies matrices of f32 in f32. Burn uses CUDA's tensor cores for them, which
/// round the factors to TF32: 10 bits of mantissa, three decimal digits.
pub fn multiplies_in_f32(device: &Device) -> bool {
    const SIZE: usize = 256;
    let x = Tensor::<2>::full([SIZE, SIZE], 1.0 + 2_f32.powi(-13), device);
    let lost = x.clone().matmul(Tensor::eye(SIZE, device)).sub(x).abs().max();
    lost.into_data().iter::<f32>().all(|lost| lost == 0.0)
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
    fn backends_of_the_cpu_are_known() {
        for name in ["flex", "ndarray"] {
            let device = device_by_name(name).unwrap();
            assert!(is_cpu(&device) && is_cpu(&device.clone().autodiff()), "{name}");
            assert_eq!(gpu_memory(&device), None, "{name}");
        }
    }

    #[test]
    #[cfg(feature = "ndarray")]
    fn a_cpu_multiplies_in_f32() {
        assert!(multiplies_in_f32(&device_by_name("ndarray").unwrap()));
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
