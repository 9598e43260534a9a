//! API keys of operators.
//!
//! The configuration holds only the SHA-256 hashes of the keys. A plain SHA-256 is enough, because
//! a key is random and long (about 32 bytes), not a password that a person chose.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// Permissions of an operator key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// May read.
    Read,
    /// May read and change.
    Write,
}

#[derive(Clone)]
struct Key {
    name: String,
    scope: Scope,
    hash: [u8; 32],
}

/// All operator keys. Empty by default: then every operator request is refused.
#[derive(Clone, Default)]
pub struct OperatorKeys(Vec<Key>);

impl OperatorKeys {
    /// Parses keys of the form `name:scope:hash`. `scope` is `read` or `write`; `hash` is the
    /// SHA-256 of the key, as 64 hexadecimal digits.
    ///
    /// Returns `None` if a text is malformed, two keys have the same name, or a hash is that of the
    /// empty text: `sha256sum` of a variable that was not set.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let keys: Vec<Key> = texts.into_iter().map(Key::parse).collect::<Option<_>>()?;
        let distinct =
            keys.iter().enumerate().all(|(index, key)| keys[..index].iter().all(|other| other.name != key.name));
        distinct.then_some(Self(keys))
    }

    /// Returns whether no key is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the name and scope of a key, or `None` if the key is unknown.
    ///
    /// Compares with all hashes in constant time, so that the duration reveals nothing about them.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<(&str, Scope)> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let mut found = u64::MAX;
        for (index, key) in (0_u64..).zip(&self.0) {
            let same: Choice = key.hash.ct_eq(&hash);
            found.conditional_assign(&index, same);
        }
        let key = usize::try_from(found).ok().and_then(|index| self.0.get(index))?;
        Some((&key.name, key.scope))
    }
}

impl std::fmt::Debug for OperatorKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (&key.name, key.scope))).finish()
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (name, scope, digits) = (parts.next()?, parts.next()?, parts.next()?);
        let scope = match scope {
            "read" => Scope::Read,
            "write" => Scope::Write,
            _ => return None,
        };
        if name.is_empty() || parts.next().is_some() || digits.len() != 64 || !digits.is_ascii() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        if hash == <[u8; 32]>::from(Sha256::digest("")) {
            return None;
        }
        Some(Self { name: name.to_owned(), scope, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc` and of a longer text (FIPS 180-2, B.1 and B.2), and of the empty text.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const LONGER: &str = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_key_is_found_by_its_hash_and_has_its_scope() {
        let texts = [format!("eve:read:{LONGER}"), format!("ops:write:{ABC}")];
        let keys = OperatorKeys::parse(texts.iter().map(String::as_str)).unwrap();
        assert_eq!(keys.find("abc"), Some(("ops", Scope::Write)));
        let longer = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(keys.find(longer), Some(("eve", Scope::Read)));
        assert_eq!(keys.find(""), None);
        assert_eq!(keys.find("abd"), None);
        assert_eq!(OperatorKeys::default().find("abc"), None);
        assert!(!format!("{keys:?}").contains("ba78"));
    }

    #[test]
    fn a_malformed_or_duplicate_key_is_rejected() {
        let good = format!("ops:write:{ABC}");
        for bad in
            ["", "ops", "ops:write", "ops:write:12", &good[1..3], &format!("ops:all:{ABC}"), &format!("{good}:x")]
        {
            assert!(OperatorKeys::parse([bad]).is_none(), "{bad}");
        }
        assert!(
            OperatorKeys::parse([good.as_str(), &format!("ops:read:{LONGER}")]).is_none(),
            "two keys with one name"
        );
        assert!(OperatorKeys::parse([format!("eve:read:{NOTHING}").as_str()]).is_none(), "the hash of no key");
        assert!(OperatorKeys::parse([]).is_some_and(|keys| keys.is_empty()));
    }
}
