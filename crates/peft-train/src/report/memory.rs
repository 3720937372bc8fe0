//! How much memory the process has needed, on the host and on a device.

use burn::tensor::Device;

/// The largest resident size of this process so far, in bytes; `None` where the system does not
/// tell (it does on Linux). Memory of a GPU is not part of it.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse_peak(&status)
}

/// The bytes that the allocator of `device` holds; `None` where the backend does not count them, as on
/// CPUs. It keeps for reuse what it once needed: its peak so far, with room between what is in use.
pub fn device_memory_bytes(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_reserved)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        let status = "Name:\ttrain\nVmPeak:\t  9999 kB\nVmHWM:\t    12 kB\nVmRSS:\t 8 kB\n";
        assert_eq!(parse_peak(status), Some(12 * 1024));
        assert_eq!(parse_peak("Name:\ttrain\n"), None);
        assert_eq!(parse_peak("VmHWM:\tmuch kB\n"), None);
    }

    #[test]
    fn a_device_that_counts_its_memory_is_not_a_cpu() {
        let device = peft_testing::device();
        let tensor = burn::tensor::Tensor::<1>::zeros([1 << 20], &device);
        let bytes = device_memory_bytes(&device);
        assert_eq!(bytes.is_some(), !peft_core::is_cpu(&device));
        assert!(bytes.is_none_or(|bytes| bytes >= 4 << 20), "{bytes:?}");
        drop(tensor);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_covers_what_was_allocated() {
        let touched = vec![1u8; 32 << 20];
        assert!(peak_memory_bytes().unwrap() > std::hint::black_box(&touched).len() as u64);
    }
}
