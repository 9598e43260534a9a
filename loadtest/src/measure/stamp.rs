//! The moment that a message was meant to be sent, carried in its body: `@<microseconds>@` and padding. Whoever receives it, in this
//! process, knows how long it was under way without remembering anything.

use std::fmt::Write as _;

/// A body of about so many bytes, which needs no escapes in JSON.
pub(crate) fn body(meant: u64, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes.max(24));
    // Writing to a string does not fail.
    let _ = write!(text, "@{meant}@");
    let padding = bytes.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('v', padding));
    text
}

/// The stamp in a text; names and ids have no `@`.
pub(crate) fn read(text: &str) -> Option<u64> {
    text.split('@').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_the_event_around_it() {
        let body = body(1_234_567, 1024);
        assert_eq!(body.len(), 1024);
        assert_eq!(read(&format!(r#"["webrtc:offer",{{"from":"a","sdp":"{body}"}},"5-0.R"]"#)), Some(1_234_567));
        assert_eq!(read(&super::body(7, 0)), Some(7));
        assert_eq!(read(r#"["room:user-joined",{}]"#), None);
    }
}
