//! Reactions: one emoji that a participant shows to the room for a moment.

use unicode_properties::UnicodeEmoji;
use unicode_segmentation::UnicodeSegmentation as _;

use super::{Code, Refusal};

/// Maximum length of a reaction, in bytes of UTF-8. The longest emoji of Unicode, families and
/// couples of several skin tones, have 41.
pub const BYTES_MAX: usize = 64;

/// Combining enclosing keycap: it makes an emoji of a digit.
const KEYCAP: char = '\u{20E3}';

/// Checks that a text is one emoji: one grapheme cluster of at most [`BYTES_MAX`] bytes, of emoji
/// and the characters that join them.
///
/// # Errors
/// `VALIDATION_ERROR` that names the field `emoji`.
pub fn check(emoji: &str) -> Result<(), Refusal> {
    // The length is checked first, so that the work has a bound.
    if emoji.len() <= BYTES_MAX && emoji.graphemes(true).count() == 1 && is_emoji(emoji) {
        return Ok(());
    }
    Err(Refusal::field(Code::ValidationError, "emoji", format!("must be one emoji of at most {BYTES_MAX} bytes")))
}

/// Digits, `#` and `*` are emoji by Unicode, but without a keycap they are drawn as text.
fn is_emoji(text: &str) -> bool {
    text.chars().all(UnicodeEmoji::is_emoji_char_or_emoji_component)
        && text.chars().any(|character| character == KEYCAP || !character.is_ascii() && character.is_emoji_char())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_emoji_with_skin_tones_joiners_flags_and_keycaps_is_a_reaction() {
        for emoji in ["👍", "👍🏽", "❤️", "🎉", "🇫🇷", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "🏳️‍🌈", "👩🏻‍❤️‍💋‍👩🏿", "👨🏻‍👩🏻‍👧🏻‍👦🏻"]
        {
            assert_eq!(check(emoji), Ok(()), "{emoji}");
        }
    }

    #[test]
    fn texts_several_emoji_and_piled_marks_are_no_reaction() {
        let piled = format!("👍{}", "\u{301}".repeat(3));
        let long = ["👍"; 17].join("\u{200D}");
        let texts = [
            "", " ", "a", "1", "#", "ok", "👍👍", "👍 ", "a👍", "<b>", "\u{0}", "\u{200D}", "\u{FE0F}", "é", &piled,
            &long,
        ];
        for text in texts {
            assert_eq!(check(text).map_err(|refusal| refusal.code), Err(Code::ValidationError), "{text:?}");
        }
    }
}
