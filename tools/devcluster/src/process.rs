//! A child process with a log, signals, and a bounded wait for readiness. It cannot outlive the
//! program that started it. The file has more than 400 lines, because spawning, signals and the
//! guard share the private state of one type.

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

/// Time between two checks whether the process has ended or is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Time between the SIGTERM and the SIGKILL of [`Drop`].
const DROP_GRACE: Duration = Duration::from_secs(3);
/// How long one probe of [`Process::wait_ready`] may take. A longer one has failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of lines of the log in an error message.
const ERROR_LOG_LINES: usize = 15;

/// Lines of a log that are also copied to standard output, after the process's name.
#[derive(Clone, Copy, Debug, Default)]
pub enum Echo {
    /// No line.
    #[default]
    Off,
    /// Every line.
    All,
    /// Lines for which the function returns true.
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

/// Program, arguments and environment of a process, so that it can be started again.
#[derive(Clone, Debug)]
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    log: PathBuf,
    echo: Echo,
    temporary: Option<PathBuf>,
}

impl Spec {
    /// A process named `name` in messages, which logs both of its streams to `<dir>/<name>.log`.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, dir: &Path) -> Self {
        let name = name.into();
        let log = dir.join(format!("{name}.log"));
        Self { name, program: program.into(), args: Vec::new(), env: Vec::new(), log, echo: Echo::Off, temporary: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment. All others are inherited.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.env.push((key.into(), value.to_string()));
        self
    }

    /// Also copies lines of the log to standard output.
    #[must_use]
    pub fn echo(mut self, echo: Echo) -> Self {
        self.echo = echo;
        self
    }

    /// Sets a temporary directory that the guard removes when this program ends without dropping
    /// the process. Tests of one binary share servers in statics, which are never dropped.
    #[must_use]
    pub fn temporary(mut self, dir: Option<&Path>) -> Self {
        self.temporary = dir.map(Path::to_owned);
        self
    }

    /// Returns the same process with another name and another log.
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
            // The thread ends when the child and its children have ended, because the pipe closes.
            std::thread::spawn(move || copy_lines(&name, echo, BufReader::new(reader), log));
        }
        command.spawn().with_context(|| format!("cannot start {} ({})", self.name, self.program.display()))
    }
}

fn copy_lines(name: &str, echo: Echo, mut from: impl BufRead, mut log: File) {
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        // Errors are ignored: after a full disk or a closed terminal the pipe must still be read,
        // because the child blocks when the pipe is full.
        let _ = log.write_all(&line);
        let text = String::from_utf8_lossy(&line);
        if echo.shows(&text) {
            let _ = writeln!(std::io::stdout().lock(), "{name:>8} | {}", text.trim_end());
        }
        line.clear();
    }
}

/// A child process, running or ended, that leads its own process group. Dropping it ends the group.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    child: Child,
    status: Option<ExitStatus>,
    /// Whether SIGTERM was sent.
    terminated: bool,
    guard: Child,
}

impl Process {
    /// Starts a process.
    ///
    /// # Errors
    /// When the program or its log cannot be opened.
    pub fn spawn(spec: Spec) -> anyhow::Result<Self> {
        // The guard comes first: a program that is killed between the two starts would leave the
        // child behind.
        let mut guard = spawn_guard(spec.temporary.as_deref())?;
        let started = spec.spawn().and_then(|mut child| {
            let sent = guard.stdin.as_mut().map(|stdin| writeln!(stdin, "{}", child.id()));
            match sent {
                Some(Ok(())) => Ok(child),
                Some(Err(_)) | None => {
                    let _ = child.kill();
                    let _ = child.wait();
                    bail!("cannot send the process id of {} to its guard", spec.name)
                }
            }
        });
        match started {
            Ok(child) => Ok(Self { spec, child, status: None, terminated: false, guard }),
            Err(error) => {
                let _ = guard.kill();
                let _ = guard.wait();
                Err(error)
            }
        }
    }

    /// Name in messages, and of its log file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns the input of [`Process::spawn`], to start another such process.
    #[must_use]
    pub fn spec(&self) -> Spec {
        self.spec.clone()
    }

    /// Process id, which is also the id of the process group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the last `lines` lines of the log.
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

    /// Exit status. `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Sends SIGSTOP: the process does nothing and keeps its sockets open.
    ///
    /// # Errors
    /// When the process has ended or cannot be signalled.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Sends SIGCONT: the process continues after [`Process::pause`].
    ///
    /// # Errors
    /// When the process has ended or cannot be signalled.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends SIGTERM and does not wait. Later calls send nothing, because our services end without
    /// a drain after a second SIGTERM.
    ///
    /// # Errors
    /// When the process has ended or cannot be signalled.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        if self.terminated && self.exit_status().is_none() {
            return Ok(());
        }
        self.signal(Signal::TERM)?;
        self.terminated = true;
        Ok(())
    }

    /// Sends SIGINT, as Ctrl-C does, and does not wait.
    ///
    /// # Errors
    /// When the process has ended or cannot be signalled.
    pub fn interrupt(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::INT)
    }

    /// Sends SIGKILL and waits until the process has ended.
    ///
    /// # Errors
    /// When the process has ended before, cannot be signalled, or its exit status cannot be read.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.status = Some(self.child.wait()?);
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        // The system may have given the id of an ended child to another process.
        if let Some(status) = self.exit_status() {
            bail!("{} has already ended ({status})", self.name());
        }
        let group = Pid::from_child(&self.child);
        kill_process_group(group, signal).with_context(|| format!("cannot signal {}", self.name()))
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    /// When it still runs after `timeout`.
    pub async fn wait_exit(&mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {timeout:?}", self.name());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Sends SIGTERM, and SIGKILL after `grace`. Returns the exit status when the process has
    /// ended. A process that has ended before gets no signal.
    ///
    /// # Errors
    /// When the process cannot be signalled, when it ends by itself at the moment of a signal, or
    /// when its exit status cannot be read.
    pub async fn stop(&mut self, grace: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.exit_status() {
            return Ok(status);
        }
        self.terminate()?;
        if self.wait_exit(grace).await.is_err() {
            self.kill()?;
        }
        self.wait_exit(grace).await
    }

    /// Sets a variable of the environment of the next process: after [`Process::respawn`], or of a
    /// successor.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.spec = self.spec.clone().env(key, value);
    }

    /// Sets the program of the next process, as [`Process::set_env`] sets a variable.
    pub fn set_program(&mut self, program: PathBuf) {
        self.spec.program = program;
    }

    /// Kills the process if it runs and starts it again with the same arguments.
    ///
    /// # Errors
    /// When it cannot be killed or started.
    pub fn respawn(&mut self) -> anyhow::Result<()> {
        if self.exit_status().is_none() {
            self.kill()?;
        }
        // The assignment drops, and so ends, the old process group and its guard.
        *self = Self::spawn(self.spec.clone())?;
        Ok(())
    }

    /// Waits until `probe` returns true.
    ///
    /// # Errors
    /// When the process ends first, or after `timeout`. The message has the end of its log.
    pub async fn wait_ready<F>(&mut self, timeout: Duration, probe: impl Fn() -> F) -> anyhow::Result<()>
    where
        F: Future<Output = bool>,
    {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exit_status() {
                bail!(
                    "{} ended while starting ({status}); its log ends:\n{}",
                    self.name(),
                    self.log_tail(ERROR_LOG_LINES)
                );
            }
            if tokio::time::timeout(PROBE_TIMEOUT, probe()).await.unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} was not ready within {timeout:?}; its log ends:\n{}",
                    self.name(),
                    self.log_tail(ERROR_LOG_LINES)
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.terminate().is_ok() {
            // A paused process handles SIGTERM after SIGCONT.
            let _ = self.resume();
            let deadline = Instant::now() + DROP_GRACE;
            while self.exit_status().is_none() && Instant::now() < deadline {
                std::thread::sleep(POLL_INTERVAL);
            }
            let _ = self.kill();
        }
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

/// Starts a shell that reads the id of a process group from its standard input. It kills that group
/// and removes `temporary` when this program has ended for any reason: its standard input is a pipe
/// from this program, which the kernel closes.
///
/// PR_SET_PDEATHSIG would need unsafe code. It also acts when the *thread* that started the child
/// ends, so a server that the tests of a binary share would end with the first test.
fn spawn_guard(temporary: Option<&Path>) -> anyhow::Result<Child> {
    // A killed process finishes its current system call, which may write a file. `rm` must come
    // later.
    const SCRIPT: &str = r#"read -r id; read -r _; [ -z "$id" ] || kill -s KILL -- "-$id"; [ -z "$1" ] || { sleep 0.3; rm -rf -- "$1"; }"#;
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "guard"])
        .arg(temporary.unwrap_or(Path::new("")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own, because Ctrl-C at a terminal ends the whole foreground group.
        .process_group(0)
        .spawn()
        .context("cannot start /bin/sh")
}

/// Calls `start` up to 5 times, because another program may take a free port before the server
/// binds it.
///
/// # Errors
/// That of the last attempt.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    #[tokio::test]
    async fn a_process_gets_sigterm_once() {
        const SCRIPT: &str = r#"trap 'echo terminated' TERM; echo begun; until [ -e "$0" ]; do sleep 0.01; done"#;
        let dir = tempfile::tempdir().unwrap();
        let end = dir.path().join("end");
        let spec = Spec::new("patient", "/bin/sh", dir.path()).args(["-c".as_ref(), SCRIPT.as_ref(), end.as_os_str()]);
        let mut process = Process::spawn(spec).unwrap();
        let log = dir.path().join("patient.log");
        let logged = |line: &str| std::fs::read_to_string(&log).unwrap().matches(line).count();
        let timeout = Duration::from_secs(20);
        process.wait_ready(timeout, async || logged("begun") == 1).await.unwrap();
        process.terminate().unwrap();
        process.wait_ready(timeout, async || logged("terminated") == 1).await.unwrap();
        let (status, wrote) = tokio::join!(process.stop(timeout), async { std::fs::write(&end, "") });
        wrote.unwrap();
        assert!(status.unwrap().success());
        assert_eq!(logged("terminated"), 1);
    }
}
