//! Number of sockets and connections that the process has memory and file descriptors for.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use switchboard_core::socket_memory::{BASE_BYTES, send_queues, sockets_that_fit};

/// Memory for large messages: one in each of this many bytes of the memory limit. A body has 1 MiB
/// by default, so that they take an eighth of the memory at most.
const BYTES_PER_LARGE_MESSAGE: u64 = 8 * 1024 * 1024;

/// Fewest large messages, so that a small node receives some.
const LARGE_MESSAGES_MIN: u64 = 16;

/// Fewest sockets, so that a node works on a machine whose limits are not known.
const SOCKETS_MIN: u64 = 1000;

/// Most sockets by default. More need an explicit setting.
const SOCKETS_MAX: u64 = 1_000_000;

/// Bounds that follow from the limits of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Open sockets.
    pub sockets: usize,
    /// TCP connections of clients.
    pub connections: usize,
    /// Bytes in all send queues, for clients that do not read: a quarter of the memory.
    pub send_queues_bytes: usize,
    /// Large messages and bodies that are received at the same time.
    pub large_messages: usize,
}

impl Capacity {
    /// Reads the limits of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let root = Path::new("/");
        Self::of(memory_limit(root), file_limit(root))
    }

    /// Two connections for each socket, but a quarter of the file descriptors is for other uses.
    fn of(memory: Option<u64>, files: Option<u64>) -> Self {
        let send_queues = send_queues(memory.unwrap_or(2 * BASE_BYTES));
        let sockets = memory.map_or(SOCKETS_MIN, sockets_that_fit).clamp(SOCKETS_MIN, SOCKETS_MAX);
        let connections = files.map_or(2 * sockets, |files| (files / 4 * 3).min(2 * sockets));
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let large_messages = memory.map_or(0, |bytes| bytes / BYTES_PER_LARGE_MESSAGE).max(LARGE_MESSAGES_MIN);
        Self {
            sockets: number(sockets),
            connections: number(connections),
            send_queues_bytes: number(send_queues),
            large_messages: number(large_messages),
        }
    }
}

/// Returns the memory in bytes that this process may use: the smallest limit of its control groups
/// (version 2 or 1), or the physical memory.
fn memory_limit(root: &Path) -> Option<u64> {
    let groups = read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        if controllers.is_empty() {
            smallest(&root.join("sys/fs/cgroup"), group, "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            smallest(&root.join("sys/fs/cgroup/memory"), group, "memory.limit_in_bytes")
        } else {
            None
        }
    });
    limits.chain(physical_memory(root)).min()
}

/// Returns the smallest limit of a group and of the groups above it. A container sees its own group
/// at the top.
fn smallest(mount: &Path, group: &str, file: &str) -> Option<u64> {
    let group = PathBuf::from(group.trim_start_matches('/'));
    let limits = group.ancestors().map(|above| mount.join(above).join(file));
    limits.filter_map(|path| read_to_string(path).ok()?.trim().parse().ok()).min()
}

fn physical_memory(root: &Path) -> Option<u64> {
    let text = read_to_string(root.join("proc/meminfo")).ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next())?;
    kibibytes.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Returns the number of files that this process may open.
fn file_limit(root: &Path) -> Option<u64> {
    let text = read_to_string(root.join("proc/self/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs::{create_dir_all, write};

    const MIB: u64 = 1024 * 1024;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_smallest_memory_limit_counts() {
        let memory = ("proc/meminfo", "MemTotal:       4194304 kB\nMemFree: 1 kB\n");
        for (files, limit) in [
            (vec![memory], 4096 * MIB),
            (vec![memory, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "536870912\n")], 512 * MIB),
            (vec![memory, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")], 4096 * MIB),
            (
                vec![
                    memory,
                    ("proc/self/cgroup", "0::/pods/node\n"),
                    ("sys/fs/cgroup/pods/memory.max", "268435456\n"),
                    ("sys/fs/cgroup/pods/node/memory.max", "1073741824\n"),
                ],
                256 * MIB,
            ),
            (
                vec![
                    memory,
                    ("proc/self/cgroup", "5:cpu,cpuacct:/\n3:memory:/docker/a\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
                ],
                1024 * MIB,
            ),
        ] {
            assert_eq!(memory_limit(machine(&files).path()), Some(limit), "{files:?}");
        }
        assert_eq!(memory_limit(machine(&[]).path()), None);
    }

    #[test]
    fn sockets_fit_into_the_memory_and_connections_into_the_files() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024     4096     files\n";
        assert_eq!(file_limit(machine(&[("proc/self/limits", limits)]).path()), Some(1024));
        let capacity = |sockets, connections, mebibytes: usize, large_messages| Capacity {
            sockets,
            connections,
            send_queues_bytes: mebibytes * 1024 * 1024,
            large_messages,
        };
        assert_eq!(Capacity::of(Some(1024 * MIB), None), capacity(20_480, 40_960, 256, 128));
        assert_eq!(Capacity::of(Some(1024 * MIB), Some(1024)), capacity(20_480, 768, 256, 128));
        assert_eq!(Capacity::of(Some(4 * MIB), None), capacity(1000, 2000, 1, 16));
        assert_eq!(Capacity::of(None, None), capacity(1000, 2000, 64, 16));
    }
}
