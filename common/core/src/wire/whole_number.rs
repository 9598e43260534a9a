//! Whole numbers in JSON. Clients whose language has one type for all numbers write `10` as `10.0`.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use serde_json::Number;

/// Largest whole number up to which each whole number has a double of its own.
const DOUBLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Returns a whole number that is not negative; `None` for any other number.
#[must_use]
pub fn read(number: &Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let double = number.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=DOUBLE_MAX).contains(n))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and within both bounds")]
        let whole = double as u64;
        Some(whole)
    })
}

/// Deserializes a whole number of any width, or null.
///
/// # Errors
/// The value is no number, is not whole, or does not fit.
pub fn optional<'de, D: Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    fitting(&number).map(Some).ok_or_else(|| D::Error::custom("expected a whole number"))
}

fn fitting<T: TryFrom<u64>>(number: &Number) -> Option<T> {
    read(number).and_then(|whole| T::try_from(whole).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_whole_number_may_be_written_as_a_double() {
        for (text, whole) in [
            ("10", Some(10)),
            ("10.0", Some(10)),
            ("1e1", Some(10)),
            ("0.0", Some(0)),
            ("-0.0", Some(0)),
            ("10.5", None),
            ("-1", None),
            ("-1.0", None),
            ("1e300", None),
            ("18446744073709551615", Some(u64::MAX)),
        ] {
            assert_eq!(read(&serde_json::from_str(text).unwrap()), whole, "{text}");
        }
    }
}
