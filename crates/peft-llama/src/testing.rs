//! The device tests run on.

use burn::tensor::Device;

/// The device named by `BURN_PEFT_TEST_DEVICE`: `ndarray` (default), `flex`, `wgpu` or `cuda`.
#[expect(
    deprecated,
    reason = "ndarray is deprecated upstream, but the suite runs on it by default"
)]
pub fn device() -> Device {
    match std::env::var("BURN_PEFT_TEST_DEVICE").as_deref().unwrap_or("ndarray") {
        "ndarray" => Device::ndarray(),
        "flex" => Device::flex(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(0),
        other => panic!("BURN_PEFT_TEST_DEVICE: `{other}` is unknown or not compiled in"),
    }
}
