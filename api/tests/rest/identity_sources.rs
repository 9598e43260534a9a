//! Users of other sign-ins: an app's own public keys, and providers of OpenID Connect.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Method;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use switchboard_core::domain::Code;

use super::support::{Reply, Service, WRITE_KEY, until};

const ISSUER: &str = "https://login.example";

/// Key pair of a signer.
struct Signer {
    pair: Ed25519KeyPair,
    kid: String,
}

impl Signer {
    fn new(kid: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { pair: Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap(), kid: kid.to_owned() }
    }

    fn jwk(&self) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "sig", "alg": "EdDSA" })
    }

    fn set(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// Signs good claims, changed by `more`.
    fn token(&self, sub: &str, more: Value) -> String {
        self.token_of(&self.kid, sub, more)
    }

    fn token_of(&self, kid: &str, sub: &str, more: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({ "iss": ISSUER, "aud": "calls", "sub": sub, "iat": now, "exp": now + 600 });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&json!({ "alg": "EdDSA", "kid": kid })), encode(&claims));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// How a provider answers.
#[derive(Clone)]
enum Answer {
    /// With these keys and this `max-age`.
    Keys(Value, u32),
    Text(&'static str),
    Failure,
    Redirect,
    Never,
}

/// Provider that publishes keys.
struct Provider {
    uri: String,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<AtomicUsize>,
}

impl Provider {
    async fn start(answer: Answer) -> Self {
        let (answer, requests) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (current, count) = (Arc::clone(&answer), Arc::clone(&requests));
        let handler = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = current.lock().unwrap().clone();
            async move { respond(answer).await }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/jwks", listener.local_addr().unwrap());
        let router = axum::Router::new().route("/jwks", axum::routing::get(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { uri, answer, requests }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn respond(answer: Answer) -> Response {
    match answer {
        Answer::Keys(set, age) => ([("cache-control", format!("max-age={age}"))], axum::Json(set)).into_response(),
        Answer::Text(text) => text.into_response(),
        Answer::Failure => http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Answer::Redirect => (http::StatusCode::FOUND, [("location", "/jwks")]).into_response(),
        Answer::Never => std::future::pending().await,
    }
}

/// Sends a request of an operator about an app.
async fn operate(service: &Service, method: Method, app: &str, body: &Value) -> Reply {
    let request = service.request(method, &format!("/api/admin/apps/{app}")).header("x-api-key", WRITE_KEY);
    service.send(if body.is_null() { request } else { request.json(body) }).await
}

async fn register(service: &Service, app: &str, sources: Value) -> Reply {
    operate(service, Method::PATCH, app, &json!({ "identitySources": sources })).await
}

fn oidc(jwks_uri: &str) -> Value {
    json!({ "kind": "oidc", "issuer": ISSUER, "audience": "calls", "jwksUri": jwks_uri })
}

fn own_keys(signer: &Signer) -> Value {
    json!({ "kind": "keys", "issuer": ISSUER, "audience": "calls", "jwks": signer.set() })
}

async fn join(service: &Service, room: &str, token: &str) -> Reply {
    service.post("/api/video-calls/join", Some(token), json!({ "roomId": room })).await
}

/// Sends a request with this token to a route of users.
async fn list(service: &Service, token: &str) -> Reply {
    service.get("/api/video-calls", Some(token)).await
}

#[tokio::test]
async fn an_operator_sets_the_identity_sources_of_an_app_and_wrong_ones_are_refused_with_their_fields() {
    let service = Service::start().await;
    let (app, _) = service.app_key().await;
    let signer = Signer::new("one");
    let claims = json!({ "userId": "uid", "name": "nick", "avatar": "photo" });
    let mut provider = oidc("https://login.example/jwks");
    provider["claims"] = claims.clone();
    let own = json!({ "kind": "keys", "issuer": "acme-backend", "jwks": signer.set() });
    let set = register(&service, &app, json!([provider, own])).await;
    let shown = &set.data()["identitySources"];
    assert_eq!((&shown[0]["claims"], &shown[1]["jwks"]["keys"][0]["kid"]), (&claims, &json!("one")), "{set:?}");
    let read = operate(&service, Method::GET, &app, &Value::Null).await;
    assert_eq!(&read.data()["identitySources"], shown);
    // What was read can be sent back, with another field changed.
    let mut back = read.data().clone();
    back["name"] = "Renamed".into();
    assert_eq!(&operate(&service, Method::PATCH, &app, &back).await.data()["identitySources"], shown);

    let changed = |field: &str, value: Value| {
        let mut source = oidc("https://login.example/jwks");
        source[field] = value;
        source
    };
    let mut private = signer.set();
    private["keys"][0]["d"] = "AAAA".into();
    for (bad, field) in [
        (json!("x"), "identitySources"),
        (json!([7]), "identitySources.0"),
        (json!([changed("kind", json!("saml"))]), "identitySources.0"),
        (json!([changed("jwks_uri", json!("x"))]), "identitySources.0"),
        (json!([changed("claims", json!({ "email": "x" }))]), "identitySources.0"),
        (json!([changed("issuer", json!("videocall-api"))]), "identitySources.0.issuer"),
        (json!([changed("issuer", json!("sbk_7h2k9d4m1p5q8r3t6v0x"))]), "identitySources.0.issuer"),
        (json!([changed("audience", Value::Null)]), "identitySources.0.audience"),
        (json!([changed("jwksUri", json!("http://login.example/jwks"))]), "identitySources.0.jwksUri"),
        (json!([provider, { "kind": "keys", "issuer": "a", "jwks": private }]), "identitySources.1.jwks"),
        (json!([provider, provider]), "identitySources"),
        (json!([provider, changed("issuer", json!("https://other.example"))]), "identitySources"),
    ] {
        let refused = register(&service, &app, bad.clone()).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec![field]), "{bad}");
    }
    assert_eq!(&operate(&service, Method::GET, &app, &Value::Null).await.data()["identitySources"], shown);

    // Another app may have the issuer with an audience of its own.
    let (other, _) = service.app_key().await;
    for taken in [json!([provider]), json!([{ "kind": "keys", "issuer": ISSUER, "jwks": signer.set() }])] {
        assert_eq!(register(&service, &other, taken).await.refusal(), (409, "ISSUER_TAKEN"));
    }
    register(&service, &other, json!([changed("audience", json!("other"))])).await.data();
    assert_eq!(register(&service, &app, Value::Null).await.data()["identitySources"], json!([]));
    register(&service, &other, json!([provider])).await.data();
    operate(&service, Method::DELETE, &other, &Value::Null).await.data();
    register(&service, &app, json!([provider])).await.data();
}

#[tokio::test]
async fn the_index_keeps_two_operators_at_the_same_moment_from_giving_one_issuer_to_two_apps() {
    let service = Service::start().await;
    let [(one, _), (two, _)] = [service.app_key().await, service.app_key().await];
    let source = json!([oidc("https://login.example/jwks")]);
    let (first, second) =
        tokio::join!(register(&service, &one, source.clone()), register(&service, &two, source.clone()));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{first:?} {second:?}");
}

#[tokio::test]
async fn a_backend_signs_user_tokens_with_its_own_key_and_they_name_nothing_in_another_app() {
    let service = Service::start().await;
    let pod = service.another_pod().await;
    let [(acme, _), (other, _)] = [service.app_key().await, service.app_key().await];
    let (signer, stranger) = (Signer::new("one"), Signer::new("one"));
    register(&service, &acme, json!([own_keys(&signer)])).await.data();
    let mut of_other = own_keys(&stranger);
    of_other["audience"] = "other".into();
    register(&service, &other, json!([of_other])).await.data();

    let ann = signer.token("ann", json!({ "room": "standup", "role": "host", "name": "Ann Lee" }));
    let joined = join(&service, "standup", &ann).await;
    assert_eq!((&joined.data()["role"], &joined.data()["user"]["name"]), (&json!("host"), &json!("Ann Lee")));
    // The other pod reads the new source at its first token.
    assert_eq!(join(&pod, "standup", &signer.token("bob", json!({ "room": "standup" }))).await.status, 200);
    assert_eq!(join(&service, "another", &ann).await.refusal(), (403, "ROOM_NOT_ALLOWED"));
    assert_eq!(list(&service, &ann).await.refusal(), (401, "UNAUTHORIZED"), "as other users of backends");
    let from_other = stranger.token("ann", json!({ "aud": "other" }));
    assert_eq!(
        join(&service, "standup", &from_other).await.refusal(),
        (404, "CALL_NOT_FOUND"),
        "it is in no other app"
    );

    for (token, why) in [
        (stranger.token("ann", json!({ "room": "standup" })), "the key of another app's source"),
        (signer.token("ann", json!({ "aud": "other" })), "another audience"),
        (signer.token("ann", json!({ "aud": ["calls", "other"] })), "the audiences of two apps"),
        (signer.token("ann", json!({ "aud": "nobody" })), "an unknown audience"),
        (signer.token("ann", json!({ "iss": "https://nobody.example" })), "an unknown issuer"),
        (signer.token_of("two", "ann", json!({})), "an unknown key"),
        (signer.token("ann", json!({ "exp": 4_000_000_000_u64 })), "a long life"),
    ] {
        assert_eq!(join(&service, "standup", &token).await.refusal(), (401, "TOKEN_INVALID"), "{why}");
    }
    assert_eq!(join(&service, "standup", &signer.token("ann", json!({ "exp": 1 }))).await.refusal().1, "TOKEN_EXPIRED");

    operate(&service, Method::PATCH, &acme, &json!({ "disabled": true })).await.data();
    assert_eq!(join(&service, "standup", &ann).await.refusal(), (401, "KEY_REVOKED"));
    operate(&service, Method::PATCH, &acme, &json!({ "disabled": false })).await.data();
    assert_eq!(join(&service, "standup", &ann).await.status, 200);
    register(&service, &acme, json!([])).await.data();
    assert_eq!(join(&service, "standup", &ann).await.refusal(), (401, "TOKEN_INVALID"), "at once on this pod");
    until("the other pod to know", async || join(&pod, "standup", &ann).await.status.as_u16() == 401).await;
}

#[tokio::test]
async fn a_provider_rotates_its_keys_and_made_up_keys_cost_it_nothing() {
    let service = Service::start().await;
    let (app, _) = service.app_key().await;
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let provider = Provider::start(Answer::Keys(old.set(), 600)).await;
    register(&service, &app, json!([oidc(&provider.uri)])).await.data();
    for _ in 0..10 {
        list(&service, &old.token("ann", json!({}))).await.data();
    }
    assert_eq!(provider.requests(), 1, "keys are kept");

    let began = std::time::Instant::now();
    let made_up = async |number: u32| {
        let token = old.token_of(&format!("made-up-{number}"), "ann", json!({}));
        assert_eq!(list(&service, &token).await.refusal(), (401, "TOKEN_INVALID"));
    };
    for number in 0..100 {
        made_up(number).await;
    }
    let allowed = 2 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(provider.requests() <= 1 + allowed, "{} requests", provider.requests());

    // The provider signs with a new key, and keeps the old one for a while.
    provider.answers(Answer::Keys(json!({ "keys": [old.jwk(), new.jwk()] }), 0));
    until("the new key to be known", async || list(&service, &new.token("ann", json!({}))).await.status == 200).await;
    list(&service, &old.token("ann", json!({}))).await.data();
    provider.answers(Answer::Keys(new.set(), 0));
    let refused = list(&service, &old.token("ann", json!({}))).await;
    assert_eq!(refused.refusal(), (401, "TOKEN_INVALID"), "a removed key is refused after the age of the set");
    list(&service, &new.token("ann", json!({}))).await.data();
}

#[tokio::test]
async fn keys_outlive_an_outage_of_their_provider_for_a_while_and_then_the_answer_says_to_try_again() {
    let service = Service::start().await;
    let (app, _) = service.app_key().await;
    let signer = Signer::new("one");
    let provider = Provider::start(Answer::Failure).await;
    register(&service, &app, json!([oidc(&provider.uri)])).await.data();
    let token = signer.token("ann", json!({}));
    for answer in [Answer::Failure, Answer::Text("<html>"), Answer::Redirect, Answer::Never] {
        provider.answers(answer);
        let refused = list(&service, &token).await;
        assert_eq!(refused.refusal(), (503, "IDENTITY_SOURCE_UNAVAILABLE"));
        assert!(refused.headers.contains_key("retry-after"));
    }
    provider.answers(Answer::Keys(signer.set(), 0));
    until("the provider to be asked again", async || list(&service, &token).await.status == 200).await;
    provider.answers(Answer::Failure);
    list(&service, &token).await.data();
    let (asked, began) = (provider.requests(), std::time::Instant::now());
    until("the keys to be too old", async || {
        let reply = list(&service, &token).await;
        if reply.status == 200 {
            return false;
        }
        assert_eq!(reply.refusal(), (503, "IDENTITY_SOURCE_UNAVAILABLE"));
        true
    })
    .await;
    let pauses = usize::try_from(began.elapsed().as_millis() / 100).unwrap();
    assert!(provider.requests() - asked <= pauses + 1, "a provider that fails is asked once in a pause");
    let other = service.user("Ann").await;
    list(&service, &other.token).await.data();
    provider.answers(Answer::Keys(signer.set(), 600));
    until("the provider to be back", async || list(&service, &token).await.status == 200).await;
}

#[tokio::test]
async fn a_user_of_a_provider_has_the_rights_of_a_signed_in_user_in_the_calls_of_the_app() {
    let service = Service::start().await;
    let (app, _) = service.app_key().await;
    let signer = Signer::new("one");
    let provider = Provider::start(Answer::Keys(signer.set(), 600)).await;
    register(&service, &app, json!([oidc(&provider.uri)])).await.data();
    let account = service.user("Account").await;
    // The provider gives one of its users the id of an account.
    let ann = signer.token(&account.id, json!({ "name": "Ann Lee" }));
    let (bob, cid) = (signer.token("auth0|bob", json!({ "name": "Bob" })), signer.token("cid", json!({})));

    let invited = join(&service, "nowhere", &bob).await;
    assert_eq!(invited.refusal(), (404, "CALL_NOT_FOUND"), "no join creates a call");
    let bob_id = {
        let call = service.post("/api/video-calls", Some(&bob), json!({ "title": "Bob's" })).await;
        call.text("hostId")
    };
    assert!(bob_id.starts_with("oidc-") && bob_id.len() == 40, "{bob_id}");
    let fields = json!({ "title": "Ann's", "type": "invited_only", "invitedUserIds": [bob_id] });
    let call = service.post("/api/video-calls", Some(&ann), fields).await;
    assert_eq!((call.status.as_u16(), call.text("hostId")), (201, account.id.clone()), "{call:?}");
    let (id, room) = (call.text("id"), call.text("roomId"));

    let host = join(&service, &room, &ann).await;
    assert_eq!((&host.data()["role"], &host.data()["user"]["name"]), (&json!("host"), &json!("Ann Lee")));
    let guest = join(&service, &room, &bob).await;
    assert_eq!((&guest.data()["role"], &guest.data()["isGuest"]), (&json!("participant"), &json!(false)));
    assert_eq!(join(&service, &room, &cid).await.refusal(), (403, "FORBIDDEN"), "not invited");
    assert_eq!(join(&service, &room, &account.token).await.refusal(), (404, "CALL_NOT_FOUND"), "an account");

    let titles = async |token: &str| {
        let reply = list(&service, token).await;
        let calls = reply.data().as_array().unwrap();
        calls.iter().map(|call| call["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((titles(&ann).await, titles(&cid).await), (vec!["Ann's".to_owned()], vec![]));
    assert_eq!(titles(&bob).await, ["Ann's", "Bob's"]);
    assert!(titles(&account.token).await.is_empty(), "an account with the same id");

    let path = format!("/api/video-calls/{id}");
    let send = async |method: Method, path: &str, token: &str, body: Value| {
        service.send(service.request(method, path).bearer_auth(token).json(&body)).await
    };
    let edit = json!({ "title": "Weekly", "invitedUserIds": [bob_id, "cid"] });
    assert_eq!(send(Method::PATCH, &path, &bob, edit.clone()).await.refusal(), (403, "HOST_REQUIRED"));
    assert_eq!(send(Method::PATCH, &path, &ann, edit.clone()).await.text("title"), "Weekly");
    assert_eq!(send(Method::PATCH, &path, &account.token, edit).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(join(&service, &room, &cid).await.status, 200, "invited since");
    for more in ["messages", "stats", "participants"] {
        let path = format!("{path}/{more}");
        assert_eq!(service.get(&path, Some(&ann)).await.status, 200, "{more}");
        assert_eq!(service.get(&path, Some(&account.token)).await.refusal(), (404, "CALL_NOT_FOUND"), "{more}");
    }
    send(Method::POST, &format!("{path}/end"), &ann, json!({})).await.data();
    send(Method::POST, &format!("{path}/reopen"), &ann, json!({})).await.data();
    // A call whose room id the backend gave to a new one is read as before, and stays ended.
    send(Method::POST, &format!("{path}/end"), &ann, json!({})).await.data();
    let backend = service.backend_of(&app, &["calls:write"]).await;
    let fields = json!({ "title": "New", "roomId": room });
    service.ask(&backend, Method::POST, "/calls", fields).await.data();
    let reopened = send(Method::POST, &format!("{path}/reopen"), &ann, json!({})).await;
    assert_eq!(reopened.refusal(), (409, "ROOM_EXISTS"));
    assert_eq!(service.get(&path, Some(&ann)).await.text("roomId"), room);
    assert_eq!(service.get(&format!("{path}/messages"), Some(&ann)).await.status, 200);
    send(Method::DELETE, &path, &ann, Value::Null).await.data();

    for route in ["profile", "sessions", "stats", "validate"] {
        let path = format!("/api/auth/{route}");
        assert_eq!(service.get(&path, Some(&ann)).await.refusal(), (401, "UNAUTHORIZED"), "{route}");
    }
    let wrong = json!({ "title": "T", "invitedUserIds": ["bob"] });
    let refused = service.post("/api/video-calls", Some(&account.token), wrong).await;
    assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["invitedUserIds"]));
}

#[tokio::test]
async fn users_of_two_apps_with_one_provider_are_told_apart_by_audience() {
    let service = Service::start().await;
    let signer = Signer::new("one");
    let provider = Provider::start(Answer::Keys(signer.set(), 600)).await;
    let [(one, _), (two, _)] = [service.app_key().await, service.app_key().await];
    let of = |audience: &str| {
        let mut source = oidc(&provider.uri);
        source["audience"] = audience.into();
        json!([source])
    };
    register(&service, &one, of("one")).await.data();
    register(&service, &two, of("two")).await.data();
    let token = |audience: Value| signer.token("ann", json!({ "aud": audience }));
    let call = service.post("/api/video-calls", Some(&token(json!("one"))), json!({ "title": "One" })).await;
    let path = format!("/api/video-calls/{}", call.text("id"));
    assert_eq!(service.get(&path, Some(&token(json!(["one", "x"])))).await.status, 200);
    assert_eq!(service.get(&path, Some(&token(json!("two")))).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(service.get(&path, Some(&token(json!(["one", "two"])))).await.refusal(), (401, "TOKEN_INVALID"));
    assert_eq!(provider.requests(), 1, "both apps share the keys");
    let code = service.apps.identify(&switchboard_auth::Tokens::new("a", "b"), &token(json!("one")), false).await;
    assert_eq!(code.map(|(identity, _)| identity.app.to_string()).map_err(|refusal| refusal.code), Ok::<_, Code>(one));
}
