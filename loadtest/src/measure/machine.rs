//! CPU time and memory of processes on this machine, from /proc. Server processes are found by
//! their listening ports.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use serde::Serialize;

/// A process whose usage is sampled.
#[derive(Clone, Debug)]
pub(crate) struct WatchedProcess {
    /// Name in reports.
    pub(crate) name: String,
    pid: u32,
}

/// Resource usage of a process at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all threads since the process started.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) rss: u64,
}

/// Resource usage of a process during the measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ProcessUsage {
    pub(crate) name: String,
    pub(crate) cpu_seconds: f64,
    /// CPU time as a percentage of one core.
    pub(crate) cpu_percent: f64,
    /// Resident memory at the end.
    pub(crate) rss_mib: f64,
}

impl WatchedProcess {
    /// The loadtest process.
    pub(crate) fn current() -> Self {
        Self { name: "loadtest".into(), pid: std::process::id() }
    }

    /// Finds the process that listens on a local `host:port`. Returns `None` when it runs on
    /// another machine or as another user.
    pub(crate) fn listening_on(name: impl Into<String>, address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        let local = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
        let port = port.parse().ok().filter(|_| local)?;
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
        let inode = tables.iter().find_map(|table| listener_inode(table, port))?;
        let pid = process_with_file(&format!("socket:[{inode}]"))?;
        Some(Self { name: name.into(), pid })
    }

    /// The process and its children: the children get the names `<name> worker 1`, `<name> worker
    /// 2` and so on.
    pub(crate) fn and_children(self) -> Vec<Self> {
        let pid = self.pid;
        // Children of the first thread; in a Node.js process these are all children.
        let started = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = started.split_whitespace().filter_map(|pid| pid.parse().ok());
        let children = (1..)
            .zip(children)
            .map(|(number, pid): (usize, _)| Self { name: format!("{} worker {number}", self.name), pid });
        let children: Vec<_> = children.collect();
        [self].into_iter().chain(children).collect()
    }

    /// Current usage; zero after the process exited.
    pub(crate) fn usage(&self) -> Usage {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        Usage { cpu: cpu(&read("stat")).unwrap_or_default(), rss: rss(&read("statm")).unwrap_or_default() }
    }

    /// Usage since the sample `before`, taken `seconds` ago.
    pub(crate) fn usage_since(&self, before: Usage, seconds: f64) -> ProcessUsage {
        let after = self.usage();
        let cpu_seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        ProcessUsage {
            name: self.name.clone(),
            cpu_seconds,
            cpu_percent: if seconds > 0.0 { cpu_seconds / seconds * 100.0 } else { 0.0 },
            rss_mib: mib(after.rss),
        }
    }
}

/// Converts bytes to MiB.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Inode of the socket that listens on a port, from a /proc/net/tcp table.
fn listener_inode(table: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields.get(1)?.ends_with(&wanted) && *fields.get(3)? == LISTEN).then(|| fields.get(9).copied())?
    })
}

/// Process that has this file open.
fn process_with_file(link: &str) -> Option<u32> {
    let holds = |fds: &Path| {
        let entries = fs::read_dir(fds).into_iter().flatten().flatten();
        entries.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link))
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        holds(&entry.path().join("fd")).then_some(pid)
    })
}

/// User plus system time from `/proc/<pid>/stat`. The command name in parentheses may contain any
/// character.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / clock_ticks_per_second()))
}

fn rss(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_on_a_local_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = WatchedProcess::listening_on("me", &listener.local_addr().unwrap().to_string()).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(found.usage().rss > 1 << 20);
        assert!(WatchedProcess::listening_on("elsewhere", "192.0.2.1:80").is_none());
    }

    #[test]
    fn the_child_processes_of_a_process_are_found() {
        // With a single command `sh` would replace itself by it; the `:` prevents this.
        let mut leader = std::process::Command::new("sh");
        let mut leader = leader.args(["-c", "cat; :"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let watched = WatchedProcess { name: "api".into(), pid: leader.id() };
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let family = loop {
            let family = watched.clone().and_children();
            if family.len() > 1 || std::time::Instant::now() > deadline {
                break family;
            }
        };
        drop(leader.stdin.take());
        leader.wait().unwrap();
        let names: Vec<_> = family.iter().map(|process| process.name.as_str()).collect();
        assert_eq!(names, ["api", "api worker 1"]);
    }

    #[test]
    fn cpu_time_is_read_when_the_command_name_has_parentheses_and_spaces() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 5 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_millis(300 * 1000 / clock_ticks_per_second())));
        assert_eq!(cpu(""), None);
    }
}
