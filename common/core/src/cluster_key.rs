//! The key by which the nodes of one installation know each other.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Signs what one node tells another. Every node has the same.
#[derive(Clone)]
pub struct ClusterKey(Hmac<Sha256>);

impl ClusterKey {
    /// The key that follows from a secret. It says nothing of the secret, which may sign other things too.
    #[must_use]
    pub fn derive(secret: &str) -> Self {
        let derived = keyed(secret.as_bytes()).chain_update("switchboard cluster key v1").finalize().into_bytes();
        Self(keyed(&derived))
    }

    /// The signature of these words, as 43 characters that are safe in a URL. The first says what is signed, so that no
    /// signature passes for one of another kind.
    #[must_use]
    pub fn sign(&self, words: &[&str]) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(words).finalize().into_bytes())
    }

    /// Whether this is the signature of these words; takes as long for any wrong one.
    #[must_use]
    pub fn verify(&self, words: &[&str], signature: &str) -> bool {
        URL_SAFE_NO_PAD.decode(signature).is_ok_and(|bytes| self.mac(words).verify_slice(&bytes).is_ok())
    }

    /// A client's address as something that can be compared and not read back. An IPv6 client has a whole /64 to choose from.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Box<str> {
        let text = match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("{:x?}", &address.segments()[..4]),
        };
        self.sign(&["address", &text])[..22].into()
    }

    fn mac(&self, words: &[&str]) -> Hmac<Sha256> {
        // With their lengths: nothing can move from one word to the next.
        words
            .iter()
            .fold(self.0.clone(), |mac, word| mac.chain_update((word.len() as u64).to_be_bytes()).chain_update(word))
    }
}

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_words_and_its_key_alone() {
        let key = ClusterKey::derive("one");
        let signature = key.sign(&["sid", "ab", "c"]);
        assert_eq!(signature.len(), 43);
        assert!(key.verify(&["sid", "ab", "c"], &signature));
        for words in [&["sid", "a", "bc"][..], &["sid", "abc"], &["other", "ab", "c"], &["sid", "ab", "c", ""]] {
            assert!(!key.verify(words, &signature), "{words:?}");
        }
        assert!(!ClusterKey::derive("two").verify(&["sid", "ab", "c"], &signature));
        for forged in ["", "!", &signature[1..], &"A".repeat(43)] {
            assert!(!key.verify(&["sid", "ab", "c"], forged), "{forged}");
        }
    }
}
