//! Rotation of keys: pods in each step of a rotation, on the same database and Redis.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use switchboard_auth::{AccessKeys, KeyRing, PrivateKey};
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::RoomId;
use switchboard_core::{ClusterKey, Secret};
use switchboard_rooms::{Caller, ModerationCommand, ModerationOutcome, Proof};

use super::support::{ACCESS_SECRET, REFRESH_SECRET, Reply, Service};

const NEW_ACCESS: &str = "the-next-access-secret-of-32-bytes";
const NEW_REFRESH: &str = "the-next-refresh-secret-of-32-byte";
/// Keys by `openssl genpkey -algorithm ed25519`.
const PRIVATE_KEYS: [&str; 2] = [
    "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEID1pELfJ8Po1vNrSIL7M6V051gVhn9E/9ke7AQUIdn2+
-----END PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJVj3uLKFqKs80OHgdh5os8wrlwykGI/xBqrYCjTrqFu
-----END PRIVATE KEY-----",
];

fn ring(current: &str, previous: &[&str]) -> KeyRing {
    KeyRing::new(Secret::new(current), previous.iter().map(|secret| Secret::new(*secret)))
}

/// Returns a ring of these private keys, the current one first.
fn private_ring(keys: &[&str]) -> KeyRing<PrivateKey> {
    let mut keys = PrivateKey::read_all(&keys.join("\n")).unwrap().into_iter();
    KeyRing::with_keys(keys.next().unwrap(), keys.collect())
}

/// Returns pods of one service before a rotation, in its two steps, and after it.
async fn pods() -> [Service; 4] {
    let before = Service::start().await;
    let added = before.pod_with_keys(ring(ACCESS_SECRET, &[NEW_ACCESS]), ring(REFRESH_SECRET, &[NEW_REFRESH])).await;
    let promoted = before.pod_with_keys(ring(NEW_ACCESS, &[ACCESS_SECRET]), ring(NEW_REFRESH, &[REFRESH_SECRET])).await;
    let after = before.pod_with_keys(NEW_ACCESS, NEW_REFRESH.into()).await;
    [before, added, promoted, after]
}

async fn profile(service: &Service, token: &str) -> Reply {
    service.get("/api/auth/profile", Some(token)).await
}

async fn refresh(service: &Service, token: &str) -> Reply {
    service.post("/api/auth/refresh", None, json!({ "refreshToken": token })).await
}

#[tokio::test]
async fn a_token_of_a_previous_key_is_accepted_and_one_of_a_removed_key_is_invalid() {
    let [before, added, promoted, after] = pods().await;
    let ann = before.user("Ann").await;
    for pod in [&before, &added, &promoted] {
        assert_eq!(profile(pod, &ann.token).await.data()["id"], ann.id.as_str());
    }
    assert_eq!(profile(&after, &ann.token).await.refusal(), (401, "TOKEN_INVALID"));
    assert_eq!(refresh(&after, &ann.refresh).await.refusal(), (401, "TOKEN_INVALID"));
    let bob = promoted.user("Bob").await;
    for pod in [&added, &promoted, &after] {
        assert_eq!(profile(pod, &bob.token).await.data()["id"], bob.id.as_str());
    }
    assert_eq!(profile(&before, &bob.token).await.refusal(), (401, "TOKEN_INVALID"), "it does not know the next key");
}

#[tokio::test]
async fn a_refresh_with_the_previous_key_gives_tokens_of_the_current_one() {
    let [before, added, promoted, after] = pods().await;
    let ann = before.user("Ann").await;
    let renewed = refresh(&promoted, &ann.refresh).await;
    // The next requests reach any pod in either step of the rotation.
    assert_eq!(profile(&added, &renewed.text("token")).await.status, 200);
    let again = refresh(&added, &renewed.text("refreshToken")).await;
    assert_eq!(refresh(&after, &again.text("refreshToken")).await.refusal(), (401, "TOKEN_INVALID"), "by the old key");
    let last = refresh(&promoted, &again.text("refreshToken")).await;
    assert_eq!(profile(&after, &last.text("token")).await.status, 200);
    assert_eq!(refresh(&after, &last.text("refreshToken")).await.status, 200);
}

/// Bans a guest of a call, whose address the node hashed with this key.
async fn ban_guest(service: &Service, call: &Value, key: &ClusterKey) {
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    let guest = service.join(call, None, json!({ "guestName": "Gil" })).await;
    let address = key.hash_address(ClientNetwork::of([127, 0, 0, 1].into()));
    let user = guest.data()["user"]["id"].as_str().unwrap();
    let seat = service.seat_with(call, user, 1, Proof { issued_ms: 0, address }).await;
    let ban = ModerationCommand::Kick { peer: seat.peer.clone(), ban: true, reason: None };
    let done = ModerationOutcome::Done(Vec::new());
    assert_eq!(service.rooms.moderate(&room, Caller::Operator, &ban).await.unwrap(), done);
}

#[tokio::test]
async fn a_guest_who_is_banned_by_address_stays_banned_through_a_rotation() {
    let [before, added, promoted, after] = pods().await;
    let ann = before.user("Ann").await;
    // The steps in which the guest took its seat, and the pods that must then refuse its address.
    let steps: [(KeyRing, &[&Service]); 3] = [
        (ring(ACCESS_SECRET, &[]), &[&before, &added, &promoted]),
        (ring(ACCESS_SECRET, &[NEW_ACCESS]), &[&before, &added, &promoted, &after]),
        (ring(NEW_ACCESS, &[ACCESS_SECRET]), &[&added, &promoted, &after]),
    ];
    for (keys, pods) in steps {
        let call = before.call(&ann, json!({})).await;
        let join = async |pod: &Service| pod.join(&call, None, json!({ "guestName": "Other" })).await;
        for &pod in pods {
            assert_eq!(join(pod).await.status, 200, "before the ban");
        }
        ban_guest(&before, &call, &ClusterKey::derive(&keys)).await;
        for &pod in pods {
            assert_eq!(join(pod).await.refusal(), (403, "BANNED"), "{keys:?}");
        }
    }
}

/// Returns the ids of the published keys.
async fn published(pod: &Service) -> Vec<String> {
    let reply = pod.get("/.well-known/jwks.json", None).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.headers["cache-control"], "public, max-age=300");
    assert_eq!(reply.headers["content-type"], "application/jwk-set+json");
    let keys = reply.body["keys"].as_array().unwrap();
    let expected = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig" });
    for key in keys {
        let mut rest = key.clone();
        let own: Vec<_> = ["kid", "x"].map(|member| rest.as_object_mut().unwrap().remove(member).unwrap()).into();
        assert!(rest == expected && own.iter().all(|text| text.as_str().unwrap().len() == 43), "{key}");
    }
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Returns the id of the key that signed a token.
fn key_id(token: &str) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn from_a_secret_to_a_key_and_to_the_next_key_nobody_is_signed_out_and_public_keys_are_there_before_they_sign() {
    let [key, next] = PRIVATE_KEYS;
    let eddsa =
        |keys: &[&str], secrets: Option<KeyRing>| AccessKeys::EdDsa { private_keys: private_ring(keys), secrets };
    let secrets: KeyRing = ACCESS_SECRET.into();
    let added = AccessKeys::Hs256 { secrets: secrets.clone(), private_keys: Some(private_ring(&[key])) };
    let steps = [
        AccessKeys::from(&secrets),
        added,
        eddsa(&[key], Some(secrets)),
        eddsa(&[key], None),
        eddsa(&[key, next], None),
        eddsa(&[next, key], None),
    ];
    let before = Service::start().await;
    let mut pods = Vec::new();
    for keys in &steps {
        pods.push(before.pod_with_keys(keys, REFRESH_SECRET.into()).await);
    }
    let counts: Vec<_> = futures_util::future::join_all(pods.iter().map(published)).await;
    assert_eq!(counts.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 1, 1, 2, 2]);
    let (ann, host) = (before.user("Ann").await, before.user("Host").await);
    let call = before.call(&host, json!({ "passcode": "1234" })).await;
    let (mut token, mut refresh_token) = (ann.token, ann.refresh);
    for (index, pod) in pods.iter().enumerate() {
        assert_eq!(profile(pod, &token).await.data()["id"], ann.id.as_str(), "step {index}");
        let renewed = refresh(pod, &refresh_token).await;
        (token, refresh_token) = (renewed.text("token"), renewed.text("refreshToken"));
        // The pods of the step before accept it, and have published its key.
        let earlier = &pods[index.saturating_sub(1)];
        assert_eq!(profile(earlier, &token).await.status, 200, "step {index}");
        if index >= 2 {
            assert!(published(earlier).await.contains(&key_id(&token)), "step {index}");
        }
        let guest = pod.join(&call, None, json!({ "guestName": "Gil", "passcode": "1234" })).await;
        let known = earlier.join(&call, Some(&guest.text("token")), json!({ "passcode": "1234" })).await;
        assert_eq!(known.data()["user"]["id"], guest.data()["user"]["id"], "step {index}");

        let banned = before.call(&host, json!({})).await;
        ban_guest(&before, &banned, &steps[index].cluster_key(&REFRESH_SECRET.into())).await;
        for neighbour in [Some(earlier), Some(pod), pods.get(index + 1)].into_iter().flatten() {
            let join = neighbour.join(&banned, None, json!({ "guestName": "Other" })).await;
            assert_eq!(join.refusal(), (403, "BANNED"), "step {index}");
        }
    }
    assert_eq!(profile(&pods[0], &token).await.refusal(), (401, "TOKEN_INVALID"), "it does not know the key");
}
