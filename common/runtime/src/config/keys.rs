//! Secrets that can be rotated: `NAME`, `NAME_PREVIOUS`, `NAME_FILE`.
//!
//! `NAME` is the secret that signs. `NAME_PREVIOUS` are up to 3 others, separated by commas, which
//! only verify. `NAME_FILE` names a file instead: its first line signs, the other lines only
//! verify. [`KeyFiles`] reads the files again while the process runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use switchboard_core::failure_log::FailureLog;
use switchboard_core::key_ring::{Keys, PREVIOUS_KEYS_MAX};
use switchboard_core::{KeyRing, Secret};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::configured_keys::{ConfiguredKeys, read_file};
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
const DEV_ACCESS_SECRET: &str = "switchboard-development-access-secret";
const DEV_REFRESH_SECRET: &str = "switchboard-development-refresh-secret";

/// Secrets that processes share. They must differ, so that one leaked secret reveals no other.
const SECRETS: [&str; 6] =
    ["JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET", "CLUSTER_SECRET", "TURN_SECRET", "WEBHOOK_SECRET", "APP_MASTER_KEY"];

/// Secrets that processes share: `JWT_ACCESS_SECRET`, `JWT_REFRESH_SECRET`, `CLUSTER_SECRET`,
/// `APP_MASTER_KEY`, and the files of these, of `TURN_SECRET` and of `WEBHOOK_SECRET`.
#[derive(Clone, Debug)]
pub struct SecretsConfig {
    /// Keys of access, guest and join tokens.
    pub access: KeyRing,
    /// Keys of refresh tokens.
    pub refresh: KeyRing,
    /// Keys with which nodes authenticate to each other. `None`: those of access tokens.
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
        let given = |env: &mut Env, name, default: &str| {
            let given = env.key_ring(name);
            let is_set = [name, &format!("{name}_PREVIOUS"), &format!("{name}_FILE")]
                .into_iter()
                .any(|variable| env.secret(variable).is_some());
            if mode == Mode::Production && !is_set {
                env.reject(name, "must be set in production; NODE_ENV=development has public defaults");
            }
            given.unwrap_or_else(|| default.into())
        };
        let access = given(env, SECRETS[0], DEV_ACCESS_SECRET);
        let refresh = given(env, SECRETS[1], DEV_REFRESH_SECRET);
        let cluster = env.key_ring(SECRETS[2]);
        let app_master = env.key_ring(SECRETS[5]);
        let configured: Vec<_> = SECRETS.into_iter().filter_map(|name| env.configured_keys(name)).collect();
        for (index, keys) in configured.iter().enumerate() {
            if let Err((key, problem)) = keys.check(&keys.secrets(), mode, &configured[..index]) {
                env.reject(&keys.variable(key), problem);
            }
        }
        Self { access, refresh, cluster, app_master, files: KeyFiles { mode, all: configured } }
    }
}

impl Env {
    /// Returns the keys of a secret that can be rotated, if it is set by `name`, or by `name` with
    /// `_FILE`. Every read of one secret returns the same ring.
    pub fn key_ring(&mut self, name: &'static str) -> Option<KeyRing> {
        self.configured_keys(name).map(|keys| keys.ring)
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
        let (previous_name, file_name) = (format!("{name}_PREVIOUS"), format!("{name}_FILE"));
        let previous = self.list(&previous_name, "");
        let file = self.optional(&file_name).map(PathBuf::from);
        let (secrets, file) = match (self.secret(name), file) {
            (None, None) if previous.is_empty() => return Ok(None),
            (None, None) => return Err((previous_name, format!("needs {name}"))),
            (Some(_), Some(_)) => return Err((file_name, format!("must not be set together with {name}"))),
            (None, Some(_)) if !previous.is_empty() => {
                return Err((previous_name, format!("must be further lines of the file in {file_name}")));
            }
            (None, Some(file)) => (read_file(&file).map_err(|problem| (file_name, problem))?, Some(file)),
            (Some(_), None) if previous.len() > PREVIOUS_KEYS_MAX => {
                return Err((previous_name, format!("must be at most {PREVIOUS_KEYS_MAX} secrets")));
            }
            (Some(current), None) => {
                (std::iter::once(current).chain(previous.into_iter().map(Secret::new)).collect(), None)
            }
        };
        let mut secrets = secrets.into_iter();
        Ok(secrets.next().map(|current| ConfiguredKeys { name, ring: KeyRing::new(current, secrets), file }))
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
        while self.all.iter().any(|keys| keys.file.is_some()) {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop.cancelled() => return,
            }
            for keys in &self.all {
                let secret = keys.name;
                match self.reload(keys).await {
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
        }
    }

    /// Reads the file of a secret, if it has one. Returns whether its keys have changed.
    ///
    /// # Errors
    /// The reason why the keys stay as they are.
    async fn reload(&self, keys: &ConfiguredKeys) -> Result<bool, String> {
        let Some(file) = keys.file.clone() else { return Ok(false) };
        let read = tokio::task::spawn_blocking(move || read_file(&file));
        let read = tokio::time::timeout(READ_TIMEOUT, read).await;
        let secrets = read.map_err(|_| "names a file that is not read in time".to_owned())?;
        let secrets = secrets.map_err(|_| "the read of the file panicked".to_owned())??;
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "123456789abcdef0123456789abcdef0";
    const NEXT: &str = "23456789abcdef0123456789abcdef01";
    const REFRESH: &str = "fedcba9876543210fedcba9876543210";

    /// Reads all secrets in production.
    fn read(variables: &[(&str, &str)]) -> Result<SecretsConfig, String> {
        let refresh = [("JWT_REFRESH_SECRET", REFRESH)];
        let mut env = Env::new(variables.iter().chain(&refresh).copied());
        let secrets = SecretsConfig::from_env(&mut env, Mode::Production);
        env.finish().map(|()| secrets).map_err(|errors| errors.to_string())
    }

    fn texts(ring: &KeyRing) -> Vec<String> {
        ring.load().all().map(|key| key.secret().expose().to_owned()).collect()
    }

    #[test]
    fn a_secret_is_followed_by_its_previous_ones_and_every_reader_gets_the_same_ring() {
        let previous = format!(" {NEW}, {NEXT} ,");
        let mut env = Env::new([("JWT_ACCESS_SECRET", OLD), ("JWT_ACCESS_SECRET_PREVIOUS", &previous)]);
        let ring = env.key_ring("JWT_ACCESS_SECRET").unwrap();
        assert_eq!(texts(&ring), [OLD, NEW, NEXT]);
        let same = env.key_ring("JWT_ACCESS_SECRET").unwrap();
        ring.replace(Secret::new("replaced"), []);
        assert_eq!(texts(&same), ["replaced"]);
        assert!(env.key_ring("CLUSTER_SECRET").is_none());
    }

    #[test]
    fn wrong_and_weak_previous_secrets_are_refused_with_their_variable_and_without_their_value() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let (current, previous) = ("JWT_ACCESS_SECRET", "JWT_ACCESS_SECRET_PREVIOUS");
        let many = [OLD, NEW, NEXT, REFRESH].join(",");
        let cases: [(&[(&str, &str)], &str); 9] = [
            (&[(current, OLD), (previous, "short")], "_PREVIOUS: must have at least 32 bytes"),
            (&[(current, OLD), (previous, DEV_ACCESS_SECRET)], "_PREVIOUS: is a documented default"),
            (&[(current, OLD), (previous, OLD)], "_PREVIOUS: must not repeat a key"),
            (&[(current, OLD), (previous, &many)], "_PREVIOUS: must be at most 3 secrets"),
            (&[(previous, OLD)], "_PREVIOUS: needs JWT_ACCESS_SECRET"),
            (&[(current, REFRESH)], "JWT_REFRESH_SECRET: must differ from JWT_ACCESS_SECRET"),
            (&[(current, OLD), ("JWT_ACCESS_SECRET_FILE", path)], "_FILE: must not be set together with"),
            (&[("JWT_ACCESS_SECRET_FILE", path)], "_FILE: names a file without a key"),
            (&[("JWT_ACCESS_SECRET_FILE", path), (previous, OLD)], "_PREVIOUS: must be further lines of the file"),
        ];
        for (variables, expected) in cases {
            let error = read(variables).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(!error.contains(OLD) && !error.contains("short"), "{error}");
        }
        let absent = read(&[("JWT_ACCESS_SECRET_FILE", "/nowhere/keys")]).unwrap_err();
        assert_eq!(absent, "JWT_ACCESS_SECRET_FILE: names a file that cannot be read: entity not found");
        std::fs::write(path, format!("{OLD}\n{REFRESH}\n")).unwrap();
        let same = read(&[("JWT_ACCESS_SECRET_FILE", path)]).unwrap_err();
        assert_eq!(same, "JWT_REFRESH_SECRET: must differ from JWT_ACCESS_SECRET");
    }

    #[tokio::test]
    async fn a_file_that_changes_replaces_the_keys_and_a_bad_one_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access");
        std::fs::write(&path, format!("\r\n  {OLD} \r\n\n")).unwrap();
        let secrets = read(&[("JWT_ACCESS_SECRET_FILE", path.to_str().unwrap())]).unwrap();
        let access = secrets.files.all.iter().find(|keys| keys.name == "JWT_ACCESS_SECRET").unwrap();
        assert_eq!(texts(&secrets.access), [OLD]);
        assert_eq!(secrets.files.reload(access).await, Ok(false), "unchanged");

        std::fs::write(&path, format!("{NEW}\n{OLD}\n")).unwrap();
        assert_eq!(secrets.files.reload(access).await, Ok(true));
        assert_eq!(texts(&secrets.access), [NEW, OLD]);

        let bad = [
            ("short\n".to_owned(), "key 1 must have at least 32 bytes"),
            (format!("{NEXT}\nshort"), "key 2 must have at least 32 bytes"),
            (format!("{NEXT}\n{NEXT}"), "key 2 must not repeat a key"),
            (DEV_REFRESH_SECRET.to_owned(), "key 1 is a documented default"),
            (REFRESH.to_owned(), "key 1 must differ from JWT_REFRESH_SECRET"),
            ("\n \n".to_owned(), "names a file without a key"),
            (format!("{OLD}\n").repeat(5), "names a file with more than 4 keys"),
            ("x".repeat(20_000), "names a file of more than 16384 bytes"),
        ];
        for (content, problem) in bad {
            std::fs::write(&path, content).unwrap();
            assert_eq!(secrets.files.reload(access).await, Err(problem.to_owned()));
            assert_eq!(texts(&secrets.access), [NEW, OLD]);
        }
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert_eq!(
            secrets.files.reload(access).await,
            Err("names a file that cannot be read: invalid data".to_owned())
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            secrets.files.reload(access).await,
            Err("names a file that cannot be read: entity not found".to_owned())
        );
        assert_eq!(texts(&secrets.access), [NEW, OLD]);
        std::fs::write(&path, NEXT).unwrap();
        assert_eq!(secrets.files.reload(access).await, Ok(true));
        assert_eq!(texts(&secrets.access), [NEXT]);
    }

    #[tokio::test]
    async fn the_watch_loads_a_change_and_ends_when_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access");
        std::fs::write(&path, OLD).unwrap();
        let secrets = read(&[("JWT_ACCESS_SECRET_FILE", path.to_str().unwrap())]).unwrap();
        let stop = CancellationToken::new();
        let watch = tokio::spawn(secrets.files.clone().watch_every(Duration::from_millis(5), stop.clone()));
        std::fs::write(&path, NEW).unwrap();
        let loaded = async {
            while texts(&secrets.access) != [NEW] {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), loaded).await.unwrap();
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), watch).await.unwrap().unwrap();
    }
}
