//! Keys of one setting as they are configured, and the file that they come from.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use switchboard_auth::PrivateKey;
use switchboard_core::key_ring::{Key, PREVIOUS_KEYS_MAX};
use switchboard_core::{KeyRing, RingKey, Secret};

/// Maximum size of a file, in bytes.
const FILE_MAX_BYTES: u64 = 16 * 1024;

/// Keys of one setting, and the file that they come from.
#[derive(Debug)]
pub(super) struct ConfiguredKeys<K: RingKey = Key> {
    /// Variable of the current key.
    pub(super) name: &'static str,
    /// The keys.
    pub(super) ring: KeyRing<K>,
    /// File of the keys, if they come from one.
    pub(super) file: Option<PathBuf>,
}

impl<K: RingKey> Clone for ConfiguredKeys<K> {
    /// Returns a value that shares the keys.
    fn clone(&self) -> Self {
        Self { name: self.name, ring: self.ring.clone(), file: self.file.clone() }
    }
}

impl<K: RingKey> ConfiguredKeys<K> {
    /// Returns the variable that sets the key with this index.
    pub(super) fn variable(&self, key: usize) -> String {
        match (&self.file, key) {
            (Some(_), _) => format!("{}_FILE", self.name),
            (None, 0) => self.name.to_owned(),
            (None, _) => format!("{}_PREVIOUS", self.name),
        }
    }

    /// Returns whether these are the present keys, in the same order.
    pub(super) fn has(&self, keys: &[K]) -> bool {
        self.ring.load().all().map(RingKey::id).eq(keys.iter().map(RingKey::id))
    }
}

impl ConfiguredKeys {
    /// Returns the secrets, the current one first.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        self.ring.load().all().map(|key| key.secret().clone()).collect()
    }
}

/// Text in which the keys of a setting are configured.
pub(super) enum KeyText {
    /// Variables: the current key, and the previous ones.
    Variables(Secret, Vec<String>),
    /// Content of a file.
    File(PathBuf, String),
}

/// Reads the text of a file.
///
/// # Errors
/// The problem, without any content of the file.
pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("names a file that cannot be read: {}", error.kind());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(format!("names a file of more than {FILE_MAX_BYTES} bytes"));
    }
    Ok(text)
}

/// Returns the secrets in the text of a file: one a line, the current one first. Blanks around a
/// secret and empty lines do not count.
///
/// # Errors
/// There are none or too many.
pub(super) fn secrets_in(text: &str) -> Result<Vec<Secret>, String> {
    bounded(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Secret::new).collect())
}

/// Returns the private keys in the text of a file: one PEM section after the other, the current one
/// first.
///
/// # Errors
/// There is none, or one cannot be used.
pub(super) fn private_keys_in(text: &str) -> Result<Vec<PrivateKey>, String> {
    let keys = PrivateKey::read_all(text).map_err(|problem| format!("names a file whose keys {problem}"))?;
    bounded(keys)
}

fn bounded<K>(keys: Vec<K>) -> Result<Vec<K>, String> {
    match keys.len() {
        0 => Err("names a file without a key".to_owned()),
        count if count > 1 + PREVIOUS_KEYS_MAX => {
            Err(format!("names a file with more than {} keys", 1 + PREVIOUS_KEYS_MAX))
        }
        _ => Ok(keys),
    }
}
