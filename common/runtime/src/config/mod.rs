//! Configuration from environment variables, read once, every mistake reported in one go.
//!
//! A binary gathers its settings through one [`Env`], then asks it to [`Env::finish`]: all problems come together, so an operator
//! fixes them in one round. A value is never repeated in an error, since it may be a secret. An empty variable counts as unset,
//! as in the Node service's `.env` files; variables nobody asks for are ignored.

mod groups;

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

pub use groups::{
    ICE_DEFAULT_STUN, IceSettings, LogConfig, LogFormat, Mode, MongoConfig, OriginsConfig, RedisConfig, SecretsConfig,
    TelemetryConfig, TraceConfig, passcode_rates,
};
pub use switchboard_core::Secret;
use switchboard_core::domain::Rate;

/// The exit code of a process that was configured wrongly: EX_USAGE of sysexits.h.
pub const EXIT_CONFIG: u8 = 64;

/// One wrong variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable's name.
    pub name: String,
    /// What is wrong with it, without its value.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

/// Everything that is wrong with a configuration; shown as one line for each variable.
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

/// The variables, and the problems found with them so far.
#[derive(Debug)]
pub struct Env {
    variables: HashMap<String, Secret>,
    errors: Vec<ConfigError>,
}

impl Env {
    /// Over these variables; `std::env::vars()` in a binary, a literal in a test.
    pub fn new<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into().trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, Secret::new(value)))
            .collect();
        Self { variables, errors: Vec::new() }
    }

    /// The variable's text, when it is set.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| value.expose().to_owned())
    }

    /// The variable's text, or `default`.
    #[must_use]
    pub fn text(&self, name: &str, default: &str) -> String {
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    /// The variable's text; it is an error that it is not set, and the empty text then.
    pub fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.reject(name, "is not set");
            String::new()
        })
    }

    /// A secret, when it is set.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.variables.get(name).cloned()
    }

    /// A value that `read` understands, or `default`. `expected` says in words what would be right.
    pub fn parsed<T>(&mut self, name: &str, default: T, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> T {
        let Some(value) = self.variables.get(name) else { return default };
        read(value.expose()).unwrap_or_else(|| {
            self.reject(name, format!("must be {expected}"));
            default
        })
    }

    /// A value whose own parser says what is wrong (without repeating the text), or `default`.
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

    /// A number within `range`, or `default`.
    pub fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.parsed(name, default, &expected, |text| text.parse().ok().filter(|number| range.contains(number)))
    }

    /// A rate written as `60/30` (requests/seconds), or `default`, written the same way; 0 is none.
    pub fn rate(&mut self, name: &str, default: &str) -> Option<Rate> {
        let expected = "0, or requests/seconds such as 60/30";
        self.parsed(name, Rate::parse(default).flatten(), expected, Rate::parse)
    }

    /// A TCP port (0: the system chooses), or `default`.
    pub fn port(&mut self, name: &str, default: u16) -> u16 {
        self.number(name, default, 0..=u16::MAX)
    }

    /// A duration in whole seconds within `range` (seconds), or `default` seconds.
    pub fn seconds(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, default, range))
    }

    /// A duration in whole milliseconds within `range` (milliseconds), or `default` milliseconds.
    pub fn millis(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(name, default, range))
    }

    /// `true` or `false` (also `1`, `0`, `yes`, `no`, `on`, `off`), or `default`.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// The items between commas, without the spaces around them and without empty ones; `default` is written the same way.
    #[must_use]
    pub fn list(&self, name: &str, default: &str) -> Vec<String> {
        let text = self.text(name, default);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// An absolute address with one of these schemes (`http`, `https`, ...), or `default`.
    pub fn url(&mut self, name: &str, default: &str, schemes: &[&str]) -> String {
        let expected = format!("an address that begins with {}", schemes.join(":// or ") + "://");
        self.parsed(name, default.to_owned(), &expected, |text| {
            let (scheme, rest) = text.split_once("://")?;
            let sound = schemes.contains(&scheme) && !rest.is_empty() && !rest.contains(char::is_whitespace);
            sound.then(|| text.to_owned())
        })
    }

    /// Notes that a variable is wrong: for rules over several of them.
    pub fn reject(&mut self, name: &str, problem: impl Into<String>) {
        self.errors.push(ConfigError { name: name.to_owned(), problem: problem.into() });
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Everything that was wrong, in the order in which it was asked for.
    pub fn finish(self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() { Ok(()) } else { Err(ConfigErrors(self.errors)) }
    }
}

#[cfg(test)]
mod tests;
