//! Processor time and memory of processes on this machine, from /proc; those behind local addresses are found by their ports.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use serde::Serialize;

/// A process that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// What it is called in reports.
    pub(crate) name: String,
    pid: u32,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Of all its threads, since it began.
    pub(crate) cpu: Duration,
    /// Resident now, bytes.
    pub(crate) rss: u64,
}

/// What a process used while the window was open.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Spent {
    pub(crate) name: String,
    pub(crate) cpu_seconds: f64,
    /// Of one core, per cent.
    pub(crate) cpu_percent: f64,
    /// At the end.
    pub(crate) rss_mib: f64,
}

impl Watched {
    /// This program.
    pub(crate) fn this() -> Self {
        Self { name: "loadtest".into(), pid: std::process::id() }
    }

    /// The process that listens on a `host:port` of this machine; `None` when it is elsewhere, or another user's.
    pub(crate) fn behind(name: impl Into<String>, address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        let local = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
        let port = port.parse().ok().filter(|_| local)?;
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
        let inode = tables.iter().find_map(|table| listening(table, port))?;
        let pid = holder(&format!("socket:[{inode}]"))?;
        Some(Self { name: name.into(), pid })
    }

    /// It and the processes that it has started, which serve in its name: `<name> worker 1` and so on.
    pub(crate) fn with_workers(self) -> Vec<Self> {
        let pid = self.pid;
        // Those of its first thread: of a Node.js process all of them.
        let started = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let workers = started.split_whitespace().filter_map(|pid| pid.parse().ok());
        let workers = (1..)
            .zip(workers)
            .map(|(number, pid): (usize, _)| Self { name: format!("{} worker {number}", self.name), pid });
        let workers: Vec<_> = workers.collect();
        [self].into_iter().chain(workers).collect()
    }

    /// What it has used; nothing once it has ended.
    pub(crate) fn usage(&self) -> Usage {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        Usage { cpu: cpu(&read("stat")).unwrap_or_default(), rss: rss(&read("statm")).unwrap_or_default() }
    }

    /// What it used from `before` on, within `seconds`.
    pub(crate) fn spent(&self, before: Usage, seconds: f64) -> Spent {
        let after = self.usage();
        let cpu_seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        Spent {
            name: self.name.clone(),
            cpu_seconds,
            cpu_percent: if seconds > 0.0 { cpu_seconds / seconds * 100.0 } else { 0.0 },
            rss_mib: mib(after.rss),
        }
    }
}

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The inode of the socket that listens on a port, in a table of the kernel's.
fn listening(table: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields.get(1)?.ends_with(&wanted) && *fields.get(3)? == LISTEN).then(|| fields.get(9).copied())?
    })
}

/// The process with this file open.
fn holder(link: &str) -> Option<u32> {
    let holds = |fds: &Path| {
        let entries = fs::read_dir(fds).into_iter().flatten().flatten();
        entries.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link))
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        holds(&entry.path().join("fd")).then_some(pid)
    })
}

/// User and system time in `/proc/<pid>/stat`. The command's name, in parentheses, may hold anything.
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
    fn the_process_behind_a_port_of_this_machine_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = Watched::behind("me", &listener.local_addr().unwrap().to_string()).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(found.usage().rss > 1 << 20);
        assert!(Watched::behind("elsewhere", "192.0.2.1:80").is_none());
    }

    #[test]
    fn the_workers_of_a_process_are_found() {
        // `sh` would become what it runs, had it nothing to do after it.
        let mut leader = std::process::Command::new("sh");
        let mut leader = leader.args(["-c", "cat; :"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let watched = Watched { name: "api".into(), pid: leader.id() };
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let family = loop {
            let family = watched.clone().with_workers();
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
    fn times_are_read_past_a_name_with_parentheses_and_spaces() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 5 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_millis(300 * 1000 / clock_ticks_per_second())));
        assert_eq!(cpu(""), None);
    }
}
