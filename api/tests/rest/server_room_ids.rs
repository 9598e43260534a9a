//! Calls of apps with room ids of their own: which call has a room id, at which time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::RoomId;
use switchboard_records::Records;
use switchboard_rooms::{Reserved, RoomPeek};

use super::server_calls::{create, mint};
use super::support::Service;

#[tokio::test]
async fn the_room_id_of_a_call_that_is_over_can_have_a_new_call_and_both_are_kept_apart() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let ask = async |method: Method, path: &str, body: Value| service.ask(&backend, method, path, body).await;
    let mut earlier: Vec<String> = Vec::new();
    // The second and the third time right after the end, the last time after a deletion.
    for round in 0..4 {
        let fields = json!({ "title": format!("Round {round}"), "roomId": "weekly" });
        let id = create(&service, &backend, fields.clone()).await["id"].as_str().unwrap().to_owned();
        let taken = ask(Method::POST, "/calls", fields).await;
        assert_eq!(taken.refusal(), (409, "ROOM_EXISTS"), "only after its end");
        let token = mint(&service, &backend, json!({ "sub": "ann", "room": "weekly" })).await;
        let joined = service.join(&json!({ "roomId": "weekly" }), Some(&token), json!({})).await;
        assert_eq!(joined.data()["call"]["id"], id, "round {round}");
        service.seat(&backend.place("weekly"), "ann", round).await;
        assert_eq!(ask(Method::GET, "/calls/room/weekly", Value::Null).await.text("id"), id);
        for before in earlier.iter().filter(|_| round < 3) {
            let call = ask(Method::GET, &format!("/calls/{before}"), Value::Null).await;
            assert_eq!((call.text("roomId"), call.text("status")), ("weekly".into(), "ended".into()));
            assert_eq!(call.data()["currentParticipants"], 0, "those are in the new call");
            // What comes late for the earlier call changes nothing of the new one.
            let ended = ask(Method::POST, &format!("/calls/{before}/end"), Value::Null).await;
            assert_eq!(ended.status, 200);
        }
        let method = if round == 2 { Method::DELETE } else { Method::POST };
        let path = if round == 2 { format!("/calls/{id}") } else { format!("/calls/{id}/end") };
        ask(method, &path, Value::Null).await.data();
        let refused = service.join(&json!({ "roomId": "weekly" }), Some(&token), json!({})).await;
        assert_eq!(refused.refusal(), (403, "CALL_ENDED"), "a join alone opens nothing");
        earlier.push(id);
    }
    assert_eq!(ask(Method::GET, "/calls?status=ended", Value::Null).await.data().as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn while_a_call_is_being_created_nobody_joins_its_room_and_no_first_join_takes_it() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let room = RoomId::parse(&format!("{}.soon", backend.app)).unwrap();
    let token = mint(&service, &backend, json!({ "sub": "ann", "room": "soon" })).await;
    let join = async || service.join(&json!({ "roomId": "soon" }), Some(&token), json!({})).await;
    let create =
        async || service.ask(&backend, Method::POST, "/calls", json!({ "title": "Soon", "roomId": "soon" })).await;
    // Another pod is between the reservation and the record.
    let pending = Records::new_call_id();
    assert_eq!(service.rooms.reserve(&room, &pending).await.unwrap(), Reserved::Done);
    let (joined, created) = tokio::join!(join(), create());
    assert_eq!(joined.refusal(), (503, "SERVICE_UNAVAILABLE"));
    assert_eq!(created.refusal(), (503, "SERVICE_UNAVAILABLE"), "the other request may still fail");
    assert!(service.records.call_by_room(&room).await.unwrap().is_none());
    assert!(matches!(service.rooms.peek(&room).await.unwrap(), RoomPeek::Absent));
    service.rooms.release(&room, &pending).await.unwrap();
    let call = create().await.text("id");
    assert_eq!(join().await.data()["call"]["id"], call);
}

#[tokio::test]
async fn a_room_that_users_opened_first_is_not_taken_from_them() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let token = mint(&service, &backend, json!({ "sub": "ann", "room": "early" })).await;
    let joined = service.join(&json!({ "roomId": "early" }), Some(&token), json!({})).await;
    let opened = joined.data()["call"]["id"].clone();
    let refused = service.ask(&backend, Method::POST, "/calls", json!({ "title": "Late", "roomId": "early" })).await;
    assert_eq!(refused.refusal(), (409, "ROOM_EXISTS"));
    let again = service.join(&json!({ "roomId": "early" }), Some(&token), json!({})).await;
    assert_eq!(again.data()["call"]["id"], opened);
    // Of creations and first joins at the same moment, each room gets one call.
    for number in 0..5 {
        let room = format!("race{number}");
        let token = mint(&service, &backend, json!({ "sub": "ann", "room": room })).await;
        let at = json!({ "roomId": room });
        let fields = json!({ "title": "Race", "roomId": room });
        let (over, full) = (AtomicBool::new(false), RoomId::parse(&format!("{}.{room}", backend.app)).unwrap());
        let race = async {
            let (created, joined) = tokio::join!(
                service.ask(&backend, Method::POST, "/calls", fields),
                service.join(&at, Some(&token), json!({})),
            );
            over.store(true, Ordering::Relaxed);
            (created, joined.data()["call"]["id"].clone())
        };
        // Nobody ever reads a record of a call that is then refused.
        let read = async {
            let mut seen = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                let call = service.records.call_by_room(&full).await.unwrap();
                seen.extend(call.map(|call| call.id.as_str().to_owned()));
            }
            seen
        };
        let ((created, joined), seen) = tokio::join!(race, read);
        if created.status == 201 {
            assert_eq!(created.data()["id"], joined);
            assert!(seen.iter().all(|id| *id == created.text("id")), "{seen:?}");
        } else {
            assert_eq!((created.refusal(), seen), ((409, "ROOM_EXISTS"), BTreeSet::new()));
        }
    }
}
