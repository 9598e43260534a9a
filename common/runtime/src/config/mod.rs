//! Configuration from environment variables, read once at the start.
//!
//! A binary reads its settings through one [`Env`] and then calls [`Env::finish`], which reports
//! all errors together, so that an operator can fix them in one step. An error never repeats a
//! value, because the value may be a secret. An empty variable counts as unset, as in the `.env`
//! files of the old Node.js backend. Unknown variables are ignored.
//!
//! | file | content |
//! |---|---|
//! | `access_keys` | keys of access tokens: secrets and private keys |
//! | `configured_keys` | keys of one setting, and their file |
//! | `groups` | groups of settings that both services have |
//! | `keys` | secrets that can be rotated, and the watch of the files of all keys |
//! | `urls` | settings that are URLs |

mod access_keys;
mod configured_keys;
mod groups;
mod keys;
pub mod urls;

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

pub use groups::{
    ICE_DEFAULT_STUN, IceSettings, LogConfig, LogFormat, Mode, MongoConfig, OriginsConfig, ROOM_CREATE_RATE,
    RedisConfig, TelemetryConfig, TraceConfig, keep_alive, passcode_rates, trusted_proxies, turn_rates,
};
pub use keys::{KeyFiles, SecretsConfig};
pub use switchboard_core::Secret;
use switchboard_core::domain::Rate;
pub use urls::UrlParts;

use configured_keys::ConfiguredKeys;

/// Exit code of a process with an invalid configuration: EX_USAGE of sysexits.h.
pub const EXIT_CONFIG: u8 = 64;

/// Error of one variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the variable.
    pub name: String,
    /// Problem, without the value.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

/// All errors of a configuration. Displayed as one line for each error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Environment variables, and the errors found so far.
#[derive(Debug)]
pub struct Env {
    variables: HashMap<String, Secret>,
    /// Keys that were read, so that every reader of a secret gets the same ring.
    keys: HashMap<&'static str, Option<ConfiguredKeys>>,
    errors: Vec<ConfigError>,
}

impl Env {
    /// Creates a reader of these variables: `std::env::vars()` in a binary, a literal in a test.
    pub fn new<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into().trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, Secret::new(value)))
            .collect();
        Self { variables, keys: HashMap::new(), errors: Vec::new() }
    }

    /// Returns the text of a variable, if it is set.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| value.expose().to_owned())
    }

    /// Returns the text of a variable, or `default`.
    #[must_use]
    pub fn text(&self, name: &str, default: &str) -> String {
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    /// Returns the text of a required variable. If it is not set, adds an error and returns an
    /// empty text.
    pub fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.reject(name, "is not set");
            String::new()
        })
    }

    /// Returns a secret, if it is set.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.variables.get(name).cloned()
    }

    /// Returns the value that `read` parses, or `default`. `expected` completes the error message
    /// "must be ...".
    pub fn parsed<T>(&mut self, name: &str, default: T, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> T {
        let Some(value) = self.variables.get(name) else { return default };
        read(value.expose()).unwrap_or_else(|| {
            self.reject(name, format!("must be {expected}"));
            default
        })
    }

    /// Returns the value that `read` parses, or `default`. The parser's error becomes the message,
    /// so it must not repeat the text.
    pub fn checked<T, E: fmt::Display>(
        &mut self,
        name: &str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        let Some(value) = self.variables.get(name) else { return default };
        match read(value.expose()) {
            Ok(value) => value,
            Err(problem) => {
                self.reject(name, problem.to_string());
                default
            }
        }
    }

    /// Returns a number within `range`, or `default`.
    pub fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.parsed(name, default, &expected, |text| text.parse().ok().filter(|number| range.contains(number)))
    }

    /// Returns a rate such as `60/30` (requests/seconds), or `default`, written the same way. 0
    /// means no limit.
    pub fn rate(&mut self, name: &str, default: &str) -> Option<Rate> {
        let expected = "0, or requests/seconds such as 60/30";
        self.parsed(name, Rate::parse(default).flatten(), expected, Rate::parse)
    }

    /// Returns a TCP port, or `default`. With port 0 the system chooses a port.
    pub fn port(&mut self, name: &str, default: u16) -> u16 {
        self.number(name, default, 0..=u16::MAX)
    }

    /// Returns a duration in whole seconds within `range`, or `default` seconds.
    pub fn seconds(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, default, range))
    }

    /// Returns a duration in whole milliseconds within `range`, or `default` milliseconds.
    pub fn millis(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(name, default, range))
    }

    /// Returns `true` or `false` (also written `1`, `0`, `yes`, `no`, `on`, `off`), or `default`.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// Returns a comma-separated list, without empty items and without spaces around items.
    /// `default` is written the same way.
    #[must_use]
    pub fn list(&self, name: &str, default: &str) -> Vec<String> {
        let text = self.text(name, default);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// Returns an absolute address with one of these schemes (such as `https`), or `default`. An
    /// address with a part that the setting does not honour is an error.
    pub fn url(&mut self, name: &str, default: &str, schemes: &[&str], honoured: UrlParts) -> String {
        self.checked(name, default.to_owned(), |text| urls::parse(text, schemes, honoured).map(|_| text.to_owned()))
    }

    /// Checks each entry of a list. An entry that is refused is an error with its number.
    pub fn check_each<T, E: fmt::Display>(
        &mut self,
        name: &str,
        entries: &[String],
        check: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let mut checked = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            match check(entry) {
                Ok(value) => checked.push(value),
                Err(problem) => self.reject(name, format!("entry {} {problem}", index + 1)),
            }
        }
        checked
    }

    /// Adds an error for a variable, for rules over several variables.
    pub fn reject(&mut self, name: &str, problem: impl Into<String>) {
        self.errors.push(ConfigError { name: name.to_owned(), problem: problem.into() });
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// All errors, in the order in which the variables were read.
    pub fn finish(self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() { Ok(()) } else { Err(ConfigErrors(self.errors)) }
    }
}

#[cfg(test)]
mod tests;
