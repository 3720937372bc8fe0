//! How much memory there is.

use std::fmt;
use std::fs::read_to_string;
use std::path::Path;

use burn::tensor::Device;
use indicatif::DecimalBytes;

use super::cgroup;

/// Memory of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    /// What is free, or can be freed by the system, if that is known.
    pub free: Option<usize>,
    /// All there is.
    pub total: usize,
}

impl Available {
    /// The memory of `device`: for a CPU backend that of the machine, or of the container or batch job
    /// where there is less, as far as the system tells it (Linux does). For a GPU all it has, if it
    /// tells ([`gpu_memory`](peft_core::gpu_memory)).
    pub fn on(device: &Device) -> Option<Self> {
        if !peft_core::is_cpu(device) {
            let total = usize::try_from(peft_core::gpu_memory(device)?).ok()?;
            return Some(Self { free: None, total });
        }
        let machine = parse(&read_to_string("/proc/meminfo").ok()?)?;
        let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limit = cgroup::limit(Path::new("/sys/fs/cgroup"), &groups);
        Some(limit.map_or(machine, |limit| machine.within(limit)))
    }

    /// What both have.
    pub(super) fn within(self, other: Self) -> Self {
        let free = self.free.into_iter().chain(other.free).min();
        Self { free, total: self.total.min(other.total) }
    }
}

impl fmt::Display for Available {
    /// What can be counted on: `8.00 GB free`, or `80.00 GB on the device`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.free {
            Some(free) => write!(f, "{} free", DecimalBytes(free as u64)),
            None => write!(f, "{} on the device", DecimalBytes(self.total as u64)),
        }
    }
}

fn parse(meminfo: &str) -> Option<Available> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    Some(Available { free: Some(bytes("MemAvailable:")?), total: bytes("MemTotal:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_and_free_memory_are_read_in_bytes() {
        let meminfo = "MemTotal:       16 kB\nMemFree:        1 kB\nMemAvailable:   8 kB\n";
        assert_eq!(parse(meminfo), Some(Available { free: Some(8 * 1024), total: 16 * 1024 }));
        let limit = Available { free: Some(9000), total: 10_000 };
        let within = Available { free: Some(8 * 1024), total: 10_000 };
        assert_eq!(parse(meminfo).unwrap().within(limit), within);
        let gpu = Available { free: None, total: 9_000 };
        assert_eq!(gpu.within(limit), Available { free: Some(9_000), total: 9_000 });
        assert_eq!(limit.within(gpu), Available { free: Some(9_000), total: 9_000 });
        assert_eq!(
            (within.to_string(), gpu.to_string()),
            ("8.19 kB free".into(), "9.00 kB on the device".into())
        );
        assert_eq!(parse("MemTotal: 16 kB\n"), None);
        assert_eq!(parse("MemTotal: 16 kB\nMemAvailable: much\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_cpu_device_has_the_machines_memory() {
        let device = peft_core::device_by_name("flex").unwrap();
        for device in [device.clone().autodiff(), device] {
            let available = Available::on(&device).unwrap();
            let free = available.free.unwrap();
            assert!(0 < free && free < available.total, "{available:?}");
        }
    }
}
