//! Our own binaries and HAProxy as processes: where they listen, how they are started again, when they are ready.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::haproxy::Backend;
use crate::process::{Process, Spec};

const START: Duration = Duration::from_secs(30);

/// A process that serves HTTP on 127.0.0.1.
#[derive(Debug)]
pub struct Service {
    process: Process,
    port: u16,
    probe: String,
}

impl Service {
    /// Starts a process that listens on `port` and waits until `GET` of the address `probe` succeeds.
    ///
    /// # Errors
    /// When it does not start, ends, or is not ready within 30 s.
    pub async fn start(spec: Spec, port: u16, probe: String) -> anyhow::Result<Self> {
        let mut service = Self { process: Process::spawn(spec)?, port, probe };
        service.wait_ready().await?;
        Ok(service)
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        local(self.port)
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// The process: its signals (pause, kill, terminate, ...) and its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts another one of its kind, with `env` on top of its environment, beside it: a Deployment's next pod. It listens on
    /// `port`, and is ready when this returns.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn successor(
        &self,
        name: &str,
        env: &[(&str, String)],
        Backend { port, admin }: Backend,
    ) -> anyhow::Result<Self> {
        let spec = env.iter().fold(self.process.spec().renamed(name), |spec, (key, value)| spec.env(*key, value));
        Self::start(spec, port, format!("{}/readyz", local(admin))).await
    }

    /// Its process id; another one after [`Service::restart`].
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Starts it again on the same ports, killing it first if it runs; ready when this returns.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.respawn()?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let client = reqwest::Client::new();
        let probe = &self.probe;
        self.process
            .ready(START, || async {
                client.get(probe).send().await.is_ok_and(|response| response.status().is_success())
            })
            .await
    }
}

/// `http://127.0.0.1:<port>`.
#[must_use]
pub fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// One of the workspace's binaries: in `SWITCHBOARD_BIN_DIR` if set, else beside the running program (a test's program
/// is one directory below them).
///
/// # Errors
/// When it is not built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let directory = match std::env::var_os("SWITCHBOARD_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let program = std::env::current_exe()?;
            let directory = program.parent().context("the running program has no directory")?;
            if directory.ends_with("deps") { directory.join("..") } else { directory.to_owned() }
        }
    };
    let file = directory.join(name);
    if !file.is_file() {
        bail!(
            "{} is not built: run `cargo build --workspace`, or name its place in SWITCHBOARD_BIN_DIR",
            file.display()
        );
    }
    Ok(file)
}

/// The workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    let this = Path::new(env!("CARGO_MANIFEST_DIR"));
    this.ancestors().nth(2).unwrap_or(this)
}
