//! Keys of access, guest and join tokens: `JWT_ACCESS_ALGORITHM`, `JWT_ACCESS_SECRET`,
//! `JWT_ACCESS_PRIVATE_KEY`.

use switchboard_auth::{AccessKeys, PrivateKey};
use switchboard_core::key_ring::PREVIOUS_KEYS_MAX;
use switchboard_core::{KeyRing, RingKey as _};

use super::configured_keys::{ConfiguredKeys, KeyText, private_keys_in};
use super::{Env, Mode};

/// Secret in development if none is set.
pub(super) const DEV_ACCESS_SECRET: &str = "switchboard-development-access-secret";

const ALGORITHM: &str = "JWT_ACCESS_ALGORITHM";
const SECRET: &str = "JWT_ACCESS_SECRET";
const PRIVATE_KEY: &str = "JWT_ACCESS_PRIVATE_KEY";

impl Env {
    /// Reads the keys of access tokens. Returns the private keys also as they are configured.
    ///
    /// The algorithm is a setting of its own and does not follow from the keys that are set: a key
    /// must first verify everywhere before it signs anywhere.
    pub(super) fn access_keys(&mut self, mode: Mode) -> (AccessKeys, Option<ConfiguredKeys<PrivateKey>>) {
        let is_eddsa = self.parsed(ALGORITHM, false, "HS256 or EdDSA", |text| match text {
            "HS256" => Some(false),
            "EdDSA" => Some(true),
            _ => None,
        });
        let (configured, is_wrong) = match self.private_keys(mode) {
            Ok(configured) => (configured, false),
            Err((variable, problem)) => {
                self.reject(&variable, problem);
                (None, true)
            }
        };
        let private_keys = configured.as_ref().map(|keys| keys.ring.clone());
        let access = match private_keys {
            Some(private_keys) if is_eddsa => AccessKeys::EdDsa { private_keys, secrets: self.key_ring(SECRET) },
            None if is_eddsa => {
                if !is_wrong {
                    self.reject(PRIVATE_KEY, format!("must be set with {ALGORITHM}=EdDSA"));
                }
                AccessKeys::from(DEV_ACCESS_SECRET)
            }
            private_keys => {
                let missing = format!("must be set in production, or {ALGORITHM}=EdDSA with {PRIVATE_KEY}");
                let secrets = self.required_key_ring(SECRET, DEV_ACCESS_SECRET, mode, &missing);
                AccessKeys::Hs256 { secrets, private_keys }
            }
        };
        (access, configured)
    }

    /// Reads the private keys, if they are set.
    ///
    /// # Errors
    /// The wrong variable and its problem.
    fn private_keys(&self, mode: Mode) -> Result<Option<ConfiguredKeys<PrivateKey>>, (String, String)> {
        let (keys, file) = match self.key_text(PRIVATE_KEY)? {
            None => return Ok(None),
            Some(KeyText::File(path, text)) => {
                (private_keys_in(&text).map_err(|problem| (format!("{PRIVATE_KEY}_FILE"), problem))?, Some(path))
            }
            Some(KeyText::Variables(current, previous)) => (in_variables(current.expose(), &previous)?, None),
        };
        let checked = check_private_keys(&keys, mode);
        let mut keys = keys.into_iter();
        let Some(current) = keys.next() else { return Ok(None) };
        let configured = ConfiguredKeys { name: PRIVATE_KEY, ring: KeyRing::with_keys(current, keys.collect()), file };
        match checked {
            Ok(()) => Ok(Some(configured)),
            Err((index, problem)) => Err((configured.variable(index), problem.to_owned())),
        }
    }
}

/// Reads the keys in the variables `NAME` and `NAME_PREVIOUS`.
fn in_variables(current: &str, previous: &[String]) -> Result<Vec<PrivateKey>, (String, String)> {
    let previous_name = || format!("{PRIVATE_KEY}_PREVIOUS");
    let mut keys = PrivateKey::read_all(current).map_err(|problem| (PRIVATE_KEY.to_owned(), problem.to_owned()))?;
    if keys.len() > 1 {
        return Err((PRIVATE_KEY.to_owned(), format!("must be one key; others belong in {}", previous_name())));
    }
    for text in previous {
        keys.extend(PrivateKey::read_all(text).map_err(|problem| (previous_name(), problem.to_owned()))?);
    }
    if keys.len() > 1 + PREVIOUS_KEYS_MAX {
        return Err((previous_name(), format!("must be at most {PREVIOUS_KEYS_MAX} keys")));
    }
    Ok(keys)
}

/// Checks private keys for production.
///
/// # Errors
/// The index of the first wrong key and its problem.
pub(super) fn check_private_keys(keys: &[PrivateKey], mode: Mode) -> Result<(), (usize, &'static str)> {
    if mode == Mode::Development {
        return Ok(());
    }
    for (index, key) in keys.iter().enumerate() {
        if key.is_documented() {
            return Err((index, "is a documented example"));
        }
        if keys[..index].iter().any(|other| other.id() == key.id()) {
            return Err((index, "must not repeat a key"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::super::SecretsConfig;
    use super::*;

    /// Keys by `openssl genpkey -algorithm ed25519`.
    const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEID1pELfJ8Po1vNrSIL7M6V051gVhn9E/9ke7AQUIdn2+
-----END PRIVATE KEY-----";
    const NEXT: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJVj3uLKFqKs80OHgdh5os8wrlwykGI/xBqrYCjTrqFu
-----END PRIVATE KEY-----";
    /// The private key of RFC 8410, section 10.3.
    const DOCUMENTED: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----";
    const P256: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgtwjZoWKVxEfZzUmA
ha9Zn66Q8T60iVt/AwFtoOufBr+hRANCAAR9IyvXFvvICewbNLDFvFkpQsiu0Kjj
N2AOMarLzarVvUTyd/PNt8Wq1PXlvBa/XIWldqKU01T+PyyZYLi71/ms
-----END PRIVATE KEY-----";
    const ACCESS: &str = "0123456789abcdef0123456789abcdef";
    const EDDSA: (&str, &str) = (ALGORITHM, "EdDSA");

    fn read(variables: &[(&str, &str)]) -> Result<SecretsConfig, String> {
        let refresh = [("JWT_REFRESH_SECRET", "fedcba9876543210fedcba9876543210")];
        let mut env = Env::new(variables.iter().chain(&refresh).copied());
        let secrets = SecretsConfig::from_env(&mut env, Mode::Production);
        env.finish().map(|()| secrets).map_err(|errors| errors.to_string())
    }

    fn ids(keys: &AccessKeys) -> Vec<String> {
        keys.public_keys().keys.into_iter().filter_map(|key| key.kid).collect()
    }

    #[test]
    fn a_private_key_signs_only_if_the_algorithm_says_so_and_then_stands_in_for_the_secret() {
        let added = read(&[(SECRET, ACCESS), (PRIVATE_KEY, KEY)]).unwrap().access;
        assert!(matches!(added, AccessKeys::Hs256 { private_keys: Some(_), .. }));
        let both = read(&[(SECRET, ACCESS), (PRIVATE_KEY, KEY), EDDSA]).unwrap().access;
        assert!(matches!(both, AccessKeys::EdDsa { secrets: Some(_), .. }));
        let previous = format!("{NEXT}\n");
        let alone = read(&[(PRIVATE_KEY, KEY), ("JWT_ACCESS_PRIVATE_KEY_PREVIOUS", &previous), EDDSA]).unwrap().access;
        assert!(matches!(alone, AccessKeys::EdDsa { secrets: None, .. }));
        assert_eq!((ids(&added), ids(&both).len(), ids(&alone).len()), (ids(&both), 1, 2));
        assert_eq!(ids(&alone)[0], ids(&both)[0]);
        assert!(ids(&read(&[(SECRET, ACCESS)]).unwrap().access).is_empty());
    }

    #[test]
    fn missing_weak_and_malformed_private_keys_are_refused_by_their_variable_and_without_their_text() {
        const PREVIOUS: &str = "JWT_ACCESS_PRIVATE_KEY_PREVIOUS";
        const FILE: &str = "JWT_ACCESS_PRIVATE_KEY_FILE";
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let (two, many) = (format!("{KEY}\n{NEXT}"), format!("{NEXT}\n").repeat(4));
        let cases: [(&[(&str, &str)], &str); 13] = [
            (&[(PRIVATE_KEY, KEY)], "JWT_ACCESS_SECRET: must be set in production, or JWT_ACCESS_ALGORITHM=EdDSA"),
            (&[EDDSA, (SECRET, ACCESS)], "JWT_ACCESS_PRIVATE_KEY: must be set with JWT_ACCESS_ALGORITHM=EdDSA"),
            (&[(ALGORITHM, "none"), (SECRET, ACCESS)], "JWT_ACCESS_ALGORITHM: must be HS256 or EdDSA"),
            (&[EDDSA, (PRIVATE_KEY, ACCESS)], "JWT_ACCESS_PRIVATE_KEY: must be private keys in PEM (PKCS #8"),
            (&[EDDSA, (PRIVATE_KEY, P256)], "JWT_ACCESS_PRIVATE_KEY: must be Ed25519"),
            (&[EDDSA, (PRIVATE_KEY, DOCUMENTED)], "JWT_ACCESS_PRIVATE_KEY: is a documented example"),
            (&[EDDSA, (PRIVATE_KEY, &two)], "JWT_ACCESS_PRIVATE_KEY: must be one key"),
            (&[EDDSA, (PREVIOUS, KEY)], "_PREVIOUS: needs JWT_ACCESS_PRIVATE_KEY"),
            (&[EDDSA, (PRIVATE_KEY, KEY), (PREVIOUS, KEY)], "_PREVIOUS: must not repeat a key"),
            (&[EDDSA, (PRIVATE_KEY, KEY), (PREVIOUS, &many)], "_PREVIOUS: must be at most 3 keys"),
            (&[EDDSA, (PRIVATE_KEY, KEY), (PREVIOUS, ACCESS)], "_PREVIOUS: must be private keys in PEM"),
            (&[EDDSA, (PRIVATE_KEY, KEY), (FILE, path)], "_FILE: must not be set together with"),
            (&[EDDSA, (FILE, path)], "_FILE: names a file whose keys must be private keys in PEM"),
        ];
        for (variables, expected) in cases {
            let error = read(variables).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(!error.contains(ACCESS) && !error.contains("BEGIN PRIVATE"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_of_private_keys_is_read_again_and_a_bad_one_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access");
        std::fs::write(&path, KEY).unwrap();
        let secrets = read(&[EDDSA, ("JWT_ACCESS_PRIVATE_KEY_FILE", path.to_str().unwrap())]).unwrap();
        let first = ids(&secrets.access);
        assert_eq!(secrets.files.reload_private_keys().await, Ok(false), "unchanged");

        std::fs::write(&path, format!("# next\n{NEXT}\n# old\n{KEY}\n")).unwrap();
        assert_eq!(secrets.files.reload_private_keys().await, Ok(true));
        let rotated = ids(&secrets.access);
        assert_eq!((rotated.len(), &rotated[1]), (2, &first[0]));
        for (bad, problem) in [
            (String::new(), "names a file whose keys must be private keys in PEM (PKCS #8, not encrypted)"),
            (KEY[..60].to_owned(), "names a file whose keys must be in PEM, from BEGIN to END"),
            (format!("{NEXT}\n{DOCUMENTED}"), "key 2 is a documented example"),
            (format!("{NEXT}\n{NEXT}"), "key 2 must not repeat a key"),
            (format!("{NEXT}\n").repeat(5), "names a file with more than 4 keys"),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(secrets.files.reload_private_keys().await, Err(problem.to_owned()));
            assert_eq!(ids(&secrets.access), rotated);
        }
    }
}
