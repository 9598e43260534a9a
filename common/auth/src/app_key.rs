//! Secrets of apps' API keys: made at random, and stored encrypted under the master key of the
//! deployment. The secrets of apps' webhooks are stored in the same way.
//!
//! A secret must be readable, because it verifies the tokens that a backend signs with it. So it is
//! encrypted (ChaCha20-Poly1305, RFC 8439) and not hashed. The ids of app and key are authenticated
//! with it, so that a stored secret cannot be moved to another key. The nonce is random: at 10,000
//! keys, two equal ones have a probability of 2^-70.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use switchboard_core::domain::AppId;
use switchboard_core::{Key, KeyRing, Secret};

/// Beginning of every secret, by which a scanner for leaked secrets finds it.
const SECRET_PREFIX: &str = "sbs_";
/// Random bytes of a secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// Returns a new secret: `sbs_` and 256 random bits as base64url. A backend signs with the bytes of
/// this text.
#[must_use]
pub fn new_secret() -> Secret {
    let bytes: [u8; SECRET_BYTES] = rand::random();
    Secret::new(format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Returns whether `given` is the secret of a key. Compares in constant time; secrets have the same
/// length.
#[must_use]
pub fn is_secret(secret: &Secret, given: &str) -> bool {
    secret.expose().as_bytes().ct_eq(given.as_bytes()).into()
}

/// Encrypts and decrypts secrets of API keys and of webhooks with `APP_MASTER_KEY`.
#[derive(Clone, Debug)]
pub struct AppVault(KeyRing);

impl AppVault {
    /// Creates a vault. The current key of the ring encrypts, every key decrypts.
    #[must_use]
    pub const fn new(master: KeyRing) -> Self {
        Self(master)
    }

    /// Encrypts the secret of the key or webhook with the id `of`. The text names the master key
    /// that encrypted it.
    #[must_use]
    pub fn seal(&self, app: &AppId, of: &impl Display, secret: &Secret) -> String {
        let (keys, nonce) = (self.0.load(), rand::random::<[u8; NONCE_LEN]>());
        let mut text = secret.expose().as_bytes().to_vec();
        cipher(keys.current())
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), additional(app, of), &mut text)
            .expect("a secret is shorter than the limit of the cipher");
        let sealed = [&nonce[..], &text].concat();
        format!("{}.{}", keys.current().id(), URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Decrypts the secret of the key or webhook with the id `of`. `None`: its master key is not in
    /// the ring, or the text was not made for this id.
    #[must_use]
    pub fn open(&self, app: &AppId, of: &impl Display, sealed: &str) -> Option<Secret> {
        let (master, sealed) = sealed.split_once('.')?;
        let keys = self.0.load();
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let nonce = sealed.drain(..NONCE_LEN.min(sealed.len())).collect::<Vec<_>>();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let text = cipher(keys.find(master)?).open_in_place(nonce, additional(app, of), &mut sealed).ok()?;
        std::str::from_utf8(text).ok().map(Secret::new)
    }

    /// Returns whether the current master key encrypted this text. If not, the secret must be
    /// encrypted again before its master key is removed.
    #[must_use]
    pub fn is_current(&self, sealed: &str) -> bool {
        sealed.split_once('.').is_some_and(|(master, _)| master == self.0.load().current().id())
    }
}

/// Returns the data that are authenticated with a secret. Ids of keys and of webhooks begin
/// differently, so that none can be used as the other.
fn additional(app: &AppId, of: &impl Display) -> Aad<String> {
    Aad::from(format!("{app} {of}"))
}

/// Returns the cipher with a key that is derived from the master key for this purpose alone.
fn cipher(master: &Key) -> LessSafeKey {
    let mac: Hmac<Sha256> =
        Hmac::new_from_slice(master.secret().expose().as_bytes()).expect("HMAC takes a key of any length");
    let derived = mac.chain_update("switchboard app secrets v1").finalize().into_bytes();
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &derived).expect("the key has 256 bits"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use switchboard_core::domain::AppKeyId;

    fn vault(current: &str, previous: &[&str]) -> AppVault {
        AppVault::new(KeyRing::new(Secret::new(current), previous.iter().map(|key| Secret::new(*key))))
    }

    #[test]
    fn a_secret_opens_for_its_key_and_no_other_and_not_after_a_change() {
        let vault = vault("master", &[]);
        let (app, key, secret) = (AppId::from_random([1; 12]), AppKeyId::from_random([2; 20]), new_secret());
        let sealed = vault.seal(&app, &key, &secret);
        assert!(!sealed.contains(secret.expose()));
        assert_eq!(vault.open(&app, &key, &sealed), Some(secret.clone()));
        assert_ne!(vault.seal(&app, &key, &secret), sealed, "the nonce is new each time");
        assert_eq!(vault.open(&app, &AppKeyId::from_random([3; 20]), &sealed), None);
        assert_eq!(vault.open(&AppId::from_random([3; 12]), &key, &sealed), None);
        for bad in ["", ".", "abc", &sealed[..sealed.len() - 1], &sealed.replace('.', ".A")] {
            assert_eq!(vault.open(&app, &key, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_previous_master_key_opens_and_does_not_seal() {
        let (app, key, secret) = (AppId::from_random([1; 12]), AppKeyId::from_random([2; 20]), new_secret());
        let sealed = vault("old", &[]).seal(&app, &key, &secret);
        let rotated = vault("new", &["old"]);
        assert_eq!(rotated.open(&app, &key, &sealed), Some(secret.clone()));
        assert!(!rotated.is_current(&sealed) && rotated.is_current(&rotated.seal(&app, &key, &secret)));
        assert_eq!(vault("new", &[]).open(&app, &key, &sealed), None);
    }

    #[test]
    fn a_secret_is_compared_as_a_whole() {
        let secret = new_secret();
        assert!(is_secret(&secret, secret.expose()));
        let text = secret.expose();
        for other in ["", &text[..46], &format!("{text}x"), new_secret().expose()] {
            assert!(!is_secret(&secret, other));
        }
    }

    #[test]
    fn a_secret_has_256_bits_and_a_prefix_and_debug_does_not_print_it() {
        let secret = new_secret();
        let bytes = URL_SAFE_NO_PAD.decode(secret.expose().strip_prefix(SECRET_PREFIX).unwrap()).unwrap();
        assert_eq!(bytes.len(), SECRET_BYTES);
        assert_ne!(new_secret(), secret);
        assert!(!format!("{secret:?} {:?}", vault("master-key", &[])).contains("master-key"));
    }
}
