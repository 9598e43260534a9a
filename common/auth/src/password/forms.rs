//! Forms of a password or passcode. A keyboard chooses how it writes a letter with a mark: as one
//! character or as two. It may also write a blank as a no-break space. The text that is hashed is
//! in one form (RFC 8265, `OpaqueString`), so that a password of one device fits on another.

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// Returns the form that is hashed: each blank is a space, the rest is in normalization form C.
pub(super) fn normal(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() && !c.is_ascii() { ' ' } else { c }).nfc().collect()
}

/// Returns the forms in which a stored hash may have the text: the normal form first, then those
/// that earlier versions hashed, as they were typed. Most texts have one form; none has more than
/// three.
pub(super) fn stored(text: &str) -> Vec<String> {
    let mut forms = vec![normal(text)];
    if text.is_ascii() {
        return forms;
    }
    let composed = is_nfc_quick(text.chars()) == IsNormalized::Yes;
    let other = if composed { text.nfd().collect() } else { text.to_owned() };
    for form in [text.to_owned(), other] {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_one_form_and_few_that_a_hash_may_have() {
        let (composed, decomposed) = ("caf\u{e9} au lait", "cafe\u{301}\u{a0}au lait");
        assert_eq!(normal(composed), composed);
        assert_eq!(normal(decomposed), composed);
        assert_eq!(stored("plain text"), ["plain text"]);
        assert_eq!(stored(composed), [composed, "cafe\u{301} au lait"]);
        assert_eq!(stored(decomposed), [composed, decomposed]);
    }
}
