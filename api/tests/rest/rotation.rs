//! Rotation of keys: pods in each step of a rotation, on the same database and Redis.

use serde_json::json;
use switchboard_auth::KeyRing;
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::RoomId;
use switchboard_core::{ClusterKey, Secret};
use switchboard_rooms::{Caller, ModerationCommand, ModerationOutcome, Proof};

use super::support::{ACCESS_SECRET, REFRESH_SECRET, Reply, Service};

const NEW_ACCESS: &str = "the-next-access-secret-of-32-bytes";
const NEW_REFRESH: &str = "the-next-refresh-secret-of-32-byte";

fn ring(current: &str, previous: &[&str]) -> KeyRing {
    KeyRing::new(Secret::new(current), previous.iter().map(|secret| Secret::new(*secret)))
}

/// Returns pods of one service before a rotation, in its two steps, and after it.
async fn pods() -> [Service; 4] {
    let before = Service::start().await;
    let added = before.pod_with_keys(ring(ACCESS_SECRET, &[NEW_ACCESS]), ring(REFRESH_SECRET, &[NEW_REFRESH])).await;
    let promoted = before.pod_with_keys(ring(NEW_ACCESS, &[ACCESS_SECRET]), ring(NEW_REFRESH, &[REFRESH_SECRET])).await;
    let after = before.pod_with_keys(NEW_ACCESS.into(), NEW_REFRESH.into()).await;
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

#[tokio::test]
async fn a_guest_who_is_banned_by_address_stays_banned_through_a_rotation() {
    let [before, added, promoted, after] = pods().await;
    let ann = before.user("Ann").await;
    let network = ClientNetwork::of([127, 0, 0, 1].into());
    // The steps in which the guest took its seat, and the pods that must then refuse its address.
    let steps: [(KeyRing, &[&Service]); 3] = [
        (ring(ACCESS_SECRET, &[]), &[&before, &added, &promoted]),
        (ring(ACCESS_SECRET, &[NEW_ACCESS]), &[&before, &added, &promoted, &after]),
        (ring(NEW_ACCESS, &[ACCESS_SECRET]), &[&added, &promoted, &after]),
    ];
    for (keys, pods) in steps {
        let call = before.call(&ann, json!({})).await;
        let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
        let guest = before.join(&call, None, json!({ "guestName": "Gil" })).await;
        let proof = Proof { issued_ms: 0, address: ClusterKey::derive(&keys).hash_address(network) };
        let seat = before.seat_with(&call, guest.data()["user"]["id"].as_str().unwrap(), 1, proof).await;
        let join = async |pod: &Service| pod.join(&call, None, json!({ "guestName": "Other" })).await;
        for &pod in pods {
            assert_eq!(join(pod).await.status, 200, "before the ban");
        }
        let ban = ModerationCommand::Kick { peer: seat.peer.clone(), ban: true, reason: None };
        let done = ModerationOutcome::Done(Vec::new());
        assert_eq!(before.rooms.moderate(&room, Caller::Operator, &ban).await.unwrap(), done);
        for &pod in pods {
            assert_eq!(join(pod).await.refusal(), (403, "BANNED"), "{keys:?}");
        }
    }
}
