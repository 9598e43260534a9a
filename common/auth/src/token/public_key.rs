//! Public keys of identity sources, from JSON Web Key Sets (RFC 7517). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};

use switchboard_core::domain::{Jwk, Jwks};

/// Size of an RSA modulus, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// Longest public exponent of RSA, in bytes.
const RSA_EXPONENT_MAX: usize = 4;
/// Longest key id, in bytes.
pub(super) const KEY_ID_MAX: usize = 256;
/// Length of an Ed25519 key and of a coordinate of P-256, in bytes.
const POINT_BYTES: usize = 32;

/// Public key with the one algorithm that it verifies.
#[derive(Clone, Debug)]
pub struct PublicKey {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl PublicKey {
    /// Reads a key: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA.
    ///
    /// # Errors
    /// What is wrong with the key.
    fn read(jwk: &Jwk) -> Result<Self, &'static str> {
        if jwk.d.is_some() || jwk.k.is_some() {
            return Err("must not have a private part or a secret");
        }
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Err("must be for signatures");
        }
        if jwk.kid.as_ref().is_some_and(|id| id.is_empty() || id.len() > KEY_ID_MAX) {
            return Err("must have a kid of 1 to 256 bytes");
        }
        let (name, algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => ("RS256", Algorithm::RS256, rsa(jwk)?),
            ("EC", Some("P-256")) => ("ES256", Algorithm::ES256, p256(jwk)?),
            ("OKP", Some("Ed25519")) => ("EdDSA", Algorithm::EdDSA, ed25519(jwk)?),
            _ => return Err("must be RSA, EC with P-256 or OKP with Ed25519"),
        };
        // RFC 9864 renames EdDSA with this curve.
        let is_same = |alg: &str| alg == name || (name == "EdDSA" && alg == "Ed25519");
        if jwk.alg.as_deref().is_some_and(|alg| !is_same(alg)) {
            return Err("must be for RS256, ES256 or EdDSA");
        }
        Ok(Self { id: jwk.kid.clone(), algorithm, key })
    }
}

fn rsa(jwk: &Jwk) -> Result<DecodingKey, &'static str> {
    let (n, e) = (unsigned(jwk.n.as_deref())?, unsigned(jwk.e.as_deref())?);
    let bits = n.first().map_or(0, |first| n.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0));
    if !RSA_BITS.contains(&bits) {
        return Err("must have an RSA modulus of 2,048 to 4,096 bits");
    }
    if e.is_empty() || e.len() > RSA_EXPONENT_MAX {
        return Err("must have an RSA exponent of 1 to 4 bytes");
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

/// Reads a number. Some programs write it with leading zeros, which RFC 7518 forbids.
fn unsigned(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let bytes = decode(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes[zeros..].to_vec())
}

fn p256(jwk: &Jwk) -> Result<DecodingKey, &'static str> {
    let (x, y) = (point(jwk.x.as_deref())?, point(jwk.y.as_deref())?);
    Ok(DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat()))
}

fn ed25519(jwk: &Jwk) -> Result<DecodingKey, &'static str> {
    Ok(DecodingKey::from_ed_der(&point(jwk.x.as_deref())?))
}

fn point(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let bytes = decode(text)?;
    if bytes.len() == POINT_BYTES { Ok(bytes) } else { Err("must have coordinates of 32 bytes") }
}

fn decode(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let text = text.ok_or("lacks a member of its type")?.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "must have its numbers as base64url")
}

/// Public keys of one identity source.
#[derive(Clone, Debug, Default)]
pub struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// Reads the keys of a set that can be used. A provider publishes others as well, for
    /// encryption or with other algorithms; they are left out.
    #[must_use]
    pub fn read(set: &Jwks) -> Self {
        Self(set.keys.iter().filter_map(|jwk| PublicKey::read(jwk).ok()).collect())
    }

    /// Checks that every key of a set can be used, and that tokens can name each of several.
    ///
    /// # Errors
    /// What is wrong with a key, with its index.
    pub fn check(set: &Jwks) -> Result<(), String> {
        if set.keys.is_empty() {
            return Err("must have a key".to_owned());
        }
        for (index, jwk) in set.keys.iter().enumerate() {
            PublicKey::read(jwk).map_err(|problem| format!("key {index} {problem}"))?;
            if set.keys.len() > 1 && jwk.kid.is_none() {
                return Err(format!("key {index} must have a kid, because there are several"));
            }
            if set.keys[..index].iter().any(|other| other.kid == jwk.kid) {
                return Err(format!("key {index} must have a kid of its own"));
            }
        }
        Ok(())
    }

    /// Returns the key for a token: the one with its `kid` and its algorithm. A token without `kid`
    /// gets the only key of its algorithm.
    #[must_use]
    pub fn find(&self, token: &UnverifiedToken) -> Option<&PublicKey> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == token.algorithm);
        match &token.key_id {
            Some(id) => fitting.find(|key| key.id.as_ref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names in a token of an identity source, which choose the key. Nothing is verified.
#[derive(Clone, Debug)]
pub struct UnverifiedToken {
    /// Claim `iss`.
    pub issuer: String,
    /// Claim `aud`.
    pub audiences: Vec<String>,
    /// Header `kid`.
    pub key_id: Option<String>,
    /// Header `alg`.
    pub(super) algorithm: Algorithm,
}
