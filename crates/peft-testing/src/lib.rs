//! The device that tests run on, and a list of errors that is complete. For tests alone: what is wrong
//! panics here.

use std::fmt::Display;
use std::io::Write;
use std::sync::Mutex;

use burn::tensor::{DType, Device};
use peft_core::{device_by_name, is_cpu};

/// What the device is named by.
const VARIABLE: &str = "BURN_PEFT_TEST_DEVICE";

/// The device under test: `BURN_PEFT_TEST_DEVICE`, by a name of [`device_by_name`], or ndarray.
///
/// # Panics
/// For a name that is unknown, or whose device is not there.
pub fn device() -> Device {
    let name = std::env::var(VARIABLE).unwrap_or_else(|_| "ndarray".into());
    device_by_name(&name).unwrap_or_else(|error| panic!("{VARIABLE}: {error}"))
}

/// The device under test if it computes in `dtype`. If not, a line says so, and it is flex: what is
/// tested on no device would break unseen.
///
/// # Panics
/// As [`device`] does.
pub fn device_with(dtype: DType) -> Device {
    let device = device();
    match device.supports_dtype(dtype) {
        true => device,
        false => flex_instead_of(&device, &format!("does not compute in {dtype:?}")),
    }
}

/// The device under test if equal runs end with equal bits on it, which is promised of CPUs. If not, a
/// line says so, and it is flex.
///
/// # Panics
/// As [`device`] does.
pub fn bit_exact_device() -> Device {
    let device = device();
    match is_cpu(&device) {
        true => device,
        false => flex_instead_of(&device, "may round equal runs differently"),
    }
}

fn flex_instead_of(device: &Device, why: &str) -> Device {
    say_once(format!("skipped: {device:?} {why}, tested on flex instead"));
    device_by_name("flex").expect("compiled in")
}

/// Prints a line that no test printed before, also of tests that pass: only what macros print is kept
/// back.
fn say_once(line: String) {
    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut said = SAID.lock().expect("printing does not panic");
    if !said.contains(&line) {
        let _ = writeln!(std::io::stderr(), "{line}");
        said.push(line);
    }
}

/// One or more samples of every variant of an enumeration, in a `Vec`. A variant that is not listed does
/// not compile.
#[macro_export]
macro_rules! every_variant {
    ($kind:ty { $($variant:pat => [$($sample:expr),+ $(,)?],)+ }) => {{
        let _all_are_listed = |value: &$kind| match value {
            $($variant => (),)+
        };
        let mut samples = Vec::<$kind>::new();
        $($(
            let sample: $kind = $sample;
            assert!(matches!(sample, $variant), "{sample:?}");
            samples.push(sample);
        )+)+
        samples
    }};
}

/// What people read of `errors`: message and hint of each.
pub fn texts<E: Display>(errors: &[E], hint: impl Fn(&E) -> Option<String>) -> String {
    let text = |error: &E| match hint(error) {
        Some(hint) => format!("{error}\nhint: {hint}\n"),
        None => format!("{error}\n"),
    };
    errors.iter().map(text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_type_has_a_device() {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let (found, under_test) = (device_with(dtype), device());
            assert!(found.supports_dtype(dtype), "{dtype:?}");
            assert_eq!(found == under_test, under_test.supports_dtype(dtype), "{dtype:?}");
        }
    }
}
