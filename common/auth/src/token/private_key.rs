//! Private keys of the service's own tokens: Ed25519 (RFC 8032) in PEM (PKCS #8). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use sha2::{Digest as _, Sha256};

use switchboard_core::RingKey;
use switchboard_core::domain::{Jwk, Jwks};
use switchboard_core::key_ring::Keys;

/// Public keys of the private keys in RFC 8032 and RFC 8410, and that of 32 zero bytes. Any reader
/// could sign with them.
const DOCUMENTED_KEYS: [&str; 3] = [
    "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE",
    "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik",
];

/// Ed25519 key that signs tokens, with its public key.
pub struct PrivateKey {
    id: String,
    /// Public key in base64url.
    public: String,
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl PrivateKey {
    /// Reads the keys in a text: sections `PRIVATE KEY` of PEM, one after the other. Text outside
    /// of sections does not count.
    ///
    /// # Errors
    /// What is wrong, without any content of the text.
    pub fn read_all(text: &str) -> Result<Vec<Self>, &'static str> {
        let sections: Result<Vec<_>, _> = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()).collect();
        let sections = sections.map_err(|_| "must be in PEM, from BEGIN to END")?;
        // Sections of kinds that the library does not know, such as encrypted keys, are left out.
        if sections.is_empty() || sections.len() != text.matches("-----BEGIN ").count() {
            return Err("must be private keys in PEM (PKCS #8, not encrypted)");
        }
        sections.into_iter().map(|(kind, der)| Self::read(kind, &der)).collect()
    }

    fn read(kind: SectionKind, der: &[u8]) -> Result<Self, &'static str> {
        const WRONG_KIND: &str = "must be Ed25519, as `openssl genpkey -algorithm ed25519` makes it";
        if kind != SectionKind::PrivateKey {
            return Err(WRONG_KIND);
        }
        // OpenSSL writes no public key beside the private one.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| WRONG_KIND)?;
        let point = pair.public_key().as_ref();
        let public = URL_SAFE_NO_PAD.encode(point);
        // The thumbprint of RFC 7638. Its members have this order.
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}"#);
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(Sha256::digest(members)),
            signing: EncodingKey::from_ed_der(der),
            verifying: DecodingKey::from_ed_der(point),
            public,
        })
    }

    /// Returns whether the key is that of an example in a specification.
    #[must_use]
    pub fn is_documented(&self) -> bool {
        DOCUMENTED_KEYS.contains(&&*self.public)
    }

    /// Returns the key for signatures.
    pub(super) const fn signing(&self) -> &EncodingKey {
        &self.signing
    }

    /// Returns the public key.
    pub(super) const fn verifying(&self) -> &DecodingKey {
        &self.verifying
    }

    fn jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".into(),
            crv: Some("Ed25519".into()),
            x: Some(self.public.clone()),
            kid: Some(self.id.clone()),
            alg: Some("EdDSA".into()),
            purpose: Some("sig".into()),
            ..Jwk::default()
        }
    }
}

impl RingKey for PrivateKey {
    /// Returns the thumbprint of the public key (RFC 7638): 43 characters.
    fn id(&self) -> &str {
        &self.id
    }
}

impl std::fmt::Debug for PrivateKey {
    /// Shows the id alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.id).finish()
    }
}

/// Returns the public keys of private keys, the current one first.
pub(super) fn public_keys(keys: &Keys<PrivateKey>) -> Jwks {
    Jwks { keys: keys.all().map(PrivateKey::jwk).collect() }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    fn pem(kind: &str, der: &[u8]) -> String {
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
    }

    /// Returns a key as OpenSSL writes it.
    pub(in crate::token) fn key(seed: [u8; 32]) -> String {
        const HEAD: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
        pem("PRIVATE KEY", &[&HEAD[..], &seed].concat())
    }

    #[test]
    fn keys_are_read_in_their_order_and_named_by_their_thumbprints() {
        // The key of RFC 8037, appendix A, whose thumbprint is there too.
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let text = format!("A comment\n{}\r\n{}", key([7; 32]), key(seed.try_into().unwrap()));
        let keys = PrivateKey::read_all(&text).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[1].id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(keys[1].public, DOCUMENTED_KEYS[0]);
        assert_ne!(keys[0].id(), keys[1].id());
        assert_eq!(format!("{:?}", keys[1]), format!("PrivateKey({:?})", keys[1].id()));
    }

    #[test]
    fn a_key_that_ring_writes_with_its_public_key_is_read() {
        let der = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let keys = PrivateKey::read_all(&pem("PRIVATE KEY", der.as_ref())).unwrap();
        assert!(!keys[0].is_documented());
    }

    #[test]
    fn keys_of_documents_are_known() {
        // RFC 8410, section 10.3.
        let example = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
        for text in [pem("PRIVATE KEY", &STANDARD.decode(example).unwrap()), key([0; 32])] {
            assert!(PrivateKey::read_all(&text).unwrap()[0].is_documented(), "{text}");
        }
    }

    #[test]
    fn a_text_with_anything_but_ed25519_keys_is_refused_without_its_content() {
        const NOT_PEM: &str = "must be in PEM, from BEGIN to END";
        const NO_KEY: &str = "must be private keys in PEM (PKCS #8, not encrypted)";
        const NOT_ED25519: &str = "must be Ed25519, as `openssl genpkey -algorithm ed25519` makes it";
        let good = key([7; 32]);
        // The beginning of a key of P-256.
        let p256 = STANDARD.decode("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg").unwrap();
        for (text, problem) in [
            (String::new(), NO_KEY),
            ("a-secret-of-at-least-32-bytes!!!".to_owned(), NO_KEY),
            (format!("{good}{}", pem("ENCRYPTED PRIVATE KEY", &[1])), NO_KEY),
            (good.replace("-----END", "-----FIN"), NOT_PEM),
            (good.replace("MC4C", "!!!!"), NOT_PEM),
            (pem("PRIVATE KEY", &p256), NOT_ED25519),
            (pem("PRIVATE KEY", &[7; 32]), NOT_ED25519),
            (pem("RSA PRIVATE KEY", &[1]), NOT_ED25519),
            (pem("PUBLIC KEY", &[1]), NOT_ED25519),
        ] {
            assert_eq!(PrivateKey::read_all(&text).unwrap_err(), problem, "{text}");
        }
    }
}
