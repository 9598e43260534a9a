//! Keys of access, guest and join tokens: secrets, Ed25519 keys, or both during a switch.

use jsonwebtoken::{Algorithm, EncodingKey};

use switchboard_core::domain::Jwks;
use switchboard_core::{ClusterKey, KeyRing, RingKey as _};

use super::private_key::{self, PrivateKey};

/// Keys of access, guest and join tokens. The variant names the algorithm that signs. Keys of the
/// other one only verify.
#[derive(Clone, Debug)]
pub enum AccessKeys {
    /// A secret signs.
    Hs256 {
        /// Secrets, of which the current one signs.
        secrets: KeyRing,
        /// Private keys whose tokens are accepted too.
        private_keys: Option<KeyRing<PrivateKey>>,
    },
    /// An Ed25519 key signs, so that other services can verify tokens with its public key.
    EdDsa {
        /// Private keys, of which the current one signs.
        private_keys: KeyRing<PrivateKey>,
        /// Secrets whose tokens are accepted too.
        secrets: Option<KeyRing>,
    },
}

impl AccessKeys {
    /// Returns the secrets, if there are any.
    #[must_use]
    pub const fn secrets(&self) -> Option<&KeyRing> {
        match self {
            Self::Hs256 { secrets, .. } => Some(secrets),
            Self::EdDsa { secrets, .. } => secrets.as_ref(),
        }
    }

    /// Returns the private keys, if there are any.
    #[must_use]
    pub const fn private_keys(&self) -> Option<&KeyRing<PrivateKey>> {
        match self {
            Self::Hs256 { private_keys, .. } => private_keys.as_ref(),
            Self::EdDsa { private_keys, .. } => Some(private_keys),
        }
    }

    /// Returns the public keys of the private keys, the current one first.
    #[must_use]
    pub fn public_keys(&self) -> Jwks {
        self.private_keys().map(|ring| private_key::public_keys(&ring.load())).unwrap_or_default()
    }

    /// Returns the key of keyed hashes (bans by address, marks of passcodes) and of hand-overs that
    /// have no secret of their own. It is derived from the secrets that sign tokens, or, if a
    /// private key signs, from those of refresh tokens, because only a process with secrets can
    /// compare hashes.
    ///
    /// While there are both kinds of keys, the hashes of both are accepted: processes before and
    /// after a switch of the algorithm then agree on who is banned.
    #[must_use]
    pub fn cluster_key(&self, refresh: &KeyRing) -> ClusterKey {
        match self {
            Self::Hs256 { secrets, private_keys: None } => ClusterKey::derive(secrets),
            Self::Hs256 { secrets, private_keys: Some(_) } => ClusterKey::derive(secrets).accepting(refresh),
            Self::EdDsa { secrets: None, .. } => ClusterKey::derive(refresh),
            Self::EdDsa { secrets: Some(secrets), .. } => ClusterKey::derive(refresh).accepting(secrets),
        }
    }

    /// Calls `sign` with the key that signs: its algorithm, its id, and the key.
    pub(super) fn with_current<T>(&self, sign: impl FnOnce(Algorithm, &str, &EncodingKey) -> T) -> T {
        match self {
            Self::Hs256 { secrets, .. } => with_current_secret(secrets, sign),
            Self::EdDsa { private_keys, .. } => {
                let keys = private_keys.load();
                sign(Algorithm::EdDSA, keys.current().id(), keys.current().signing())
            }
        }
    }
}

/// Calls `sign` with the secret that signs, as [`AccessKeys::with_current`] does.
pub(super) fn with_current_secret<T>(secrets: &KeyRing, sign: impl FnOnce(Algorithm, &str, &EncodingKey) -> T) -> T {
    let keys = secrets.load();
    let key = EncodingKey::from_secret(keys.current().secret().expose().as_bytes());
    sign(Algorithm::HS256, keys.current().id(), &key)
}

impl From<KeyRing> for AccessKeys {
    /// Returns keys of HS256 alone.
    fn from(secrets: KeyRing) -> Self {
        Self::Hs256 { secrets, private_keys: None }
    }
}

impl From<&KeyRing> for AccessKeys {
    fn from(secrets: &KeyRing) -> Self {
        secrets.clone().into()
    }
}

impl From<&str> for AccessKeys {
    fn from(secret: &str) -> Self {
        KeyRing::from(secret).into()
    }
}

impl From<&Self> for AccessKeys {
    /// Returns a clone, which shares the keys.
    fn from(keys: &Self) -> Self {
        keys.clone()
    }
}
