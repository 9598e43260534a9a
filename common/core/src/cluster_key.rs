//! Signs messages between the nodes of one cluster.
//!
//! All nodes derive the same key from a configured secret, so that a node can verify that a message
//! comes from another node and not from a client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::client_address::ClientNetwork;

/// HMAC-SHA256 key that all nodes of a cluster share.
#[derive(Clone)]
pub struct ClusterKey(Hmac<Sha256>);

impl ClusterKey {
    /// Derives the key from a configured secret. The same secret may also sign tokens: the derived
    /// key does not reveal the secret, and a signature by one key never verifies with the other.
    #[must_use]
    pub fn derive(secret: &str) -> Self {
        let derived = keyed(secret.as_bytes()).chain_update("switchboard cluster key v1").finalize().into_bytes();
        Self(keyed(&derived))
    }

    /// Returns the signature of `parts`: 43 characters of unpadded base64url (RFC 4648, section 5).
    ///
    /// The first part names the purpose, so that a signature for one purpose is not valid for
    /// another.
    #[must_use]
    pub fn sign<P: AsRef<[u8]>>(&self, parts: &[P]) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(parts).finalize().into_bytes())
    }

    /// Returns whether `signature` is the signature of `parts`. Compares in constant time.
    #[must_use]
    pub fn verify<P: AsRef<[u8]>>(&self, parts: &[P], signature: &str) -> bool {
        URL_SAFE_NO_PAD.decode(signature).is_ok_and(|bytes| self.mac(parts).verify_slice(&bytes).is_ok())
    }

    /// Returns the SHA-256 of a text or body that a signature covers: 43 characters, as a signature
    /// has.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
    }

    /// Returns a keyed hash of a client's network (22 characters), for comparison without storing
    /// the address itself. `None` for the network of a proxy, because a ban by it would refuse
    /// every client of the proxy.
    #[must_use]
    pub fn hash_address(&self, network: ClientNetwork) -> Option<Box<str>> {
        (!network.is_proxy()).then(|| self.sign(&["address", &network.to_string()])[..22].into())
    }

    fn mac<P: AsRef<[u8]>>(&self, parts: &[P]) -> Hmac<Sha256> {
        // Each part is preceded by its length. Without the lengths, ("ab", "c") and ("a", "bc")
        // would have the same signature.
        parts
            .iter()
            .map(AsRef::as_ref)
            .fold(self.0.clone(), |mac, part| mac.chain_update((part.len() as u64).to_be_bytes()).chain_update(part))
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
    fn a_proxy_that_does_not_tell_its_clients_addresses_has_no_hash_for_bans() {
        let (key, address) = (ClusterKey::derive("one"), [10, 0, 0, 1].into());
        assert!(key.hash_address(ClientNetwork::of(address)).is_some());
        assert_eq!(key.hash_address(ClientNetwork::of_proxy(address)), None);
    }

    #[test]
    fn a_signature_is_valid_for_its_own_parts_and_key_only() {
        let key = ClusterKey::derive("one");
        let signature = key.sign(&["sid", "ab", "c"]);
        assert_eq!(signature.len(), 43);
        assert!(key.verify(&["sid", "ab", "c"], &signature));
        for parts in [&["sid", "a", "bc"][..], &["sid", "abc"], &["other", "ab", "c"], &["sid", "ab", "c", ""]] {
            assert!(!key.verify(parts, &signature), "{parts:?}");
        }
        assert!(!ClusterKey::derive("two").verify(&["sid", "ab", "c"], &signature));
        for forged in ["", "!", &signature[1..], &"A".repeat(43)] {
            assert!(!key.verify(&["sid", "ab", "c"], forged), "{forged}");
        }
    }
}
