//! Signs webhooks, so that a receiver can verify the sender and detect replays.
//!
//! The signature header is `t=<seconds since the Unix epoch>,v1=<HMAC-SHA256 of "<t>.<body>", in
//! hexadecimal>`. While keys are rotated it has one `v1` by each key, the current one's first, so
//! that a receiver needs only one of the keys. The receiver computes the HMAC over the unchanged
//! body, compares it with each `v1` in constant time, and rejects a `t` that differs from its clock
//! by more than a few minutes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use switchboard_core::domain::Timestamp;
use switchboard_core::{KeyRing, Secret};

/// Beginning of every secret of an app's webhook, by which a scanner for leaked secrets finds it.
const SECRET_PREFIX: &str = "whsec_";
/// Random bytes of a secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// Returns a new secret for a webhook of an app: `whsec_` and 256 random bits as base64url. The key
/// of the signature is the bytes of this text.
#[must_use]
pub fn new_secret() -> Secret {
    let bytes: [u8; SECRET_BYTES] = rand::random();
    Secret::new(format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Signs webhooks with HMAC-SHA256, by each key of a ring.
#[derive(Clone)]
pub struct WebhookSigner(KeyRing);

impl WebhookSigner {
    /// Creates a signer with these keys.
    #[must_use]
    pub fn new(keys: impl Into<KeyRing>) -> Self {
        Self(keys.into())
    }

    /// Returns the header value for `body`, sent at `at`.
    #[must_use]
    pub fn sign(&self, at: Timestamp, body: &str) -> String {
        let seconds = at.seconds();
        self.0.load().all().fold(format!("t={seconds}"), |header, key| {
            let secret = key.secret().expose().as_bytes();
            let mac: Hmac<Sha256> = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
            let mac = mac.chain_update(format!("{seconds}.")).chain_update(body).finalize().into_bytes();
            format!("{header},v1={}", hex::encode(mac))
        })
    }
}

impl std::fmt::Debug for WebhookSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// Returns a short name for a webhook URL: the first 16 hexadecimal digits of its SHA-256. Logs and
/// metrics use the name, because the URL may contain a password.
#[must_use]
pub fn url_digest(url: &str) -> String {
    hex::encode(&Sha256::digest(url)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_equals_the_one_that_python_computes() {
        // Python: hmac.new(b"whsec", b'1767225600.{"id":"1"}', hashlib.sha256).hexdigest()
        let expected = "t=1767225600,v1=c166b09566b8ca1e2d11dcb6fddb0520c6d50c3132b7a33d06aa6bd924692954";
        assert_eq!(WebhookSigner::new("whsec").sign(Timestamp(1_767_225_600_999), r#"{"id":"1"}"#), expected);
    }

    #[test]
    fn a_generated_secret_has_256_bits_and_a_prefix() {
        let secret = new_secret();
        let bytes = URL_SAFE_NO_PAD.decode(secret.expose().strip_prefix(SECRET_PREFIX).expect("the prefix"));
        assert_eq!(bytes.expect("base64url").len(), SECRET_BYTES);
        assert_ne!(new_secret(), secret);
    }

    #[test]
    fn during_a_rotation_each_key_signs_and_the_current_one_first() {
        let (at, body) = (Timestamp(1_767_225_600_999), r#"{"id":"1"}"#);
        let by =
            |secret: &str| WebhookSigner::new(secret).sign(at, body).split_once(',').expect("t and v1").1.to_owned();
        let both = WebhookSigner::new(KeyRing::new(Secret::new("new"), [Secret::new("whsec")]));
        assert_eq!(both.sign(at, body), format!("t=1767225600,{},{}", by("new"), by("whsec")));
        assert_ne!(by("new"), by("whsec"));
    }
}
