//! Keys of one secret as they are configured, and the file that they come from.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use switchboard_core::key_ring::PREVIOUS_KEYS_MAX;
use switchboard_core::{KeyRing, Secret};

/// Maximum size of a file, in bytes.
const FILE_MAX_BYTES: u64 = 16 * 1024;

/// Keys of one secret, and the file that they come from.
#[derive(Clone, Debug)]
pub(super) struct ConfiguredKeys {
    /// Variable of the current secret.
    pub(super) name: &'static str,
    /// The keys.
    pub(super) ring: KeyRing,
    /// File of the keys, if they come from one.
    pub(super) file: Option<PathBuf>,
}

impl ConfiguredKeys {
    /// Returns the secrets, the current one first.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        self.ring.load().all().map(|key| key.secret().clone()).collect()
    }

    /// Returns the variable that sets the key with this index.
    pub(super) fn variable(&self, key: usize) -> String {
        match (&self.file, key) {
            (Some(_), _) => format!("{}_FILE", self.name),
            (None, 0) => self.name.to_owned(),
            (None, _) => format!("{}_PREVIOUS", self.name),
        }
    }
}

/// Reads a file: one key a line, the current one first. Blanks around a key and empty lines do not
/// count.
///
/// # Errors
/// The problem, without any content of the file.
pub(super) fn read_file(path: &Path) -> Result<Vec<Secret>, String> {
    let failed = |error: std::io::Error| format!("names a file that cannot be read: {}", error.kind());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(format!("names a file of more than {FILE_MAX_BYTES} bytes"));
    }
    let keys: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Secret::new).collect();
    match keys.len() {
        0 => Err("names a file without a key".to_owned()),
        count if count > 1 + PREVIOUS_KEYS_MAX => {
            Err(format!("names a file with more than {} keys", 1 + PREVIOUS_KEYS_MAX))
        }
        _ => Ok(keys),
    }
}
