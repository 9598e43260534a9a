//! Operators' keys: known by their hashes alone. A key is 32 random bytes or so, made by a machine, so a plain SHA-256 keeps it.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// To look.
    Read,
    /// To look and to intervene.
    Write,
}

#[derive(Clone)]
struct Key {
    name: String,
    scope: Scope,
    hash: [u8; 32],
}

/// All keys. There are none by default: then there are no operators.
#[derive(Clone, Default)]
pub struct OperatorKeys(Vec<Key>);

impl OperatorKeys {
    /// Reads `name:scope:hash` of each: scope `read` or `write`, the hash 64 hexadecimal digits of the key's SHA-256. `None` when one is
    /// something else, or two have a name.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let keys: Vec<Key> = texts.into_iter().map(Key::parse).collect::<Option<_>>()?;
        let distinct =
            keys.iter().enumerate().all(|(index, key)| keys[..index].iter().all(|other| other.name != key.name));
        distinct.then_some(Self(keys))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name and scope of a key. Takes as long for any wrong key, and whichever the right one is.
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
        Some(Self { name: name.to_owned(), scope, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc` (FIPS 180-2, B.1) and of the empty text.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_key_is_known_by_its_hash_and_has_its_scope() {
        let texts = [format!("eve:read:{NOTHING}"), format!("ops:write:{ABC}")];
        let keys = OperatorKeys::parse(texts.iter().map(String::as_str)).unwrap();
        assert_eq!(keys.find("abc"), Some(("ops", Scope::Write)));
        assert_eq!(keys.find(""), Some(("eve", Scope::Read)));
        assert_eq!(keys.find("abd"), None);
        assert_eq!(OperatorKeys::default().find("abc"), None);
        assert!(!format!("{keys:?}").contains("ba78"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = format!("ops:write:{ABC}");
        for bad in
            ["", "ops", "ops:write", "ops:write:12", &good[1..3], &format!("ops:all:{ABC}"), &format!("{good}:x")]
        {
            assert!(OperatorKeys::parse([bad]).is_none(), "{bad}");
        }
        assert!(OperatorKeys::parse([good.as_str(), &format!("ops:read:{NOTHING}")]).is_none(), "two of one name");
        assert!(OperatorKeys::parse([]).is_some_and(|keys| keys.is_empty()));
    }
}
