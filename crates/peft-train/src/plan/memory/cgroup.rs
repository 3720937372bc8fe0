//! What containers and batch systems leave a process of the machine's memory: Linux's control groups.

use std::fs::read_to_string;
use std::path::Path;

use super::Available;

/// Names of the limit, of what is used, and in `memory.stat` of the part of it that the system can drop.
type Names = [&'static str; 3];

const VERSION_2: Names = ["memory.max", "memory.current", "inactive_file"];
const VERSION_1: Names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"];

/// What is left by the limits of the groups that a process is in, and of those around them. `root` is where they
/// are mounted, `groups` what `/proc/self/cgroup` says. In a container only the root may be there.
pub(super) fn limit(root: &Path, groups: &str) -> Option<Available> {
    groups.lines().filter_map(|group| of_group(root, group)).reduce(Available::within)
}

/// `group` is `number:controllers:/path`; version 2 has no controllers.
fn of_group(root: &Path, group: &str) -> Option<Available> {
    let mut parts = group.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
    let (root, names) = match controllers {
        "" => (root.to_path_buf(), VERSION_2),
        some if some.split(',').any(|name| name == "memory") => (root.join("memory"), VERSION_1),
        _ => return None,
    };
    let folder = root.join(path);
    let around = folder.ancestors().take_while(|folder| folder.starts_with(&root));
    around.filter_map(|folder| read(folder, names)).reduce(Available::within)
}

fn read(folder: &Path, [limit, used, cache]: Names) -> Option<Available> {
    let bytes = |name| read_to_string(folder.join(name)).ok()?.trim().parse::<usize>().ok();
    let total = bytes(limit)?; // `max` is none
    let stat = read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
    let cache = lines.find(|(name, _)| *name == cache).and_then(|(_, n)| n.parse().ok());
    let used = bytes(used)?.saturating_sub(cache.unwrap_or(0));
    Some(Available { free: Some(total.saturating_sub(used)), total })
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    fn group(folder: &Path, [limit, used, cache]: Names, content: [&str; 3]) {
        create_dir_all(folder).unwrap();
        write(folder.join(limit), content[0]).unwrap();
        write(folder.join(used), content[1]).unwrap();
        write(folder.join("memory.stat"), format!("anon 1\n{cache} {}\n", content[2])).unwrap();
    }

    #[test]
    fn every_limit_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        group(&root.join("job/step"), VERSION_2, ["max\n", "900\n", "0"]);
        group(&root.join("job"), VERSION_2, ["1000\n", "900\n", "300"]);
        let groups = "0::/job/step\n";
        assert_eq!(limit(root, groups), Some(Available { free: Some(400), total: 1000 }));
        group(&root.join("memory"), VERSION_1, ["500\n", "100\n", "40"]);
        let both = format!("9:cpu,memory:/elsewhere\n3:cpuset:/\n{groups}");
        assert_eq!(limit(root, &both), Some(Available { free: Some(400), total: 500 }));
        group(&root.join("job/step"), VERSION_2, ["800\n", "100\n", "0"]);
        assert_eq!(
            limit(root, groups),
            Some(Available { free: Some(400), total: 800 }),
            "of the job"
        );
    }

    #[test]
    fn no_limit_is_none() {
        let dir = tempfile::tempdir().unwrap();
        group(dir.path(), VERSION_2, ["max", "1", "0"]);
        for groups in ["0::/", "0::/gone", "4:memory:/", "nonsense", ""] {
            assert_eq!(limit(dir.path(), groups), None, "{groups}");
        }
    }
}
