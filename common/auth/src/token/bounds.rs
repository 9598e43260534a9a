//! Bounds on tokens and their claims. Pure.

/// Maximum length of a token. A longer one is refused before it is decoded. `fit` keeps every
/// token that is issued below it.
pub(super) const MAX_TOKEN_BYTES: usize = 4096;
/// Bounds of the claims that users choose, in bytes of JSON. With the other claims (at most 600
/// bytes) they make 2,400 bytes, or 3,400 in a token.
pub(super) const NAME_MAX: usize = 480;
pub(super) const EMAIL_MAX: usize = 520;
pub(super) const AVATAR_MAX: usize = 800;
/// Tolerance for clock differences between pods, and between them and backends, in seconds.
pub(super) const LEEWAY_S: u64 = 5;

/// Returns the length of a text as JSON writes it, without the quotation marks.
pub(super) fn json_length(text: &str) -> usize {
    text.chars().map(json_length_of).sum()
}

fn json_length_of(character: char) -> usize {
    match character {
        '"' | '\\' => 2,
        '\u{0}'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// Returns the longest beginning of a text that has at most `most` bytes as JSON.
pub(super) fn fit(text: &str, most: usize) -> String {
    let mut length = 0;
    let fits = |character: &char| {
        length += json_length_of(*character);
        length <= most
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn the_protocol_page_says_how_exact_the_clocks_of_backends_must_be() {
        let protocol = include_str!("../../../../docs/PROTOCOL.md");
        let tokens = protocol.split("\n### User tokens of apps\n").nth(1).unwrap();
        let clocks = tokens.split("\n- ").find(|entry| entry.starts_with("**Clocks**")).unwrap();
        let words = clocks.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in [
            format!("to {LEEWAY_S} seconds"),
            format!("until {LEEWAY_S} s after `exp`"),
            format!("`nbf` and `iat` at most {LEEWAY_S} s ahead"),
            format!("at most a day and {LEEWAY_S} s ahead"),
        ] {
            assert!(words.contains(&said), "{said} is not in {words}");
        }
    }
}
