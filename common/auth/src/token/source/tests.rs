#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use switchboard_core::domain::{Jwk, Jwks, Role};

use super::super::public_key::PublicKeys;
use super::*;

const NOW_MS: u64 = 1_800_000_000_500;
const NOW: u64 = NOW_MS / 1000;
const ISSUER: &str = "https://login.example";

/// Key pair of a signer.
enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Pair {
    fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    fn p256() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
        }
    }

    fn jwk(&self, kid: &str) -> Jwk {
        let kid = Some(kid.to_owned());
        match self {
            Self::Ed25519(pair) => Jwk {
                kty: "OKP".into(),
                crv: Some("Ed25519".into()),
                x: Some(URL_SAFE_NO_PAD.encode(pair.public_key())),
                kid,
                ..Jwk::default()
            },
            Self::P256(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let [x, y] = [&point[..32], &point[32..]].map(|half| Some(URL_SAFE_NO_PAD.encode(half)));
                Jwk { kty: "EC".into(), crv: Some("P-256".into()), x, y, kid, ..Jwk::default() }
            }
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = match self {
            Self::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn header(&self) -> Value {
        json!({ "alg": self.algorithm(), "kid": "one", "typ": "JWT" })
    }
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

fn keys(jwks: Vec<Jwk>) -> PublicKeys {
    super::super::signatures::install();
    PublicKeys::read(&Jwks { keys: jwks })
}

fn app() -> AppId {
    AppId::parse("acme").unwrap()
}

fn source(kind: IdentitySourceKind) -> IdentitySource {
    IdentitySource {
        kind,
        issuer: ISSUER.into(),
        audience: Some("calls".into()),
        jwks_uri: None,
        jwks: None,
        claims: None,
    }
}

fn own_keys() -> IdentitySource {
    source(IdentitySourceKind::Keys)
}

fn provider() -> IdentitySource {
    source(IdentitySourceKind::OpenIdConnect)
}

/// Finds the key and verifies, as every caller does.
fn check(token: &str, source: &IdentitySource, keys: &PublicKeys) -> Result<Identity, (Code, String)> {
    check_at(token, source, keys, NOW_MS)
}

fn check_at(token: &str, source: &IdentitySource, keys: &PublicKeys, now_ms: u64) -> Result<Identity, (Code, String)> {
    let refused = |refusal: Refusal| (refusal.code, refusal.message.into_owned());
    let TokenSigner::Source(names) = TokenSigner::of(token) else { return Err((Code::TokenInvalid, "names".into())) };
    let key = keys.find(&names).ok_or((Code::TokenInvalid, "key".to_owned()))?;
    verify(token, (&app(), source), key, now_ms, false).map(|(identity, _)| identity).map_err(refused)
}

fn claims(more: &Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": "calls", "sub": "ann", "iat": NOW, "exp": NOW + 60 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

#[test]
fn a_backend_signs_the_claims_of_user_tokens_with_either_kind_of_key() {
    for pair in [Pair::ed25519(), Pair::p256()] {
        let more = json!({ "room": "standup", "role": "host", "permissions": { "canChat": false }, "name": "Ann" });
        let token = pair.sign(&pair.header(), &claims(&more));
        let identity = check(&token, &own_keys(), &keys(vec![pair.jwk("one")])).unwrap();
        assert_eq!((identity.kind, identity.user.id.as_str()), (IdentityKind::AppUser, "ann"));
        assert_eq!(identity.room.unwrap().as_str(), "acme.standup");
        let grant = identity.grant.unwrap();
        assert!(grant.role == Role::Host && !grant.permissions.can_chat);
        assert_eq!(identity.session, Some(source_sign_in(&app(), &own_keys())));
    }
}

#[test]
fn a_provider_names_its_user_with_its_own_claims_and_grants_nothing() {
    let pair = Pair::p256();
    let keys = keys(vec![pair.jwk("one")]);
    let token = |more: &Value| pair.sign(&pair.header(), &claims(more));
    let more =
        json!({ "name": "Ann Lee", "picture": "https://a.example/ann.png", "aud": ["x", "calls"], "role": "host" });
    let identity = check(&token(&more), &provider(), &keys).unwrap();
    assert_eq!((identity.kind, identity.grant, identity.room), (IdentityKind::OidcUser, None, None));
    assert_eq!(
        (identity.user.name.as_str(), identity.user.avatar.as_deref()),
        ("Ann Lee", Some("https://a.example/ann.png"))
    );
    assert_eq!((identity.issued_ms, identity.expires_at, identity.email), (NOW * 1000, NOW + 60, None));
    let names = ClaimNames { user_id: "uid".into(), name: "nick".into(), avatar: "photo".into() };
    let named = IdentitySource { claims: Some(names), ..provider() };
    let more = json!({ "uid": 7, "nick": "Annie", "photo": "javascript:alert(1)" });
    let user = check(&token(&more), &named, &keys).unwrap().user;
    assert_eq!((user.id.as_str(), user.name.as_str(), user.avatar), ("7", "Annie", None), "a bad picture is left out");
    let user = check(&token(&json!({ "name": "\u{7}" })), &provider(), &keys).unwrap().user;
    assert_eq!(user.name, "ann", "a bad name is left out");
    for wrong in
        [json!({ "sub": "" }), json!({ "sub": null }), json!({ "sub": ["ann"] }), json!({ "sub": "x".repeat(256) })]
    {
        assert_eq!(check(&token(&wrong), &provider(), &keys).unwrap_err().0, Code::TokenInvalid, "{wrong}");
    }
}

#[test]
fn a_wrong_claim_of_either_kind_is_refused_with_its_name() {
    let pair = Pair::ed25519();
    let keys = keys(vec![pair.jwk("one")]);
    for source in [own_keys(), provider()] {
        for (more, wrong) in [
            (json!({ "iss": "https://other.example" }), "iss"),
            (json!({ "aud": "other" }), "aud"),
            (json!({ "aud": null }), "aud"),
            (json!({ "aud": { "calls": 1 } }), "aud"),
            (json!({ "exp": NOW + 86_400 + 60 }), "exp"),
            (json!({ "exp": null }), "claims"),
            (json!({ "exp": "never" }), "claims"),
            (json!({ "nbf": NOW + 60 }), "nbf"),
            (json!({ "iat": NOW + 60 }), "iat"),
        ] {
            let (code, message) = check(&pair.sign(&pair.header(), &claims(&more)), &source, &keys).unwrap_err();
            assert!(code == Code::TokenInvalid && message.contains(wrong), "{more}: {message}");
        }
        let expired = pair.sign(&pair.header(), &claims(&json!({ "exp": NOW - 60 })));
        assert_eq!(check(&expired, &source, &keys).unwrap_err().0, Code::TokenExpired);
        let TokenSigner::Source(names) = TokenSigner::of(&expired) else { panic!("no source") };
        let resumed = verify(&expired, (&app(), &source), keys.find(&names).unwrap(), NOW_MS, true);
        assert!(resumed.unwrap().1, "it is good for a resume");
    }
    let logout = pair.sign(&pair.header(), &claims(&json!({ "events": {} })));
    assert!(check(&logout, &provider(), &keys).unwrap_err().1.contains("logout"));
    assert!(check(&pair.sign(&pair.header(), &claims(&json!({ "sub": "a b" }))), &own_keys(), &keys).is_err());
}

#[test]
fn no_other_algorithm_header_or_key_is_accepted() {
    let (pair, other) = (Pair::ed25519(), Pair::p256());
    let keys = keys(vec![pair.jwk("one"), other.jwk("two")]);
    let good = pair.sign(&pair.header(), &claims(&json!({})));
    assert!(check(&good, &own_keys(), &keys).is_ok());
    let header = |changes: Value| {
        let mut header = pair.header();
        header.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        header
    };
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = |header: &Value, signature: &str| format!("{}.{}.{signature}", encode(header), parts[1]);
    // HS256 with each public text of the key as the secret.
    let confused = |secret: &[u8]| {
        let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims(&json!({})), &EncodingKey::from_secret(secret)).unwrap()
    };
    let x = pair.jwk("one").x.unwrap();
    let mut tokens = vec![
        ("none", unsigned(&json!({ "alg": "none", "kid": "one" }), "")),
        ("no signature", unsigned(&pair.header(), "")),
        ("HS256 with the key's text", confused(x.as_bytes())),
        ("HS256 with the key", confused(&URL_SAFE_NO_PAD.decode(&x).unwrap())),
        ("HS256 with the key as JSON", confused(serde_json::to_string(&pair.jwk("one")).unwrap().as_bytes())),
        ("the key of another kid", other.sign(&header(json!({ "kid": "two" })), &claims(&json!({})))),
        ("another key of the same kind", Pair::ed25519().sign(&pair.header(), &claims(&json!({})))),
        ("an unknown kid", pair.sign(&header(json!({ "kid": "three" })), &claims(&json!({})))),
        ("a kid in vain", pair.sign(&header(json!({ "kid": "x".repeat(300) })), &claims(&json!({})))),
        (
            "a key of its own",
            pair.sign(&header(json!({ "kid": "three", "jwk": pair.jwk("three") })), &claims(&json!({}))),
        ),
        ("an extension", pair.sign(&header(json!({ "crit": ["b64"], "b64": true })), &claims(&json!({})))),
        ("a logout token", pair.sign(&header(json!({ "typ": "logout+jwt" })), &claims(&json!({})))),
        ("other claims", format!("{}.{}.{}", parts[0], encode(&claims(&json!({ "sub": "bob" }))), parts[2])),
        ("too long", pair.sign(&pair.header(), &claims(&json!({ "more": "x".repeat(9000) })))),
    ];
    for algorithm in ["HS256", "HS384", "RS256", "RS512", "PS256", "ES256", "ES384", "eddsa"] {
        tokens.push((algorithm, pair.sign(&header(json!({ "alg": algorithm })), &claims(&json!({})))));
    }
    for (defect, token) in tokens {
        for source in [own_keys(), provider()] {
            assert_eq!(check(&token, &source, &keys).unwrap_err().0, Code::TokenInvalid, "{defect}");
        }
    }
    for typ in [json!(null), json!("JWT"), json!("at+JWT"), json!("application/at+jwt")] {
        assert!(check(&pair.sign(&header(json!({ "typ": typ })), &claims(&json!({}))), &provider(), &keys).is_ok());
    }
}

#[test]
fn a_token_without_kid_gets_the_only_key_of_its_algorithm() {
    let (pair, other) = (Pair::ed25519(), Pair::p256());
    let token = pair.sign(&json!({ "alg": "EdDSA" }), &claims(&json!({})));
    assert!(check(&token, &provider(), &keys(vec![pair.jwk("one"), other.jwk("two")])).is_ok());
    let two = keys(vec![pair.jwk("one"), Pair::ed25519().jwk("two")]);
    assert_eq!(check(&token, &provider(), &two).unwrap_err().1, "key");
}

#[test]
fn signatures_in_the_examples_of_the_standards_are_valid() {
    // RFC 7515, appendixes A.2 and A.3.
    let payload =
        concat!("eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt", "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ",);
    let rsa = Jwk {
        kty: "RSA".into(),
        n: Some(
            concat!(
                "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp",
                "-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOW",
                "vG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs",
                "LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k",
                "G4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2",
                "PAcDTW9gb54h4FRWyuXpoQ",
            )
            .into(),
        ),
        e: Some("AQAB".into()),
        ..Jwk::default()
    };
    let rs256 = concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7",
        "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4",
        "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K",
        "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv",
        "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB",
        "p0igcN_IoypGlUPQGe77Rw",
    );
    let p256 = Jwk {
        kty: "EC".into(),
        crv: Some("P-256".into()),
        x: Some("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU".into()),
        y: Some("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0".into()),
        ..Jwk::default()
    };
    let es256 = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let names = ClaimNames { user_id: "iss".into(), ..ClaimNames::default() };
    let joe = IdentitySource { issuer: "joe".into(), audience: None, claims: Some(names), ..provider() };
    for (header, signature, jwk) in [("eyJhbGciOiJSUzI1NiJ9", rs256, rsa), ("eyJhbGciOiJFUzI1NiJ9", es256, p256)] {
        let keys = keys(vec![jwk]);
        let token = format!("{header}.{payload}.{signature}");
        assert_eq!(check_at(&token, &joe, &keys, 1_300_819_379_000).unwrap().user.id.as_str(), "joe");
        assert_eq!(check_at(&token, &joe, &keys, NOW_MS).unwrap_err().0, Code::TokenExpired);
        let forged = token.replace("eyJpc3MiOiJqb2UiLA0K", "eyJpc3MiOiJqb2UiLA0J");
        assert_eq!(check_at(&forged, &joe, &keys, 1_300_819_379_000).unwrap_err().0, Code::TokenInvalid);
    }
}

#[test]
fn keys_that_cannot_be_used_are_left_out_and_refused_when_they_are_registered() {
    let good = Pair::ed25519().jwk("one");
    let number = |bytes: usize| Some(URL_SAFE_NO_PAD.encode(vec![0xff; bytes]));
    let rsa = |n| Jwk { kty: "RSA".into(), kid: Some("one".into()), n, e: Some("AQAB".into()), ..Jwk::default() };
    for (bad, problem) in [
        (Jwk { d: Some("x".into()), ..good.clone() }, "private"),
        (Jwk { kty: "oct".into(), k: Some("c2VjcmV0".into()), ..Jwk::default() }, "secret"),
        (Jwk { kty: "oct".into(), ..Jwk::default() }, "must be RSA"),
        (Jwk { purpose: Some("enc".into()), ..good.clone() }, "signatures"),
        (Jwk { alg: Some("HS256".into()), ..good.clone() }, "RS256"),
        (Jwk { crv: Some("X25519".into()), ..good.clone() }, "Ed25519"),
        (Jwk { x: Some("AQAB".into()), ..good.clone() }, "32 bytes"),
        (Jwk { x: None, ..good.clone() }, "member"),
        (Jwk { x: Some("+++".into()), ..good.clone() }, "base64url"),
        (Jwk { kid: Some(String::new()), ..good.clone() }, "kid"),
        (rsa(number(255)), "2,048"),
        (rsa(number(513)), "4,096"),
        (Jwk { e: number(5), ..rsa(number(256)) }, "exponent"),
        (Jwk { alg: Some("PS256".into()), ..rsa(number(256)) }, "RS256"),
    ] {
        let set = Jwks { keys: vec![bad] };
        assert!(PublicKeys::read(&set).is_empty(), "{set:?}");
        assert!(PublicKeys::check(&set).unwrap_err().contains(problem), "{set:?}");
    }
    let zeros = Some(URL_SAFE_NO_PAD.encode([&[0][..], &[0xff; 256]].concat()));
    let set = Jwks { keys: vec![rsa(zeros), Jwk { kid: Some("two".into()), ..good.clone() }] };
    assert_eq!((PublicKeys::check(&set), PublicKeys::read(&set).len()), (Ok(()), 2));
    for bad in [vec![], vec![good.clone(), good.clone()], vec![good.clone(), Jwk { kid: None, ..good }]] {
        assert!(PublicKeys::check(&Jwks { keys: bad }).is_err());
    }
}

#[test]
fn ids_of_a_provider_become_user_ids_that_are_never_those_of_another_user() {
    let same = ["ann", "0f8fad5b-d9cb-469f-a165-70867728950e", "5f7c8ec7c33c6c004bbafe82", "oidc"];
    for id in same {
        assert_eq!(user_id(id).unwrap().as_str(), id);
    }
    let mut hashed: Vec<_> = ["auth0|1", "ann@example.org", "nobody", "guest-0123456789abcdef", &"x".repeat(41)]
        .map(|id| user_id(id).unwrap().to_string())
        .to_vec();
    hashed.push(user_id(&hashed[0]).unwrap().to_string());
    assert!(hashed.iter().all(|id| id.len() == 40 && id.starts_with("oidc-")));
    let distinct: std::collections::BTreeSet<_> = hashed.iter().collect();
    assert_eq!(distinct.len(), hashed.len(), "an id that looks like a hash is hashed too");
    // Backends name users by these ids, so they never change.
    assert_eq!(hashed[0], format!("oidc-{}", &URL_SAFE_NO_PAD.encode(Sha256::digest("auth0|1"))[..35]));
}

#[test]
fn the_signer_of_a_token_is_found_in_its_claims_and_header() {
    let token = |header: Value, claims: Value| format!("{}.{}.x", encode(&header), encode(&claims));
    let key = "sbk_7h2k9d4m1p5q8r3t6v0x";
    for (header, claims) in [
        (json!({ "alg": "HS256" }), json!({ "iss": key })),
        (json!({ "alg": "HS256", "kid": key }), json!({})),
        (json!({ "alg": "HS256", "kid": key }), json!({ "iss": ISSUER })),
    ] {
        assert!(matches!(TokenSigner::of(&token(header, claims)), TokenSigner::AppKey(id) if id.as_str() == key));
    }
    let public = json!({ "alg": "RS256", "kid": "one" });
    let TokenSigner::Source(names) = TokenSigner::of(&token(public.clone(), claims(&json!({ "aud": ["a", 7, "b"] }))))
    else {
        panic!("no source")
    };
    assert_eq!(
        (names.issuer.as_str(), names.audiences, names.key_id.as_deref()),
        (ISSUER, vec!["a".into(), "b".into()], Some("one"))
    );
    for other in [
        token(public.clone(), json!({ "iss": OWN_ISSUER })),
        token(public, json!({})),
        token(json!({ "alg": "HS256" }), json!({ "iss": ISSUER })),
        String::new(),
        "a.b".into(),
        "x".repeat(9000),
    ] {
        assert!(matches!(TokenSigner::of(&other), TokenSigner::Service), "{other}");
    }
}

proptest! {
    #[test]
    fn a_token_that_is_changed_anywhere_is_refused(position in 0_usize..400, byte in any::<u8>()) {
        let pair = Pair::ed25519();
        let keys = keys(vec![pair.jwk("one")]);
        let good = pair.sign(&pair.header(), &claims(&json!({})));
        let mut bytes = good.into_bytes();
        let position = position % bytes.len();
        prop_assume!(bytes[position] != byte);
        bytes[position] = byte;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(check(&changed, &own_keys(), &keys).is_err(), "{changed}");
        }
    }

    #[test]
    fn any_bytes_as_a_token_or_as_a_key_are_read_without_a_panic(text in "\\PC{0,200}", header in "\\PC{0,60}", body in "\\PC{0,60}") {
        let _any = TokenSigner::of(&text);
        let token = format!("{}.{}.", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&body));
        prop_assert!(matches!(TokenSigner::of(&token), TokenSigner::Service));
        let jwk = Jwk { kty: "RSA".into(), n: Some(text.clone()), e: Some(header), x: Some(text), ..Jwk::default() };
        let _any = PublicKeys::check(&Jwks { keys: vec![jwk] });
    }
}
