//! Signs messages between the nodes of one cluster.
//!
//! All nodes derive the same key from a configured secret, so that a node can verify that a message
//! comes from another node and not from a client.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};

use crate::client_address::ClientNetwork;
use crate::key_ring::{Key, KeyRing, Keys};

/// HMAC-SHA256 keys that all nodes of a cluster share. The current key of the first ring signs, and
/// all verify.
#[derive(Clone)]
pub struct ClusterKey {
    signing: KeyRing,
    accepted: Option<KeyRing>,
}

impl ClusterKey {
    /// Derives the keys from configured secrets. The same secrets may also sign tokens: a derived
    /// key does not reveal the secret, and a signature by one key never verifies with the other.
    #[must_use]
    pub fn derive(secrets: impl Into<KeyRing>) -> Self {
        Self { signing: secrets.into(), accepted: None }
    }

    /// Accepts the signatures of the keys of another ring too, so that processes that sign with one
    /// ring and processes that sign with the other accept each other.
    #[must_use]
    pub fn accepting(mut self, secrets: impl Into<KeyRing>) -> Self {
        self.accepted = Some(secrets.into());
        self
    }

    /// Returns the keys of all rings, those of the ring that signs first.
    fn rings(&self) -> impl Iterator<Item = Arc<Keys>> {
        std::iter::once(&self.signing).chain(&self.accepted).map(KeyRing::load)
    }

    /// Returns the signature of `parts`: 43 characters of unpadded base64url (RFC 4648, section 5).
    ///
    /// The first part names the purpose, so that a signature for one purpose is not valid for
    /// another.
    #[must_use]
    pub fn sign<P: AsRef<[u8]>>(&self, parts: &[P]) -> String {
        sign(self.signing.load().current(), parts)
    }

    /// Returns whether `signature` is the signature of `parts` by one of the keys. Compares in
    /// constant time.
    #[must_use]
    pub fn verify<P: AsRef<[u8]>>(&self, parts: &[P], signature: &str) -> bool {
        URL_SAFE_NO_PAD.decode(signature).is_ok_and(|bytes| {
            self.rings().any(|keys| keys.all().any(|key| mac(key, parts).verify_slice(&bytes).is_ok()))
        })
    }

    /// Returns whether `beginning` is the beginning of a signature of `parts` by one of the keys.
    /// Does not compare in constant time.
    #[must_use]
    pub fn verify_beginning<P: AsRef<[u8]>>(&self, parts: &[P], beginning: &str) -> bool {
        self.rings().any(|keys| keys.all().any(|key| sign(key, parts).starts_with(beginning)))
    }

    /// Returns the SHA-256 of a text or body that a signature covers: 43 characters, as a signature
    /// has.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
    }

    /// Returns keyed hashes of a client's network (22 characters each), for comparison without
    /// storing the address itself: one by each key, separated by commas, the current key's first.
    /// `None` for the network of a proxy, because a ban by it would refuse every client of the
    /// proxy.
    ///
    /// A ban is stored with the hashes that a client had when it came. It is found by any of the
    /// hashes that the client has now, so that a rotation ends no ban.
    #[must_use]
    pub fn hash_address(&self, network: ClientNetwork) -> Option<Box<str>> {
        if network.is_proxy() {
            return None;
        }
        let network = network.to_string();
        let hash = |key: &Key| sign(key, &["address", &network])[..22].to_owned();
        let hashes: Vec<_> = self.rings().flat_map(|keys| keys.all().map(hash).collect::<Vec<_>>()).collect();
        Some(hashes.join(",").into())
    }
}

fn sign<P: AsRef<[u8]>>(key: &Key, parts: &[P]) -> String {
    URL_SAFE_NO_PAD.encode(mac(key, parts).finalize().into_bytes())
}

fn mac<P: AsRef<[u8]>>(key: &Key, parts: &[P]) -> Hmac<Sha256> {
    // Each part is preceded by its length. Without the lengths, ("ab", "c") and ("a", "bc") would
    // have the same signature.
    let parts = parts.iter().map(AsRef::as_ref);
    parts
        .fold(key.cluster().clone(), |mac, part| mac.chain_update((part.len() as u64).to_be_bytes()).chain_update(part))
}

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn a_proxy_that_does_not_tell_its_clients_addresses_has_no_hash_for_bans() {
        let (key, address) = (ClusterKey::derive("one"), [10, 0, 0, 1].into());
        assert!(key.hash_address(ClientNetwork::of(address)).is_some());
        assert_eq!(key.hash_address(ClientNetwork::of_proxy(address)), None);
    }

    /// Returns the keys of one process in a step of a rotation.
    fn rotated(current: &str, previous: &str) -> ClusterKey {
        ClusterKey::derive(KeyRing::new(Secret::new(current), [Secret::new(previous)]))
    }

    #[test]
    fn in_each_step_of_a_rotation_every_node_accepts_the_signatures_of_every_other() {
        let steps =
            [ClusterKey::derive("old"), rotated("old", "new"), rotated("new", "old"), ClusterKey::derive("new")];
        for (one, next) in steps.iter().zip(&steps[1..]) {
            for (signer, verifier) in [(one, next), (next, one)] {
                let signature = signer.sign(&["sid", "a"]);
                assert!(verifier.verify(&["sid", "a"], &signature));
                assert!(verifier.verify_beginning(&["sid", "a"], &signature[..20]));
                assert!(!verifier.verify_beginning(&["sid", "b"], &signature[..20]));
            }
        }
        let signature = steps[0].sign(&["sid", "a"]);
        assert!(!steps[3].verify(&["sid", "a"], &signature), "of a removed key");
        assert!(!steps[3].verify_beginning(&["sid", "a"], &signature[..20]), "of a removed key");
    }

    #[test]
    fn an_address_has_a_hash_in_common_with_each_neighbouring_step_of_a_rotation() {
        let network = ClientNetwork::of([10, 0, 0, 1].into());
        let hashes = |key: &ClusterKey| key.hash_address(network).expect("no proxy");
        let (old, new) = (ClusterKey::derive("old"), ClusterKey::derive("new"));
        assert_eq!(*hashes(&rotated("new", "old")), format!("{},{}", hashes(&new), hashes(&old)));
        assert_eq!(hashes(&old).len(), 22);
        assert_ne!(hashes(&old), hashes(&new));
    }

    #[test]
    fn a_process_that_signs_with_one_ring_accepts_a_process_that_signs_with_the_other() {
        let (one, two) = (ClusterKey::derive("one"), ClusterKey::derive("two"));
        let (first, second) = (one.clone().accepting("two"), two.clone().accepting("one"));
        let steps = [one.clone(), first.clone(), second.clone(), two.clone()];
        for (left, right) in steps.iter().zip(&steps[1..]) {
            for (signer, verifier) in [(left, right), (right, left)] {
                let signature = signer.sign(&["sid", "a"]);
                assert!(verifier.verify(&["sid", "a"], &signature));
                assert!(verifier.verify_beginning(&["sid", "a"], &signature[..20]));
            }
        }
        assert_eq!(second.sign(&["sid", "a"]), two.sign(&["sid", "a"]), "the first ring signs");
        let hashes = |key: &ClusterKey| key.hash_address(ClientNetwork::of([10, 0, 0, 1].into())).expect("no proxy");
        assert_eq!(*hashes(&first), format!("{},{}", hashes(&one), hashes(&two)));
        assert_eq!(*hashes(&second), format!("{},{}", hashes(&two), hashes(&one)));
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
