#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
use super::private_key::tests::key;
use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha384;
use switchboard_core::Secret;

const ACCESS: &str = "access-secret-of-at-least-32-bytes";
const REFRESH: &str = "refresh-secret-of-at-least-32-byte";
const NOW: u64 = 1_800_000_000;

fn tokens() -> Tokens {
    Tokens::new(ACCESS, REFRESH).with_clock(|| NOW * 1000 + 7)
}

fn ann() -> PublicUser {
    PublicUser::new(UserId::parse("aaaaaaaaaaaaaaaaaaaaaaaa").unwrap(), "Ann".into(), None)
}

fn room(text: &str) -> RoomId {
    RoomId::parse(text).unwrap()
}

fn forged(secret: &str, changes: Value) -> String {
    forged_with(&Header::new(Algorithm::HS256), secret, changes)
}

fn forged_with(header: &Header, secret: &str, changes: Value) -> String {
    signatures::install();
    jsonwebtoken::encode(header, &claims(changes), &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// Returns the keys of one process in a step of a rotation.
fn ring(current: &str, previous: &[&str]) -> KeyRing {
    KeyRing::new(Secret::new(current), previous.iter().map(|secret| Secret::new(*secret)))
}

/// Returns Ed25519 keys that are made of these bytes, the current one first.
fn private_ring(seeds: &[u8]) -> KeyRing<PrivateKey> {
    let text: String = seeds.iter().map(|seed| key([*seed; 32])).collect();
    let mut keys = PrivateKey::read_all(&text).unwrap().into_iter();
    KeyRing::with_keys(keys.next().unwrap(), keys.collect())
}

/// Returns the tokens of a process with these keys of access tokens.
fn tokens_of(access: AccessKeys) -> Tokens {
    Tokens::new(access, REFRESH).with_clock(|| NOW * 1000 + 7)
}

fn eddsa(seeds: &[u8], secrets: Option<&str>) -> AccessKeys {
    AccessKeys::EdDsa { private_keys: private_ring(seeds), secrets: secrets.map(KeyRing::from) }
}

/// A token whose header names HS384, with the valid signature of that algorithm.
fn signed_with_hs384(secret: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(r#"{"alg":"HS384","typ":"JWT"}"#), encode(&claims(json!({})).to_string()));
    let mac = Hmac::<Sha384>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "userId": "aaaaaaaaaaaaaaaaaaaaaaaa", "name": "Ann", "email": "a@b.c", "iat": NOW, "exp": NOW + 60,
        "iss": ISSUER, "aud": AUDIENCE,
    });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

fn code<T>(result: Result<T, Refusal>) -> Code {
    result.err().unwrap().code
}

#[test]
fn an_access_token_identifies_its_bearer() {
    let issued = tokens().issue_access(&ann(), "a@b.c", "session").unwrap();
    let identity = tokens().verify_access(&issued.token).unwrap();
    assert_eq!((&identity.user, identity.kind), (&ann(), IdentityKind::User));
    assert_eq!((identity.email.as_deref(), identity.session.as_deref()), (Some("a@b.c"), Some("session")));
}

#[test]
fn a_token_tells_its_time_of_issue_in_milliseconds_and_an_older_one_in_whole_seconds() {
    let issued = tokens().issue_access(&ann(), "a@b.c", "session").unwrap();
    let identity = tokens().verify_access(&issued.token).unwrap();
    assert_eq!((identity.issued_ms, identity.expires_at), (NOW * 1000 + 7, NOW + 15 * 60));
    let join = tokens().issue_join(&ann(), &room("r"), Role::Host, None).unwrap();
    assert_eq!(tokens().verify_join(&join.token, &room("r"), &ann().id).unwrap().issued_ms, NOW * 1000 + 7);
    assert_eq!(tokens().verify_access(&forged(ACCESS, json!({}))).unwrap().issued_ms, NOW * 1000);
}

#[test]
fn a_token_that_another_implementation_signed_is_valid() {
    // Python's hmac and hashlib made it.
    let token = concat!(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJ1c2VySWQiOiJhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWEiLCJuYW1lIjoiQW5uIiwiZW1haWwiOiJhQGIuYyIsImlhdCI6",
        "MTgwMDAwMDAwMCwiZXhwIjoxODAwMDAwMDYwLCJpc3MiOiJ2aWRlb2NhbGwtYXBpIiwiYXVkIjoidmlkZW9jYWxsLWNsaWVu",
        "dCJ9.SR9eDYZrjKKd5Si90iA-Kb1fB7a1RYnDn6RcOsB3fV0",
    );
    assert_eq!(tokens().verify_access(token).unwrap().user, ann());
}

#[test]
fn a_token_of_the_earlier_node_js_service_is_valid() {
    assert!(tokens().verify_access(&forged(ACCESS, json!({}))).is_ok());
}

#[test]
fn a_token_with_any_forged_part_is_invalid() {
    let good = forged(ACCESS, json!({}));
    let unsigned = |header: &str| format!("{header}.{}.", good.split('.').nth(1).unwrap());
    for (defect, token) in [
        ("another key", forged("another-secret-of-at-least-32-byte", json!({}))),
        ("another algorithm", signed_with_hs384(ACCESS)),
        ("no algorithm", unsigned("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0")),
        ("no signature", unsigned(good.split('.').next().unwrap())),
        ("another audience", forged(ACCESS, json!({ "aud": "other" }))),
        ("no audience", forged(ACCESS, json!({ "aud": null }))),
        ("another issuer", forged(ACCESS, json!({ "iss": "other" }))),
        ("no issuer", forged(ACCESS, json!({ "iss": null }))),
        ("no user", forged(ACCESS, json!({ "userId": null }))),
        ("an object as user", forged(ACCESS, json!({ "userId": { "$gt": "" } }))),
        ("a guest as user", forged(ACCESS, json!({ "userId": "guest-0123456789abcdef" }))),
        ("an endless expiry", forged(ACCESS, json!({ "exp": "never" }))),
        ("too long", forged(ACCESS, json!({ "name": "x".repeat(MAX_TOKEN_BYTES) }))),
        ("nothing", String::new()),
        ("noise", "a.b.c".into()),
    ] {
        assert_eq!(code(tokens().verify_access(&token)), Code::TokenInvalid, "{defect}");
    }
}

#[test]
fn a_token_of_a_previous_key_is_valid_and_one_of_a_removed_key_is_not() {
    const OTHER: &str = "another-secret-of-at-least-32-byte";
    let at = |keys: KeyRing| Tokens::new(&keys, ring("refresh", &[])).with_clock(|| NOW * 1000 + 7);
    let old = at(ring(ACCESS, &[]));
    let issued = old.issue_access(&ann(), "a@b.c", "session").unwrap().token;
    let join = old.issue_join(&ann(), &room("r"), Role::Host, None).unwrap().token;
    let rotated = at(ring(OTHER, &[ACCESS]));
    assert!(rotated.verify_access(&issued).is_ok());
    assert!(rotated.verify_join(&join, &room("r"), &ann().id).is_ok());
    assert!(rotated.verify_access(&forged(ACCESS, json!({}))).is_ok(), "without kid each key is tried");
    let newer = rotated.issue_access(&ann(), "a@b.c", "session").unwrap().token;
    let removed = at(ring(OTHER, &[]));
    assert!(removed.verify_access(&newer).is_ok(), "the current key signed it");
    assert_eq!(code(removed.verify_access(&issued)), Code::TokenInvalid);
    assert_eq!(code(removed.verify_for_resume(&issued)), Code::TokenInvalid);
    assert_eq!(code(removed.verify_access(&forged(ACCESS, json!({})))), Code::TokenInvalid);
}

#[test]
fn the_header_names_the_key_that_signed_and_only_that_key_verifies() {
    const OTHER: &str = "another-secret-of-at-least-32-byte";
    let keys = ring(OTHER, &[ACCESS]);
    let tokens = Tokens::new(&keys, "refresh").with_clock(|| NOW * 1000 + 7);
    let id = |secret: &str| Some(KeyRing::from(secret).load().current().id().to_owned());
    let issued = tokens.issue_access(&ann(), "a@b.c", "session").unwrap().token;
    assert_eq!(jsonwebtoken::decode_header(&issued).unwrap().kid, id(OTHER));
    let with_kid = |kid, secret| {
        let header = Header { kid, ..Header::new(Algorithm::HS256) };
        tokens.verify_access(&forged_with(&header, secret, json!({})))
    };
    assert!(with_kid(id(ACCESS), ACCESS).is_ok());
    assert_eq!(code(with_kid(id(OTHER), ACCESS)), Code::TokenInvalid, "the id of another key of the ring");
    assert_eq!(code(with_kid(Some("0123456789abcdef".into()), ACCESS)), Code::TokenInvalid, "an unknown id");
    assert_eq!(code(with_kid(id("stranger"), "stranger")), Code::TokenInvalid, "a key that is not in the ring");
}

#[test]
fn tokens_of_a_private_key_are_verified_with_a_key_of_the_published_set() {
    let (tokens, ann) = (tokens_of(eddsa(&[1, 2], None)), ann());
    let set = tokens.public_keys();
    PublicKeys::check(&set).unwrap();
    assert_eq!(set.keys.len(), 2);
    let published = PublicKeys::read(&set);
    let access = tokens.issue_access(&ann, "a@b.c", "session").unwrap().token;
    let join = tokens.issue_join(&ann, &room("r"), Role::Host, None).unwrap().token;
    for token in [&access, &join] {
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!((header.alg, &header.kid), (Algorithm::EdDSA, &set.keys[0].kid));
        let named = UnverifiedToken {
            issuer: ISSUER.into(),
            audiences: vec![AUDIENCE.into()],
            key_id: header.kid,
            algorithm: header.alg,
        };
        let key = published.find(&named).unwrap();
        jsonwebtoken::decode::<Claims>(token, &key.key, &validation(Algorithm::EdDSA)).unwrap();
    }
    assert_eq!(tokens.verify_access(&access).unwrap().user, ann);
    assert_eq!(tokens.verify_for_resume(&access).unwrap().user, ann);
    assert_eq!(tokens.verify_join(&join, &room("r"), &ann.id).unwrap().role, Role::Host);
    let refresh = tokens.issue_refresh(&ann, "session", "id").unwrap();
    assert_eq!(jsonwebtoken::decode_header(&refresh).unwrap().alg, Algorithm::HS256);
    assert!(tokens.verify_refresh(&refresh).is_ok());
    assert_eq!(tokens_of(ACCESS.into()).public_keys(), Jwks::default());
}

#[test]
fn a_token_whose_algorithm_is_not_that_of_its_key_is_invalid() {
    let access = eddsa(&[1], Some(ACCESS));
    let tokens = tokens_of(access);
    let public = tokens.public_keys().keys.remove(0);
    let (id, x) = (public.kid.unwrap(), public.x.unwrap());
    let secret_id = KeyRing::from(ACCESS).load().current().id().to_owned();
    let point = URL_SAFE_NO_PAD.decode(&x).unwrap();
    // The public key as other programs write it: SubjectPublicKeyInfo (RFC 8410) in PEM.
    let der = [&[48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0][..], &point].concat();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
    let of_private_key = |seeds: &[u8], kid: Option<&str>, changes: Value| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
        let ring = private_ring(seeds).load();
        jsonwebtoken::encode(&header, &claims(changes), ring.current().signing()).unwrap()
    };
    let of_secret = |secret: &[u8], kid: Option<&str>| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims(json!({})), &EncodingKey::from_secret(secret)).unwrap()
    };
    // The helpers make tokens that are valid otherwise.
    assert!(tokens.verify_access(&of_private_key(&[1], Some(&id), json!({}))).is_ok());
    assert!(tokens.verify_access(&of_secret(ACCESS.as_bytes(), Some(&secret_id))).is_ok());

    let mut cases = vec![
        ("EdDSA with the id of the secret", of_private_key(&[1], Some(&secret_id), json!({}))),
        ("EdDSA without an id", of_private_key(&[1], None, json!({}))),
        ("EdDSA by another key", of_private_key(&[2], Some(&id), json!({}))),
        ("HS256 with the id of the private key", of_secret(ACCESS.as_bytes(), Some(&id))),
    ];
    for public in [&point[..], x.as_bytes(), &der, base64.as_bytes(), pem.as_bytes()] {
        for kid in [None, Some(&*id), Some(&*secret_id)] {
            cases.push(("HS256 with the public key as secret", of_secret(public, kid)));
        }
    }
    let body = URL_SAFE_NO_PAD.encode(claims(json!({})).to_string());
    let signature = of_private_key(&[1], Some(&id), json!({})).rsplit('.').next().unwrap().to_owned();
    for alg in ["none", "None", "ES256", "RS256", "HS512"] {
        let head = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "kid": id }).to_string());
        cases.push((alg, format!("{head}.{body}.")));
        cases.push((alg, format!("{head}.{body}.{signature}")));
    }
    for (defect, token) in cases {
        assert_eq!(code(tokens.verify_access(&token)), Code::TokenInvalid, "{defect}: {token}");
        assert_eq!(code(tokens.verify_for_resume(&token)), Code::TokenInvalid, "{defect}: {token}");
    }
    let refresh = of_private_key(&[1], Some(&id), json!({ "typ": "refresh", "sid": "session", "jti": "id" }));
    assert_eq!(code(tokens.verify_refresh(&refresh)), Code::TokenInvalid, "only secrets sign refresh tokens");
}

#[test]
fn in_each_step_from_a_secret_to_a_key_and_back_every_process_accepts_the_tokens_of_every_other() {
    let added = AccessKeys::Hs256 { secrets: ACCESS.into(), private_keys: Some(private_ring(&[1])) };
    let steps = [
        AccessKeys::from(ACCESS),
        added,
        eddsa(&[1], Some(ACCESS)),
        eddsa(&[1], None),
        // A rotation of the key.
        eddsa(&[1, 2], None),
        eddsa(&[2, 1], None),
        eddsa(&[2], None),
    ];
    let processes: Vec<_> = steps.into_iter().map(tokens_of).collect();
    let accepts = |verifier: &Tokens, signer: &Tokens| {
        let access = signer.issue_access(&ann(), "a@b.c", "session").unwrap().token;
        let join = signer.issue_join(&ann(), &room("r"), Role::Host, Some("1234")).unwrap().token;
        let grant = verifier.verify_join(&join, &room("r"), &ann().id);
        assert_eq!(verifier.verify_access(&access).is_ok(), grant.is_ok());
        grant.is_ok_and(|grant| {
            assert!(!verifier.is_of_passcode(&grant, &room("r"), Some("12345")));
            verifier.is_of_passcode(&grant, &room("r"), Some("1234"))
        })
    };
    for (one, next) in processes.iter().zip(&processes[1..]) {
        assert!(accepts(one, next) && accepts(next, one));
    }
    let [secret, .., key, _, _, next] = &processes[..] else { panic!("there are seven steps") };
    for (one, other) in [(secret, key), (key, next)] {
        assert!(!accepts(one, other) && !accepts(other, one), "keys that a process does not have");
    }
}

#[test]
fn an_expired_token_is_refused_but_still_resumes_a_seat() {
    let issued = tokens().issue_access(&ann(), "a@b.c", "session").unwrap();
    let later = tokens().with_clock(|| (NOW + 16 * 60) * 1000);
    assert_eq!(code(later.verify_access(&issued.token)), Code::TokenExpired);
    assert!(later.verify_for_resume(&issued.token).is_ok());
}

#[test]
fn a_guest_token_is_bound_to_its_room() {
    let guest = PublicUser::new(UserId::parse("guest-0123456789abcdef").unwrap(), "Gil".into(), None);
    let identity = tokens().verify_access(&tokens().issue_guest(&guest, &room("r")).unwrap().token).unwrap();
    assert_eq!((identity.kind, identity.room), (IdentityKind::Guest, Some(room("r"))));
}

#[test]
fn a_join_token_is_valid_only_for_its_user_its_room_its_lifetime_and_joining() {
    let (tokens, ann) = (tokens(), ann());
    let join = tokens.issue_join(&ann, &room("r"), Role::Host, None).unwrap().token;
    let bob = UserId::parse("bbbbbbbbbbbbbbbbbbbbbbbb").unwrap();
    assert_eq!(tokens.verify_join(&join, &room("r"), &ann.id).unwrap().role, Role::Host);
    assert_eq!(code(tokens.verify_join(&join, &room("s"), &ann.id)), Code::TokenInvalid);
    assert_eq!(code(tokens.verify_join(&join, &room("r"), &bob)), Code::TokenInvalid);
    assert_eq!(code(tokens.verify_access(&join)), Code::TokenInvalid);
    assert_eq!(code(tokens.verify_for_resume(&join)), Code::TokenInvalid);
    let later = self::tokens().with_clock(|| (NOW + 3600) * 1000);
    assert_eq!(code(later.verify_join(&join, &room("r"), &ann.id)), Code::TokenExpired);
    let access = tokens.issue_access(&ann, "a@b.c", "s").unwrap().token;
    assert_eq!(code(tokens.verify_join(&access, &room("r"), &ann.id)), Code::TokenInvalid);
}

#[test]
fn access_and_refresh_tokens_are_not_interchangeable() {
    let (tokens, ann) = (tokens(), ann());
    let refresh = tokens.issue_refresh(&ann, "session", "id").unwrap();
    let expected = RefreshIdentity { user: ann.id.clone(), session: "session".to_owned(), token_id: "id".to_owned() };
    assert_eq!(tokens.verify_refresh(&refresh).unwrap(), expected);
    assert_eq!(code(tokens.verify_access(&refresh)), Code::TokenInvalid);
    let access = tokens.issue_access(&ann, "a@b.c", "session").unwrap();
    assert_eq!(code(tokens.verify_refresh(&access.token)), Code::TokenInvalid);
}

proptest::proptest! {
    #[test]
    fn every_user_gets_tokens_that_verify_and_fit_into_a_header(
        name in "\\PC{0,100}",
        wide in proptest::collection::vec(proptest::char::any(), 0..600),
        avatar in "https://a.example/[\\PC]{0,494}",
        email in "\\PC{0,254}",
    ) {
        let wide: String = wide.into_iter().collect();
        for (name, email, avatar) in [(&name, &email, &avatar), (&wide, &wide, &wide)] {
            let id = UserId::parse(&"f".repeat(40)).unwrap();
            let user = PublicUser::new(id.clone(), name.clone(), Some(avatar.clone()));
            let (session, room) = (random_id(), room(&"R".repeat(64)));
            // The algorithm of longer signatures and ids.
            let tokens = tokens_of(eddsa(&[1], None));
            let access = tokens.issue_access(&user, email, &session).unwrap().token;
            let identity = tokens.verify_access(&access).unwrap();
            proptest::prop_assert!(name.starts_with(&identity.user.name));
            proptest::prop_assert!(identity.email.is_none_or(|claim| claim == *email));
            let join = tokens.issue_join(&user, &room, Role::Participant, Some("$argon2id$x")).unwrap().token;
            tokens.verify_join(&join, &room, &id).unwrap();
            let refresh = tokens.issue_refresh(&user, &session, &random_id()).unwrap();
            tokens.verify_refresh(&refresh).unwrap();
            let guest = PublicUser::new(UserId::parse("guest-0123456789abcdef").unwrap(), name.clone(), None);
            let guest = tokens.issue_guest(&guest, &room).unwrap().token;
            tokens.verify_access(&guest).unwrap();
            for token in [access, join, refresh, guest] {
                proptest::prop_assert!(token.len() <= 3_480, "{}", token.len());
            }
        }
    }
}

#[test]
fn a_name_of_100_characters_is_in_a_token_whole() {
    let name = "\u{1f600}".repeat(100);
    let user = PublicUser::new(ann().id, name.clone(), None);
    let token = tokens().issue_access(&user, "a@b.c", "s").unwrap().token;
    assert_eq!(tokens().verify_access(&token).unwrap().user.name, name);
}

#[test]
fn a_join_token_is_of_the_passcode_under_which_it_was_issued() {
    let (tokens, ann) = (tokens(), ann());
    let grant = |passcode| {
        let token = tokens.issue_join(&ann, &room("r"), Role::Participant, passcode).unwrap().token;
        assert!(!token.contains("1234"));
        tokens.verify_join(&token, &room("r"), &ann.id).unwrap()
    };
    for (issued, now, same) in [
        (Some("1234"), Some("1234"), true),
        (Some("1234"), Some("$argon2id$x"), false),
        (None, Some("1234"), false),
        (None, None, true),
    ] {
        assert_eq!(tokens.is_of_passcode(&grant(issued), &room("r"), now), same, "{issued:?} {now:?}");
    }
}
