//! Intended start of a message, carried in its body as `@<microseconds>@` plus padding. A receiver
//! in this process can compute the latency without any shared state.

use std::fmt::Write as _;

/// Creates a body of about `bytes` bytes that needs no JSON escapes.
pub(crate) fn body(intended: u64, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes.max(24));
    // Writing to a string does not fail.
    let _ = write!(text, "@{intended}@");
    let padding = bytes.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('v', padding));
    text
}

/// Reads the timestamp from an event's text; names and ids contain no `@`.
pub(crate) fn read(text: &str) -> Option<u64> {
    text.split('@').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_found_inside_an_event() {
        let body = body(1_234_567, 1024);
        assert_eq!(body.len(), 1024);
        assert_eq!(read(&format!(r#"["webrtc:offer",{{"from":"a","sdp":"{body}"}},"5-0.R"]"#)), Some(1_234_567));
        assert_eq!(read(&super::body(7, 0)), Some(7));
        assert_eq!(read(r#"["room:user-joined",{}]"#), None);
    }
}
