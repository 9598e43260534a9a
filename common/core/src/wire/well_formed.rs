//! Lone surrogates in JSON text.
//!
//! JavaScript counts text in UTF-16, so that a page which cuts text can cut an emoji in half. JSON
//! then has an escape such as `\ud83d` without its other half. JavaScript reads it, and Rust does
//! not: UTF-8 has no form for it.

use std::borrow::Cow;

/// Replaces each escape of a lone surrogate by U+FFFD, as `String.prototype.toWellFormed` does.
/// Borrows text without such an escape. The result is not defined for text that is not valid JSON.
#[must_use]
pub fn to_well_formed(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = json[at..].find('\\') {
        let start = at + found;
        at = match surrogate(json, start) {
            // A backslash, and the character that it escapes.
            None => start + 1 + json[start + 1..].chars().next().map_or(0, char::len_utf8),
            Some(Surrogate::Leading) if surrogate(json, start + ESCAPE) == Some(Surrogate::Trailing) => {
                start + 2 * ESCAPE
            }
            Some(_) => {
                out.push_str(&json[copied..start]);
                out.push('\u{FFFD}');
                copied = start + ESCAPE;
                copied
            }
        };
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

/// Length of an escape such as `\ud83d`.
const ESCAPE: usize = 6;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Surrogate {
    Leading,
    Trailing,
}

/// Returns which half of a pair the escape at `start` is, if it is one.
fn surrogate(json: &str, start: usize) -> Option<Surrogate> {
    let digits = json.get(start..start + ESCAPE)?.strip_prefix("\\u")?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(Surrogate::Leading),
        0xDC00..=0xDFFF => Some(Surrogate::Trailing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_lone_surrogates_are_replaced() {
        for (json, expected) in [
            (r#""""#, r#""""#),
            (r#""caf\u00e9 \ud83d\ude00""#, r#""caf\u00e9 \ud83d\ude00""#),
            (r#""cut \ud83d""#, "\"cut \u{FFFD}\""),
            (r#""\uDE00 rest""#, "\"\u{FFFD} rest\""),
            (r#""\ud83d\ud83d\ude00\ude00""#, "\"\u{FFFD}\\ud83d\\ude00\u{FFFD}\""),
            (r#""\ud83dn""#, "\"\u{FFFD}n\""),
            // An escaped backslash before `ud83d` is text.
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, "\"\\\\\u{FFFD}\""),
        ] {
            assert_eq!(to_well_formed(json), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn text_of_any_utf16_becomes_the_text_that_javascript_makes_well_formed(units in proptest::collection::vec(
            prop_oneof![Just(0xD83D), Just(0xDE00), Just(u16::from(b'\\')), Just(u16::from(b'"')), any::<u16>()], 0..12,
        )) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let read: String = serde_json::from_str(&to_well_formed(&format!("\"{escaped}\""))).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }

        #[test]
        fn json_of_a_rust_text_stays_as_it_is(text in ".{0,20}") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(to_well_formed(&json), json.as_str());
        }
    }
}
