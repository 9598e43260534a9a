//! Keys that can be rotated: the current one signs, and every key of the ring verifies.
//!
//! A rotation takes three steps, because processes do not change their keys at the same moment: add
//! the next key as one that only verifies, make it the current one, remove the previous one. In
//! each step every process accepts the signatures of all others.

use std::sync::{Arc, PoisonError, RwLock};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Secret;

/// Maximum number of keys of a ring besides the current one.
pub const PREVIOUS_KEYS_MAX: usize = 3;

/// Number of bytes in the id of a key.
const ID_BYTES: usize = 8;

/// Key that a ring can hold.
pub trait RingKey {
    /// Returns the public id of the key. Tokens and logs may name it.
    fn id(&self) -> &str;
}

/// Secret of a ring.
pub struct Key {
    secret: Secret,
    id: Box<str>,
    cluster: Hmac<Sha256>,
}

impl Key {
    fn new(secret: Secret) -> Self {
        let bytes = secret.expose().as_bytes();
        let derive = |purpose: &str| keyed(bytes).chain_update(purpose).finalize().into_bytes();
        let id = hex::encode(&derive("switchboard key id v1")[..ID_BYTES]).into();
        Self { id, cluster: keyed(&derive("switchboard cluster key v1")), secret }
    }

    /// Returns the secret.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the public id of the key: 16 hexadecimal digits of a hash. It does not reveal the
    /// secret, so that tokens and logs may name it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns HMAC-SHA256 with a key that is derived from the secret, for signatures between
    /// nodes. Derived once, because nodes sign each request that they hand over.
    pub(crate) const fn cluster(&self) -> &Hmac<Sha256> {
        &self.cluster
    }
}

impl RingKey for Key {
    fn id(&self) -> &str {
        self.id()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// The keys of a ring at one moment.
#[derive(Debug)]
pub struct Keys<K = Key> {
    current: K,
    previous: Vec<K>,
}

impl<K: RingKey> Keys<K> {
    /// Returns the key that signs.
    #[must_use]
    pub const fn current(&self) -> &K {
        &self.current
    }

    /// Returns all keys, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &K> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    /// Returns the key with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&K> {
        self.all().find(|key| key.id() == id)
    }
}

/// Keys of one purpose: secrets, or private keys. Clones share the keys, so that a replacement
/// reaches every holder.
pub struct KeyRing<K = Key>(Arc<RwLock<Arc<Keys<K>>>>);

impl<K> KeyRing<K> {
    /// Creates a ring with a key that signs, and others that only verify.
    #[must_use]
    pub fn with_keys(current: K, previous: Vec<K>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(Keys { current, previous }))))
    }

    /// Returns the keys as they are now.
    #[must_use]
    pub fn load(&self) -> Arc<Keys<K>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces all keys, for every clone of this ring.
    pub fn replace_keys(&self, current: K, previous: Vec<K>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Keys { current, previous });
    }
}

impl KeyRing {
    /// Creates a ring with a secret that signs, and others that only verify.
    #[must_use]
    pub fn new(current: Secret, previous: impl IntoIterator<Item = Secret>) -> Self {
        Self::with_keys(Key::new(current), previous.into_iter().map(Key::new).collect())
    }

    /// Replaces all secrets, for every clone of this ring.
    pub fn replace(&self, current: Secret, previous: impl IntoIterator<Item = Secret>) {
        self.replace_keys(Key::new(current), previous.into_iter().map(Key::new).collect());
    }
}

impl<K> Clone for KeyRing<K> {
    /// Returns a ring that shares the keys.
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl From<&str> for KeyRing {
    /// Creates a ring of one key.
    fn from(secret: &str) -> Self {
        Self::new(Secret::new(secret), [])
    }
}

impl From<&Self> for KeyRing {
    /// Returns a clone, which shares the keys.
    fn from(ring: &Self) -> Self {
        ring.clone()
    }
}

impl std::fmt::Debug for Key {
    /// Shows no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

impl<K: RingKey + std::fmt::Debug> std::fmt::Debug for KeyRing<K> {
    /// Shows what the keys show, which is no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.load().all()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_key_is_first_and_each_key_is_found_by_its_id() {
        let ring = KeyRing::new(Secret::new("new"), [Secret::new("old")]);
        let keys = ring.load();
        let secrets: Vec<_> = keys.all().map(|key| key.secret().expose()).collect();
        assert_eq!((keys.current().secret().expose(), secrets), ("new", vec!["new", "old"]));
        for key in keys.all() {
            assert_eq!(keys.find(key.id()).map(|found| found.secret().expose()), Some(key.secret().expose()));
        }
        assert!(keys.find("0123456789abcdef").is_none());
    }

    #[test]
    fn a_replacement_reaches_every_clone_and_not_the_keys_that_were_loaded_before() {
        let ring = KeyRing::from("old");
        let (clone, before) = (ring.clone(), ring.load());
        ring.replace(Secret::new("new"), [Secret::new("old")]);
        assert_eq!(clone.load().current().secret().expose(), "new");
        assert_eq!(before.current().secret().expose(), "old");
    }

    #[test]
    fn an_id_depends_on_the_secret_alone_and_debug_shows_no_secret() {
        let (one, other) = (KeyRing::from("s3cret"), KeyRing::from("s3cre7"));
        assert_eq!(one.load().current().id(), KeyRing::from("s3cret").load().current().id());
        assert_ne!(one.load().current().id(), other.load().current().id());
        assert_eq!(one.load().current().id().len(), 2 * ID_BYTES);
        assert!(!format!("{one:?} {:?}", one.load()).contains("s3cret"));
    }
}
