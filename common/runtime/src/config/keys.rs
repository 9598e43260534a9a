//! Secrets that can be rotated: `NAME`, `NAME_PREVIOUS`, `NAME_FILE`.
//!
//! `NAME` is the secret that signs. `NAME_PREVIOUS` are up to 3 others, separated by commas, which
//! only verify. `NAME_FILE` names a file instead: its first line signs, the other lines only
//! verify. Private keys are the same, with sections of PEM in place of lines: see `access_keys`.
//! [`KeyFiles`] reads the files again while the process runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use switchboard_auth::{AccessKeys, PrivateKey};
use switchboard_core::failure_log::FailureLog;
use switchboard_core::key_ring::{Keys, PREVIOUS_KEYS_MAX};
use switchboard_core::{ClusterKey, KeyRing, RingKey, Secret};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access_keys::{DEV_ACCESS_SECRET, check_private_keys};
use super::configured_keys::{ConfiguredKeys, KeyText, private_keys_in, read_file, secrets_in};
use super::{Env, Mode};

/// Time between two reads of a file.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum time to read a file. A read that takes longer fails.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest key, in bytes: HS256 needs a key as long as its hash (RFC 7518, section 3.2).
const SECRET_MIN_BYTES: usize = 32;

/// Secrets from documentation and examples. They are public, so any reader could sign tokens.
const KNOWN_SECRETS: [&str; 6] = [
    DEV_ACCESS_SECRET,
    DEV_REFRESH_SECRET,
    "your-super-secret-access-key",
    "your-super-secret-refresh-key",
    "<strong-secret>",
    "<different-strong-secret>",
];
const DEV_REFRESH_SECRET: &str = "switchboard-development-refresh-secret";

/// Secrets that processes share. They must differ, so that one leaked secret reveals no other.
const SECRETS: [&str; 6] =
    ["JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET", "CLUSTER_SECRET", "TURN_SECRET", "WEBHOOK_SECRET", "APP_MASTER_KEY"];

/// Keys that processes share: those of tokens, `CLUSTER_SECRET`, `APP_MASTER_KEY`, and the files of
/// these, of `TURN_SECRET` and of `WEBHOOK_SECRET`.
#[derive(Clone, Debug)]
pub struct SecretsConfig {
    /// Keys of access, guest and join tokens.
    pub access: AccessKeys,
    /// Keys of refresh tokens.
    pub refresh: KeyRing,
    /// Keys with which nodes authenticate to each other. `None`: see [`Self::node_key`].
    pub cluster: Option<KeyRing>,
    /// Keys that encrypt the secrets of apps' API keys. `None`: there are no apps.
    pub app_master: Option<KeyRing>,
    /// Files with keys.
    pub files: KeyFiles,
}

impl SecretsConfig {
    /// Reads the keys. In production those of tokens must be set. There, no secret of this process
    /// may be a documented default, have fewer than 32 bytes, or be equal to another one.
    pub fn from_env(env: &mut Env, mode: Mode) -> Self {
        let (access, private_keys) = env.access_keys(mode);
        let refresh = env.required_key_ring(SECRETS[1], DEV_REFRESH_SECRET, mode, "must be set in production");
        let cluster = env.key_ring(SECRETS[2]);
        let app_master = env.key_ring(SECRETS[5]);
        let configured: Vec<_> = SECRETS.into_iter().filter_map(|name| env.configured_keys(name)).collect();
        for (index, keys) in configured.iter().enumerate() {
            if let Err((key, problem)) = keys.check(&keys.secrets(), mode, &configured[..index]) {
                env.reject(&keys.variable(key), problem);
            }
        }
        Self { access, refresh, cluster, app_master, files: KeyFiles { mode, all: configured, private_keys } }
    }

    /// Returns the key that hashes addresses of clients for bans.
    #[must_use]
    pub fn address_key(&self) -> ClusterKey {
        self.access.cluster_key(&self.refresh)
    }

    /// Returns the key with which nodes authenticate to each other: `CLUSTER_SECRET`, or else one
    /// that is derived from the keys of tokens.
    #[must_use]
    pub fn node_key(&self) -> ClusterKey {
        self.cluster.as_ref().map_or_else(|| self.address_key(), ClusterKey::derive)
    }
}

impl Env {
    /// Returns the keys of a secret that can be rotated, if it is set by `name`, or by `name` with
    /// `_FILE`. Every read of one secret returns the same ring.
    pub fn key_ring(&mut self, name: &'static str) -> Option<KeyRing> {
        self.configured_keys(name).map(|keys| keys.ring)
    }

    /// Returns the keys of a secret as [`Env::key_ring`] does, or that of `default`. If it is not
    /// set in production, adds the error `missing`.
    pub(super) fn required_key_ring(
        &mut self,
        name: &'static str,
        default: &str,
        mode: Mode,
        missing: &str,
    ) -> KeyRing {
        let given = self.key_ring(name);
        let variables = [name, &format!("{name}_PREVIOUS"), &format!("{name}_FILE")];
        if mode == Mode::Production && variables.into_iter().all(|variable| self.secret(variable).is_none()) {
            self.reject(name, format!("{missing}; NODE_ENV=development has public defaults"));
        }
        given.unwrap_or_else(|| default.into())
    }

    fn configured_keys(&mut self, name: &'static str) -> Option<ConfiguredKeys> {
        if let Some(read) = self.keys.get(name) {
            return read.clone();
        }
        let keys = self.read_keys(name).unwrap_or_else(|(variable, problem)| {
            self.reject(&variable, problem);
            None
        });
        self.keys.insert(name, keys.clone());
        keys
    }

    /// Reads the variables of a secret.
    ///
    /// # Errors
    /// The wrong variable and its problem.
    fn read_keys(&self, name: &'static str) -> Result<Option<ConfiguredKeys>, (String, String)> {
        let (secrets, file) = match self.key_text(name)? {
            None => return Ok(None),
            Some(KeyText::File(path, text)) => {
                (secrets_in(&text).map_err(|problem| (format!("{name}_FILE"), problem))?, Some(path))
            }
            Some(KeyText::Variables(_, previous)) if previous.len() > PREVIOUS_KEYS_MAX => {
                return Err((format!("{name}_PREVIOUS"), format!("must be at most {PREVIOUS_KEYS_MAX} secrets")));
            }
            Some(KeyText::Variables(current, previous)) => {
                (std::iter::once(current).chain(previous.into_iter().map(Secret::new)).collect(), None)
            }
        };
        let mut secrets = secrets.into_iter();
        Ok(secrets.next().map(|current| ConfiguredKeys { name, ring: KeyRing::new(current, secrets), file }))
    }

    /// Reads the text of the keys of a setting, if it is set.
    ///
    /// # Errors
    /// The wrong variable and its problem.
    pub(super) fn key_text(&self, name: &str) -> Result<Option<KeyText>, (String, String)> {
        let (previous_name, file_name) = (format!("{name}_PREVIOUS"), format!("{name}_FILE"));
        let previous = self.list(&previous_name, "");
        let file = self.optional(&file_name).map(PathBuf::from);
        match (self.secret(name), file) {
            (None, None) if previous.is_empty() => Ok(None),
            (None, None) => Err((previous_name, format!("needs {name}"))),
            (Some(_), Some(_)) => Err((file_name, format!("must not be set together with {name}"))),
            (None, Some(_)) if !previous.is_empty() => {
                Err((previous_name, format!("must be in the file of {file_name}, behind the current key")))
            }
            (None, Some(file)) => {
                let text = read_file(&file).map_err(|problem| (file_name, problem))?;
                Ok(Some(KeyText::File(file, text)))
            }
            (Some(current), None) => Ok(Some(KeyText::Variables(current, previous))),
        }
    }
}

impl ConfiguredKeys {
    /// Checks keys of this secret for production, where they must differ from each other and from
    /// those of `others`.
    ///
    /// # Errors
    /// The index of the first weak key and its problem.
    fn check(&self, keys: &[Secret], mode: Mode, others: &[Self]) -> Result<(), (usize, String)> {
        if mode == Mode::Development {
            return Ok(());
        }
        let others: Vec<(&str, Arc<Keys>)> = others.iter().map(|other| (other.name, other.ring.load())).collect();
        for (index, key) in keys.iter().enumerate() {
            let problem = if KNOWN_SECRETS.contains(&key.expose()) {
                Some("is a documented default".to_owned())
            } else if key.expose().len() < SECRET_MIN_BYTES {
                Some(format!("must have at least {SECRET_MIN_BYTES} bytes"))
            } else if keys[..index].contains(key) {
                Some("must not repeat a key".to_owned())
            } else {
                let same = others.iter().find(|(_, other)| other.all().any(|other| other.secret() == key));
                same.map(|(other, _)| format!("must differ from {other}"))
            };
            if let Some(problem) = problem {
                return Err((index, problem));
            }
        }
        Ok(())
    }
}

/// Files with keys. They are read again while the process runs, so that a rotation needs no
/// restart.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    mode: Mode,
    /// Keys of every secret, also of those without a file, because all must differ.
    all: Vec<ConfiguredKeys>,
    /// Private keys of access tokens.
    private_keys: Option<ConfiguredKeys<PrivateKey>>,
}

impl KeyFiles {
    /// Reads every file each 10 s until `stop` is cancelled, and replaces the keys of a file that
    /// has changed. While a file cannot be read, or has a key that would be refused at the start,
    /// its keys stay as they were. Each reason is logged once.
    pub async fn watch(self, stop: CancellationToken) {
        self.watch_every(RELOAD_INTERVAL, stop).await;
    }

    async fn watch_every(self, interval: Duration, stop: CancellationToken) {
        let (mut failures, started) = (FailureLog::default(), Instant::now());
        if !self.has_file() {
            return stop.cancelled().await;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop.cancelled() => return,
            }
            for keys in &self.all {
                let outcome = self.reload(keys).await;
                report(keys, outcome, &mut failures, started);
            }
            if let Some(keys) = &self.private_keys {
                let outcome = self.reload_private_keys().await;
                report(keys, outcome, &mut failures, started);
            }
        }
    }

    fn has_file(&self) -> bool {
        let has_private_keys = self.private_keys.as_ref().is_some_and(|keys| keys.file.is_some());
        has_private_keys || self.all.iter().any(|keys| keys.file.is_some())
    }

    /// Reads the file of a secret, if it has one. Returns whether its keys have changed.
    ///
    /// # Errors
    /// The reason why the keys stay as they are.
    async fn reload(&self, keys: &ConfiguredKeys) -> Result<bool, String> {
        let Some(file) = keys.file.clone() else { return Ok(false) };
        let secrets = secrets_in(&read_in_time(file).await?)?;
        if secrets == keys.secrets() {
            return Ok(false);
        }
        let others: Vec<_> = self.all.iter().filter(|other| other.name != keys.name).cloned().collect();
        keys.check(&secrets, self.mode, &others).map_err(|(index, problem)| format!("key {} {problem}", index + 1))?;
        let mut secrets = secrets.into_iter();
        if let Some(current) = secrets.next() {
            keys.ring.replace(current, secrets);
        }
        Ok(true)
    }

    /// Reads the file of the private keys, if there is one, as [`Self::reload`] does.
    pub(super) async fn reload_private_keys(&self) -> Result<bool, String> {
        let Some(keys) = &self.private_keys else { return Ok(false) };
        let Some(file) = keys.file.clone() else { return Ok(false) };
        let read = private_keys_in(&read_in_time(file).await?)?;
        if keys.has(&read) {
            return Ok(false);
        }
        check_private_keys(&read, self.mode).map_err(|(index, problem)| format!("key {} {problem}", index + 1))?;
        let mut read = read.into_iter();
        if let Some(current) = read.next() {
            keys.ring.replace_keys(current, read.collect());
        }
        Ok(true)
    }
}

/// Reads a file within [`READ_TIMEOUT`], on a thread that may block.
async fn read_in_time(file: PathBuf) -> Result<String, String> {
    let read = tokio::task::spawn_blocking(move || read_file(&file));
    let read = tokio::time::timeout(READ_TIMEOUT, read).await;
    let text = read.map_err(|_| "names a file that is not read in time".to_owned())?;
    text.map_err(|_| "the read of the file panicked".to_owned())?
}

/// Counts and logs the outcome of a read of a file: whether the keys have changed.
fn report<K: RingKey>(
    keys: &ConfiguredKeys<K>,
    outcome: Result<bool, String>,
    failures: &mut FailureLog<&'static str>,
    started: Instant,
) {
    let secret = keys.name;
    match outcome {
        Ok(false) => {
            failures.recovered(&secret);
        }
        Ok(true) => {
            counter!("switchboard_key_reloads_total", "outcome" => "loaded").increment(1);
            failures.recovered(&secret);
            let loaded = keys.ring.load();
            let key_id = loaded.current().id();
            tracing::info!(secret, key_id, keys = loaded.all().count(), "keys loaded");
        }
        Err(problem) => {
            counter!("switchboard_key_reloads_total", "outcome" => "refused").increment(1);
            if failures.failed(secret, &problem, started.elapsed()) {
                tracing::warn!(secret, problem, "key file refused; the keys stay as they are");
            }
        }
    }
}

#[cfg(test)]
mod tests;
