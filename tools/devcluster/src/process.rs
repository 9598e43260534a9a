//! A child process with a log, signals, a bounded wait for readiness, and no way to outlive its starter.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::service::workspace;

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(10);
/// How long [`Drop`] lets a process end on SIGTERM before SIGKILL.
const DROP_GRACE: Duration = Duration::from_secs(3);

/// Which lines of a log are also copied to standard output, with the process's name before each.
#[derive(Clone, Copy, Debug, Default)]
pub enum Echo {
    /// None.
    #[default]
    Off,
    /// All.
    All,
    /// Those for which this says true.
    Matching(fn(&str) -> bool),
}

impl Echo {
    fn shows(self, line: &str) -> bool {
        match self {
            Self::Off => false,
            Self::All => true,
            Self::Matching(wanted) => wanted(line),
        }
    }
}

/// What to run: enough to start the same process again after it was killed.
#[derive(Clone, Debug)]
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    log: PathBuf,
    echo: Echo,
    litter: Option<PathBuf>,
}

impl Spec {
    /// A process named `name` in messages, which logs (both streams) to `<dir>/<name>.log`.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, dir: &Path) -> Self {
        let name = name.into();
        let log = dir.join(format!("{name}.log"));
        Self { name, program: program.into(), args: Vec::new(), env: Vec::new(), log, echo: Echo::Off, litter: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment; the rest is inherited.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.env.push((key.into(), value.to_string()));
        self
    }

    /// Copies lines of the log to standard output as well.
    #[must_use]
    pub fn echo(mut self, echo: Echo) -> Self {
        self.echo = echo;
        self
    }

    /// A temporary directory that the guard removes when this program ends without dropping the process: a server shared
    /// by the tests of a binary is a static, which nothing drops.
    #[must_use]
    pub fn litter(mut self, dir: Option<&Path>) -> Self {
        self.litter = dir.map(Path::to_owned);
        self
    }

    /// The same under another name, with a log of its own.
    #[must_use]
    pub fn renamed(mut self, name: &str) -> Self {
        self.log.set_file_name(format!("{name}.log"));
        name.clone_into(&mut self.name);
        self
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot open the log {}", self.log.display()))?;
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().cloned()).stdin(Stdio::null()).process_group(0);
        if matches!(self.echo, Echo::Off) {
            command.stdout(log.try_clone()?).stderr(log);
        } else {
            let (reader, writer) = std::io::pipe()?;
            command.stdout(writer.try_clone()?).stderr(writer);
            let (name, echo) = (self.name.clone(), self.echo);
            // Ends by itself: the pipe closes when the child and its children are gone.
            std::thread::spawn(move || copy_lines(&name, echo, BufReader::new(reader), log));
        }
        command.spawn().with_context(|| format!("cannot start {} ({})", self.name, self.program.display()))
    }
}

fn copy_lines(name: &str, echo: Echo, mut from: impl BufRead, mut log: File) {
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        // A full disk or a closed terminal must not stop the child, which would block once the pipe is full.
        let _ = log.write_all(&line);
        let text = String::from_utf8_lossy(&line);
        if echo.shows(&text) {
            let _ = writeln!(std::io::stdout().lock(), "{name:>8} | {}", text.trim_end());
        }
        line.clear();
    }
}

/// A running (or ended) child process, leader of its own process group. Dropping it ends the whole group.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    child: Child,
    status: Option<ExitStatus>,
    /// It was sent SIGTERM.
    told: bool,
    guard: Child,
}

impl Process {
    /// Starts `spec`.
    ///
    /// # Errors
    /// When the program or its log cannot be opened.
    pub fn spawn(spec: Spec) -> anyhow::Result<Self> {
        let mut child = spec.spawn()?;
        match guard(child.id(), spec.litter.as_deref()) {
            Ok(guard) => Ok(Self { spec, child, status: None, told: false, guard }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What to run to have another one.
    #[must_use]
    pub fn spec(&self) -> Spec {
        self.spec.clone()
    }

    /// Its process id, which is also the id of its process group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The last `lines` lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let Ok(file) = File::open(&self.spec.log) else { return String::new() };
        let mut tail = VecDeque::with_capacity(lines + 1);
        for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            tail.push_back(String::from_utf8_lossy(&line).into_owned());
            if tail.len() > lines {
                tail.pop_front();
            }
        }
        Vec::from(tail).join("\n")
    }

    /// Its exit status, once it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// SIGSTOP: it stays alive with its sockets open and does nothing.
    ///
    /// # Errors
    /// When the process has ended; so with the other signals.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: goes on after [`Process::pause`].
    ///
    /// # Errors
    /// As [`Process::pause`].
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, without waiting: the polite request to drain and end. It is sent once: our services take a second one for an operator
    /// who will not wait, and leave undone what they had to do at the end.
    ///
    /// # Errors
    /// As [`Process::pause`].
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        if self.told && self.exited().is_none() {
            return Ok(());
        }
        self.signal(Signal::TERM)?;
        self.told = true;
        Ok(())
    }

    /// SIGINT, without waiting: what Ctrl-C sends.
    ///
    /// # Errors
    /// As [`Process::pause`].
    pub fn interrupt(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::INT)
    }

    /// SIGKILL, and waits until it is gone (the kernel does not let it linger).
    ///
    /// # Errors
    /// As [`Process::pause`].
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.status = Some(self.child.wait()?);
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        // A reaped child's id may belong to somebody else by now.
        if let Some(status) = self.exited() {
            bail!("{} has already ended ({status})", self.name());
        }
        let group = Pid::from_child(&self.child);
        kill_process_group(group, signal).with_context(|| format!("cannot signal {}", self.name()))
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// When it still runs after `bound`.
    pub async fn wait_exit(&mut self, bound: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + bound;
        loop {
            if let Some(status) = self.exited() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {bound:?}", self.name());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// SIGTERM, and SIGKILL if it still runs after `grace`; returns when it is gone. Does nothing if it has ended.
    ///
    /// # Errors
    /// When the process cannot be signalled.
    pub async fn stop(&mut self, grace: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.exited() {
            return Ok(status);
        }
        self.terminate()?;
        if self.wait_exit(grace).await.is_err() {
            self.kill()?;
        }
        self.wait_exit(grace).await
    }

    /// Starts the same program again, with the same arguments and ports. Kills it first if it still runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn respawn(&mut self) -> anyhow::Result<()> {
        if self.exited().is_none() {
            self.kill()?;
        }
        // The assignment drops (and so ends) what is left of the old process and its guard.
        *self = Self::spawn(self.spec.clone())?;
        Ok(())
    }

    /// Waits until `probe` says true.
    ///
    /// # Errors
    /// When the process ends first, or `bound` passes; both with the end of its log.
    pub async fn ready<F>(&mut self, bound: Duration, probe: impl Fn() -> F) -> anyhow::Result<()>
    where
        F: Future<Output = bool>,
    {
        let deadline = Instant::now() + bound;
        loop {
            if let Some(status) = self.exited() {
                bail!("{} ended while starting ({status}); its log ends:\n{}", self.name(), self.log_tail(15));
            }
            // A probe that hangs (a server that accepts and says nothing) counts as a no.
            if tokio::time::timeout(Duration::from_secs(2), probe()).await.unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{} was not ready within {bound:?}; its log ends:\n{}", self.name(), self.log_tail(15));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.terminate().is_ok() {
            // A paused process takes its SIGTERM only once it goes on.
            let _ = self.resume();
            let deadline = Instant::now() + DROP_GRACE;
            while self.exited().is_none() && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
            let _ = self.kill();
        }
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

/// A tiny shell that ends the process group `id`, and removes `litter`, when this program is gone, however it went: its
/// standard input is a pipe from here, which the kernel closes. (PR_SET_PDEATHSIG would need unsafe code, and fires when
/// the *thread* that started the child ends: a server shared by the tests of a binary would die with the first test.)
fn guard(id: u32, litter: Option<&Path>) -> anyhow::Result<Child> {
    // A killed process may still finish the system call it is in, and write a file after `rm` has been there.
    const SCRIPT: &str = r#"read -r _; kill -s KILL -- -"$1"; [ -z "$2" ] || { sleep 0.3; rm -rf -- "$2"; }"#;
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "guard", &id.to_string()])
        .arg(litter.unwrap_or(Path::new("")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own group, so that Ctrl-C at a terminal, which goes to the whole foreground group, does not end it.
        .process_group(0)
        .spawn()
        .context("cannot start /bin/sh")
}

/// Runs `start` up to five times: a free port may be taken by somebody else before the server binds it.
///
/// # Errors
/// The last attempt's.
pub async fn retry<T, F>(start: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    for _ in 0..4 {
        if let Ok(started) = start().await {
            return Ok(started);
        }
    }
    start().await
}

/// The full path of `program` on PATH, or where `scripts/setup` puts what it downloads: `.tools` of the workspace or
/// of a folder above it.
///
/// # Errors
/// When it is in neither place.
pub fn find_program(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .chain(workspace().ancestors().map(|dir| dir.join(".tools")))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .with_context(|| format!("{program} is not installed: run scripts/setup"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn who_was_told_to_end_is_not_told_again() {
        const SCRIPT: &str = r#"trap 'echo told' TERM; echo begun; until [ -e "$0" ]; do sleep 0.01; done"#;
        let dir = tempfile::tempdir().unwrap();
        let end = dir.path().join("end");
        let spec = Spec::new("patient", "/bin/sh", dir.path()).args(["-c".as_ref(), SCRIPT.as_ref(), end.as_os_str()]);
        let mut process = Process::spawn(spec).unwrap();
        let log = dir.path().join("patient.log");
        let logged = |line: &str| std::fs::read_to_string(&log).unwrap().matches(line).count();
        let bound = Duration::from_secs(20);
        process.ready(bound, async || logged("begun") == 1).await.unwrap();
        process.terminate().unwrap();
        process.ready(bound, async || logged("told") == 1).await.unwrap();
        let (status, wrote) = tokio::join!(process.stop(bound), async { std::fs::write(&end, "") });
        wrote.unwrap();
        assert!(status.unwrap().success());
        assert_eq!(logged("told"), 1);
    }
}
