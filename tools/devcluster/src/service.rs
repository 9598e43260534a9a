//! Our own binaries and HAProxy as processes: their addresses, restarts and readiness.

use std::time::Duration;

use crate::process::{Process, Spec};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Ports of the api or of a node.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// Port of clients' requests.
    pub port: u16,
    /// Port of `/readyz`, `/livez` and `/metrics`.
    pub admin: u16,
}

/// A process that serves HTTP on this machine.
#[derive(Debug)]
pub struct Service {
    process: Process,
    url: String,
    probe: String,
}

impl Service {
    /// Starts a process that listens on `port` of 127.0.0.1. Returns when a `GET` of the URL
    /// `probe` succeeds.
    ///
    /// # Errors
    /// When it does not start, ends, or is not ready within 30 s.
    pub async fn start(spec: Spec, port: u16, probe: String) -> anyhow::Result<Self> {
        Self::start_at(spec, local(port), probe).await
    }

    /// Starts a process with the base URL `url`. Returns when a `GET` of the URL `probe` succeeds.
    ///
    /// # Errors
    /// When it does not start, ends, or is not ready within 30 s.
    pub async fn start_at(spec: Spec, url: String, probe: String) -> anyhow::Result<Self> {
        let mut service = Self { process: Process::spawn(spec)?, url, probe };
        service.wait_ready().await?;
        Ok(service)
    }

    /// Base URL: `http://127.0.0.1:<port>` unless it listens on another address.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Name in messages, and of its log file.
    #[must_use]
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// The process, to signal it (pause, kill, terminate) and to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts a second process of the same program beside this one, as a Deployment starts its next
    /// pod. `env` is added to its environment. It is ready when this returns.
    ///
    /// # Errors
    /// When it does not start, ends, or is not ready within 30 s.
    pub async fn successor(
        &self,
        name: &str,
        env: &[(&str, String)],
        Backend { port, admin }: Backend,
    ) -> anyhow::Result<Self> {
        let spec = env.iter().fold(self.process.spec().renamed(name), |spec, (key, value)| spec.env(*key, value));
        Self::start(spec, port, format!("{}/readyz", local(admin))).await
    }

    /// Process id. [`Service::restart`] changes it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the process if it runs and starts it again on the same ports. It is ready when this
    /// returns.
    ///
    /// # Errors
    /// When it cannot be killed or started, ends, or is not ready within 30 s.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.respawn()?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let client = reqwest::Client::new();
        let probe = &self.probe;
        self.process
            .wait_ready(START_TIMEOUT, || async {
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
