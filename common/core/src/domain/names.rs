//! Texts that other users see. Names and titles have one form, without characters that hide or
//! imitate; texts of several lines have one line end.
//!
//! | characters | outcome |
//! |---|---|
//! | control characters, line breaks | refused |
//! | bidirectional controls, invisible and zero-width characters, private use | removed |
//! | joiners (U+200C, U+200D), variation selectors | kept only where scripts and emoji need them |
//! | white space of every kind, fillers, blank Braille | one space; none at the ends |
//! | more than 4 combining marks in a row | the marks after the fourth are removed |
//! | anything else | in Unicode normalization form C |
//!
//! Characters that look alike remain, because any user can take any name. Nobody can imitate the
//! role and the mark of guests (`isGuest`), because the server assigns both.

use std::ops::RangeInclusive;

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::{Code, Refusal};

/// Maximum number of combining marks in a row. Scripts need up to 3; rows of dozens draw over other
/// lines.
const MARKS_MAX: usize = 4;
const NON_JOINER: char = '\u{200C}';
const JOINER: char = '\u{200D}';

/// Returns a name or a title in the form that is stored and shown. `length` is in characters, of
/// the text and of the returned form.
///
/// # Errors
/// `VALIDATION_ERROR` that names the field: the length, a control character, or no visible
/// character.
pub fn parse(field: &'static str, text: &str, length: &RangeInclusive<usize>) -> Result<String, Refusal> {
    read(text, length).map_err(|rule| Refusal::field(Code::ValidationError, field, rule))
}

/// Returns a name in the form that is stored, as [`parse`] does.
///
/// # Errors
/// The rule that the text breaks.
pub fn read(text: &str, length: &RangeInclusive<usize>) -> Result<String, String> {
    let rule = || format!("must have {} to {} visible characters", length.start(), length.end());
    let text = text.trim();
    // The length is checked first, so that the work has a bound.
    if text.chars().count() > *length.end() {
        return Err(rule());
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    let name = visible(text);
    if !length.contains(&name.chars().count()) || !name.is_empty() && !name.chars().any(is_visible) {
        return Err(rule());
    }
    Ok(name)
}

/// Returns a text of several lines, each of which ends with a line feed: the line ends of other
/// systems (CR LF, and CR alone) are replaced.
#[must_use]
pub fn with_line_feeds(text: String) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text }
}

fn visible(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let (mut marks, mut characters) = (0, text.nfc().peekable());
    while let Some(character) = characters.next() {
        let last = name.chars().next_back();
        if is_space(character) {
            if last.is_some_and(|last| last != ' ') {
                name.push(' ');
            }
            continue;
        }
        let joins = |c: char| !c.is_ascii() && (is_visible(c) || is_mark(c) || is_selector(c));
        let kept = match character {
            NON_JOINER | JOINER => last.is_some_and(joins) && characters.peek().copied().is_some_and(joins),
            _ if is_selector(character) => last.is_some_and(is_visible),
            _ => !is_hidden(character),
        };
        marks = if is_mark(character) { marks + 1 } else { 0 };
        if kept && marks <= MARKS_MAX {
            name.push(character);
        }
    }
    name.truncate(name.trim_end_matches([' ', NON_JOINER, JOINER]).len());
    // Removing characters can leave others that compose.
    name.nfc().collect()
}

fn is_space(character: char) -> bool {
    // Hangul fillers and blank Braille have the width of a character and draw nothing.
    character.is_whitespace() || matches!(character, '\u{115F}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{FFA0}')
}

fn is_mark(character: char) -> bool {
    matches!(character.general_category(), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
}

/// Returns whether the character selects how the emoji before it is drawn.
const fn is_selector(character: char) -> bool {
    matches!(character, '\u{FE0E}' | '\u{FE0F}')
}

/// Returns whether the character is a format character, is drawn as nothing, or has no meaning that
/// others know.
fn is_hidden(character: char) -> bool {
    let ignorable = matches!(
        character,
        '\u{034F}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{2065}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FFF0}'..='\u{FFF8}' | '\u{E0000}'..='\u{E0FFF}'
    );
    ignorable
        || matches!(
            character.general_category(),
            GeneralCategory::Format
                | GeneralCategory::Control
                | GeneralCategory::PrivateUse
                | GeneralCategory::Surrogate
        )
}

fn is_visible(character: char) -> bool {
    !is_space(character) && !is_mark(character) && !is_hidden(character)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NAME: RangeInclusive<usize> = 2..=100;

    #[test]
    fn characters_that_hide_or_reorder_are_removed() {
        for (text, name) in [
            ("Ann", "Ann"),
            (" Ann\u{3000}\u{A0} \u{2003}Lee ", "Ann Lee"),
            ("Ann\u{202E}eeL\u{202C}", "AnneeL"),
            ("\u{2066}Ann\u{2069}\u{200F}", "Ann"),
            ("A\u{200B}n\u{2060}n\u{FEFF}\u{AD}", "Ann"),
            ("An\u{200D}n\u{200C}", "Ann"),
            ("Ann\u{E0041}\u{E000}\u{FE0F}", "Ann\u{FE0F}"),
            ("Ann\u{3164}\u{2800}Lee\u{2800}", "Ann Lee"),
            ("A\u{30A}se", "\u{C5}se"),
            ("Zo\u{308}\u{308}\u{308}\u{308}\u{308}\u{308}\u{308}", "Z\u{F6}\u{308}\u{308}\u{308}\u{308}"),
            // Persian needs the non-joiner, emoji the joiner and the selector.
            ("\u{645}\u{6CC}\u{200C}\u{62E}\u{648}", "\u{645}\u{6CC}\u{200C}\u{62E}\u{648}"),
            ("\u{1F468}\u{200D}\u{1F469} \u{2764}\u{FE0F}", "\u{1F468}\u{200D}\u{1F469} \u{2764}\u{FE0F}"),
            ("\u{5D0}\u{5D1} \u{639}\u{644}\u{64A}", "\u{5D0}\u{5D1} \u{639}\u{644}\u{64A}"),
        ] {
            assert_eq!(read(text, &NAME).unwrap(), name, "{text:?}");
        }
    }

    #[test]
    fn a_name_needs_visible_characters_and_no_control_characters() {
        for text in ["", "A", "A\u{200B}", "\u{200B}\u{200D}", "\u{3164}\u{3164}", "\u{2800}\u{2800}\u{2800}"] {
            assert!(read(text, &NAME).unwrap_err().contains("2 to 100 visible"), "{text:?}");
        }
        assert!(read("\u{301}\u{302}\u{303}", &NAME).is_err(), "marks alone");
        for text in ["a\u{7}b", "a\nb", "a\u{85}b", "a\u{0}b"] {
            assert!(read(text, &NAME).unwrap_err().contains("control"), "{text:?}");
        }
        assert_eq!(read(&"\u{E4}".repeat(100), &NAME).unwrap().chars().count(), 100);
        assert!(read(&"a".repeat(101), &NAME).is_err());
        assert_eq!(read("", &(0..=5)).unwrap(), "");
    }

    #[test]
    fn the_form_is_stable() {
        for text in ["A\u{30A}\u{200D}\u{301} \u{2003}x\u{202E}", "\u{1100}\u{200B}\u{1161}", "e\u{200B}\u{301}e"] {
            let once = read(text, &(1..=100)).unwrap();
            assert_eq!(read(&once, &(1..=100)).unwrap(), once, "{text:?}");
        }
    }
}
