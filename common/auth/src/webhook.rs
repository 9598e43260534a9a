//! The signature by which the receiver of a webhook knows that it comes from here, and that it is no old one sent again.
//!
//! `t=<seconds since the Unix epoch>,v1=<hexadecimal HMAC-SHA256 of "<t>.<body>">`. The receiver computes the HMAC over the body as it
//! came, compares in constant time, and refuses a `t` that is more than a few minutes off.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use switchboard_core::domain::Timestamp;

/// Signs webhooks.
#[derive(Clone)]
pub struct WebhookKey(Hmac<Sha256>);

impl WebhookKey {
    /// The key that is this secret.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length"))
    }

    /// The header's value for a body that is sent at `at`.
    #[must_use]
    pub fn sign(&self, at: Timestamp, body: &str) -> String {
        let seconds = at.seconds();
        let mac = self.0.clone().chain_update(format!("{seconds}.")).chain_update(body).finalize().into_bytes();
        format!("t={seconds},v1={}", hex(&mac))
    }
}

impl std::fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A short name for an address, which may carry a password: 16 hexadecimal digits of its SHA-256.
#[must_use]
pub fn address_name(address: &str) -> String {
    hex(&Sha256::digest(address)[..8])
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_any_language_computes() {
        // Python: hmac.new(b"whsec", b'1767225600.{"id":"1"}', hashlib.sha256).hexdigest()
        let expected = "t=1767225600,v1=c166b09566b8ca1e2d11dcb6fddb0520c6d50c3132b7a33d06aa6bd924692954";
        assert_eq!(WebhookKey::new("whsec").sign(Timestamp(1_767_225_600_999), r#"{"id":"1"}"#), expected);
    }
}
