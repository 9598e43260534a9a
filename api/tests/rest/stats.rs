use std::time::Duration;

use api::clock::now;
use api::recorder::{RecorderOptions, run};
use api::stale_calls::StaleCalls;
use api::webhooks::EndpointDirectory;
use devcluster::mongo::Mongo;
use devcluster::redis::RedisCluster;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use switchboard_core::domain::{RoomId, Timestamp};
use switchboard_records::{LineBudget, LineBudgets};
use switchboard_rooms::keys::Keys;
use switchboard_rooms::{Partition, RoomPeek};
use tokio_util::sync::CancellationToken;

use super::support::{REOPEN_WITHIN_MS, Service, User, came, said};

const BOUND: Duration = Duration::from_secs(60);

fn path(call: &Value) -> String {
    format!("/api/video-calls/{}", call["_id"].as_str().unwrap())
}

fn record(service: &Service) {
    let options = RecorderOptions { flush_interval: Duration::from_millis(20), ..RecorderOptions::default() };
    let (rooms, records) = (service.rooms.clone(), service.records.clone());
    let webhooks = EndpointDirectory::new(records.clone(), None, Vec::new());
    tokio::spawn(run(rooms, records, webhooks, options, CancellationToken::new()));
}

async fn recorded(service: &Service) {
    let waited = tokio::time::timeout(BOUND, async {
        loop {
            let mut waiting = 0;
            for number in 0..service.rooms.partitions() {
                waiting += service.rooms.outbox_len(Partition(number)).await.unwrap();
            }
            if waiting == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the facts are recorded");
}

#[tokio::test]
async fn participants_read_the_statistics_of_a_call() {
    let service = Service::start().await;
    record(&service);
    let (ann, bob, eve) = (service.user("Ann").await, service.user("Bob").await, service.user("Eve").await);
    let call = service.call(&ann, json!({ "type": "invited_only", "invitedUserIds": [bob.id, eve.id] })).await;
    let stats = async |who: &User| service.get(&format!("{}/stats", path(&call)), Some(&who.token)).await;
    let before = stats(&ann).await;
    assert_eq!(before.data()["totalParticipants"], 0, "the host has not come yet");
    assert_eq!(before.data()["callTimeline"]["started"], Value::Null);
    assert_eq!(stats(&eve).await.refusal(), (403, "FORBIDDEN"));
    assert_eq!(service.get(&format!("{}/stats", path(&call)), None).await.refusal(), (401, "UNAUTHORIZED"));

    assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
    let host = service.seat(&call, &ann.id, 1).await;
    let laptop = service.seat(&call, &bob.id, 2).await;
    let phone = service.seat(&call, &bob.id, 3).await;
    for gone in [&laptop, &phone] {
        service.rooms.leave(gone, "left").await.unwrap();
    }
    let again = service.seat(&call, &bob.id, 4).await;
    recorded(&service).await;
    let live = stats(&bob).await;
    assert_eq!((&live.data()["totalParticipants"], &live.data()["maxConcurrentParticipants"]), (&json!(2), &json!(3)));
    assert_eq!(service.get(&path(&call), Some(&bob.token)).await.data()["status"], "live");
    drop((host, again));

    let ended = service.post(&format!("{}/end", path(&call)), Some(&ann.token), json!({})).await;
    recorded(&service).await;
    let after = stats(&ann).await;
    let after = after.data();
    let call = service.get(&path(&call), Some(&ann.token)).await;
    assert_eq!(after["callTimeline"]["ended"], ended.data()["endedAt"]);
    assert_eq!(after["callTimeline"]["created"], call.data()["createdAt"]);
    let stays = after["participantStats"].as_array().unwrap();
    let names: Vec<_> = stays.iter().map(|stay| (stay["user"]["name"].as_str().unwrap(), &stay["role"])).collect();
    assert_eq!(names, [("Ann", &json!("host")), ("Bob", &json!("participant"))]);
    let whole = after["durationMs"].as_i64().unwrap();
    let spent: Vec<_> = stays.iter().map(|stay| stay["durationMs"].as_i64().unwrap()).collect();
    // The clocks of the API and of Redis differ by about the duration of a request.
    assert!(spent[1] <= spent[0] && (spent[0] - whole).abs() < 10_000, "{spent:?} of {whole}");
    assert!(stays.iter().all(|stay| stay["leftAt"].is_string()));
}

#[tokio::test]
async fn an_unopened_call_is_cancelled_a_day_after_its_date_by_exactly_one_pod() {
    const DAY: Duration = Duration::from_secs(86_400);
    let service = Service::start().await;
    record(&service);
    let ann = service.user("Ann").await;
    let dates = ["2098-12-30T00:00:00Z", "2098-12-30T00:00:00Z", "2099-01-01T00:00:00Z"];
    let mut calls = Vec::new();
    for date in dates {
        calls.push(service.call(&ann, json!({ "scheduledAt": date })).await);
    }
    let [unopened, attended, recent] = &calls[..] else { unreachable!() };
    assert_eq!(service.join(attended, Some(&ann.token), json!({})).await.status, 200);
    service.seat(attended, &ann.id, 1).await;
    let now = Timestamp::parse("2099-01-01T00:00:00Z").unwrap();
    let sweep = || StaleCalls::new(service.rooms.clone(), service.records.clone(), DAY);
    let sweeps = (0..8).map(|_| async { sweep().sweep(now).await });
    let cancelled: usize = futures_util::future::join_all(sweeps).await.into_iter().sum();
    assert_eq!(cancelled, 1);
    recorded(&service).await;
    let status = async |call: &Value| service.get(&path(call), Some(&ann.token)).await.text("status");
    assert_eq!(
        (status(unopened).await, status(attended).await, status(recent).await),
        ("cancelled".into(), "live".into(), "scheduled".into())
    );
    assert_eq!(service.join(unopened, Some(&ann.token), json!({})).await.refusal(), (403, "CALL_ENDED"));
    assert_eq!(sweep().sweep(now).await, 0);
    // Nobody decided that it does not take place, so its host can still hold it.
    let reopened = service.post(&format!("{}/reopen", path(unopened)), Some(&ann.token), json!({})).await;
    assert_eq!(reopened.text("status"), "scheduled", "its date is still to come by the clock of the api");
    assert_eq!(service.join(unopened, Some(&ann.token), json!({})).await.status, 200);
}

#[tokio::test]
async fn a_live_call_without_a_room_closes_after_two_sweeps_and_a_call_with_participants_goes_on() {
    let service = Service::start().await;
    record(&service);
    let ann = service.user("Ann").await;
    let (lost, alive) = (service.call(&ann, json!({})).await, service.call(&ann, json!({})).await);
    let early = service.call(&ann, json!({ "scheduledAt": "2098-12-30T00:00:00Z" })).await;
    // Records that another service left live, without a room: in one only a guest was there.
    let calls = service.database().await.collection::<Document>("videocalls");
    for (call, peak) in [(&lost, 2), (&early, 1)] {
        let id = ObjectId::parse_str(call["_id"].as_str().unwrap()).unwrap();
        let live = doc! { "$set": { "status": "live", "startedAt": DateTime::from_millis(5), "peak": peak } };
        assert_eq!(calls.update_one(doc! { "_id": id }, live).await.unwrap().modified_count, 1);
    }
    assert_eq!(service.join(&alive, Some(&ann.token), json!({})).await.status, 200);
    service.seat(&alive, &ann.id, 1).await;
    recorded(&service).await;

    let later = Timestamp(now().0 + 3_600_000);
    let mut pods = [(); 4].map(|()| StaleCalls::new(service.rooms.clone(), service.records.clone(), Duration::MAX));
    let mut ended = Vec::<usize>::new();
    for _ in 0..3 {
        ended.push(futures_util::future::join_all(pods.iter_mut().map(|pod| pod.sweep(later))).await.into_iter().sum());
    }
    assert_eq!(ended, [0, 1, 0], "no pod in the first sweep, one pod in the second");
    recorded(&service).await;
    let status = async |call: &Value| service.get(&path(call), Some(&ann.token)).await.text("status");
    assert_eq!((status(&lost).await, status(&alive).await), ("ended".into(), "live".into()));
    assert_eq!(status(&early).await, "scheduled", "it has not taken place");
}

/// Makes these records live, and unchanged since `changed_at`.
async fn leave_live(service: &Service, calls: &[Value], changed_at: i64) {
    let ids: Vec<_> = calls.iter().map(|call| ObjectId::parse_str(call["_id"].as_str().unwrap()).unwrap()).collect();
    let live = doc! {
        "status": "live", "startedAt": DateTime::from_millis(5), "peak": 2,
        "updatedAt": DateTime::from_millis(changed_at),
    };
    let records = service.database().await.collection::<Document>("videocalls");
    let updated = records.update_many(doc! { "_id": { "$in": ids } }, doc! { "$set": live }).await.unwrap();
    assert_eq!(updated.matched_count, calls.len() as u64);
}

#[tokio::test]
async fn a_live_call_without_a_room_is_closed_although_more_calls_than_a_sweep_reads_are_unchanged_for_longer() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let mut long = Vec::new();
    for _ in 0..205 {
        let call = service.call(&ann, json!({})).await;
        assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
        long.push(call);
    }
    let lost = service.call(&ann, json!({})).await;
    leave_live(&service, &long, 1_000).await;
    leave_live(&service, std::slice::from_ref(&lost), 2_000).await;

    let mut pod = StaleCalls::new(service.rooms.clone(), service.records.clone(), Duration::MAX);
    let mut ended = Vec::new();
    for _ in 0..4 {
        ended.push(pod.sweep(now()).await);
    }
    assert_eq!(ended, [0, 0, 1, 0], "found in the second sweep, behind the first page; ended in the third");
    let peek = service.rooms.peek(&RoomId::parse(lost["roomId"].as_str().unwrap()).unwrap()).await.unwrap();
    assert!(matches!(peek, RoomPeek::Ended), "{peek:?}");
}

#[tokio::test]
async fn a_sweep_closes_calls_on_other_servers_while_one_server_does_not_answer() {
    // Three: alone, one of two would not be the majority, and stop to serve.
    let (mongo, mut cluster) = (Mongo::start().await.unwrap(), RedisCluster::start(3).await.unwrap());
    for server in cluster.servers() {
        let partial = ["cluster-require-full-coverage", "no"];
        server.query::<redis::Value>(redis::cmd("CONFIG").arg("SET").arg(&partial)).await.unwrap();
    }
    let service = Service::on_servers(&mongo, &cluster.url()).await;
    let ann = service.user("Ann").await;
    let server_of = |call: &Value| {
        let partition = service.rooms.partition_of(&RoomId::parse(call["roomId"].as_str().unwrap()).unwrap());
        usize::from(Keys::new("any", service.rooms.partitions()).slot(partition)) * 3 / 16_384
    };
    let (mut unanswered, mut others) = (Vec::new(), Vec::new());
    while unanswered.len() < 3 || others.len() < 3 {
        let call = service.call(&ann, json!({})).await;
        if server_of(&call) == 0 { unanswered.push(call) } else { others.push(call) }
    }
    // The calls of the paused server come first.
    leave_live(&service, &unanswered, 1_000).await;
    leave_live(&service, &others, 2_000).await;
    cluster.servers()[0].process().pause().unwrap();

    let mut pod = StaleCalls::new(service.rooms.clone(), service.records.clone(), Duration::MAX);
    assert_eq!((pod.sweep(now()).await, pod.sweep(now()).await), (0, others.len()));
    cluster.servers()[0].process().resume().unwrap();
    let resumed = tokio::time::timeout(BOUND, async {
        let mut ended = 0;
        while ended < unanswered.len() {
            ended += pod.sweep(now()).await;
        }
        ended
    });
    assert_eq!(resumed.await.unwrap(), unanswered.len());
}

#[tokio::test]
async fn a_reopened_call_can_be_joined_again_and_lists_each_period() {
    let service = Service::start().await;
    record(&service);
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({ "title": "Board" })).await;
    let [end, reopen] = ["end", "reopen"].map(|verb| format!("{}/{verb}", path(&call)));
    for periods in 1..=2 {
        assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
        service.seat(&call, &ann.id, periods).await;
        recorded(&service).await;
        assert_eq!(service.post(&end, Some(&ann.token), json!({})).await.status, 200);
        assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (403, "CALL_ENDED"));
        assert_eq!(service.post(&reopen, Some(&bob.token), json!({})).await.refusal(), (403, "HOST_REQUIRED"));
        // At once, while the end may be on its way to the record.
        let reopened = service.post(&reopen, Some(&ann.token), json!({})).await;
        let data = reopened.data();
        assert_eq!((&data["status"], &data["endedAt"]), (&json!("waiting"), &Value::Null), "{data}");
        recorded(&service).await;
        let read = service.get(&path(&call), Some(&ann.token)).await;
        assert_eq!((&read.data()["status"], &read.data()["roomId"]), (&json!("waiting"), &call["roomId"]));
        let listed = read.data()["periods"].as_array().unwrap();
        assert_eq!(listed.len() as u64, periods, "{listed:?}");
        assert!(listed.iter().all(|period| period["startedAt"].as_str() <= period["endedAt"].as_str()));
    }
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.status, 200);
    assert_eq!(service.post(&reopen, Some(&ann.token), json!({})).await.status, 200, "an open call stays as it is");
}

#[tokio::test]
async fn a_call_is_reopened_only_within_its_time_and_by_a_request_of_its_own() {
    let service = Service::start().await;
    record(&service);
    let ann = service.user("Ann").await;
    let calls = service.database().await.collection::<Document>("videocalls");
    for (late, opened) in [(REOPEN_WITHIN_MS - 60_000, true), (REOPEN_WITHIN_MS + 60_000, false)] {
        let call = service.call(&ann, json!({})).await;
        assert_eq!(service.post(&format!("{}/end", path(&call)), Some(&ann.token), json!({})).await.status, 200);
        recorded(&service).await;
        let id = ObjectId::parse_str(call["_id"].as_str().unwrap()).unwrap();
        let ended = doc! { "$set": { "endedAt": DateTime::from_millis(now().0 - late) } };
        calls.update_one(doc! { "_id": id }, ended).await.unwrap();
        assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.refusal(), (403, "CALL_ENDED"));
        let reply = service.post(&format!("{}/reopen", path(&call)), Some(&ann.token), json!({})).await;
        if opened {
            assert_eq!(reply.status, 200);
            assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
        } else {
            assert_eq!(reply.refusal(), (403, "CALL_ENDED"));
        }
    }
}

#[tokio::test]
async fn statistics_count_the_chat_messages_that_are_beyond_the_bounds_of_recording() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    let messages = (0..7).map(|number| said(&ann.id, None, &format!("message {number}")));
    let budget = LineBudget { lines: 4, bytes: 1 << 20 };
    let budgets = LineBudgets { chat: budget, ..LineBudgets::default() };
    service.record_within(budgets, &call, std::iter::once(came(&ann.id)).chain(messages)).await;
    let stats = service.get(&format!("{}/stats", path(&call)), Some(&ann.token)).await;
    assert_eq!((&stats.data()["unrecordedMessages"], &stats.data()["totalParticipants"]), (&json!(3), &json!(1)));
    let chat = service.get(&format!("{}/messages", path(&call)), Some(&ann.token)).await;
    assert_eq!(chat.body["pagination"]["total"], 4);
}

#[tokio::test]
async fn requests_that_end_or_reopen_a_call_at_the_same_time_get_what_is_stored() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    let at_once = async |verb: &str| {
        let place = format!("{}/{verb}", path(&call));
        let requests = (0..12).map(|_| service.post(&place, Some(&ann.token), json!({})));
        futures_util::future::join_all(requests).await
    };
    for _ in 0..3 {
        assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
        service.record(&call, [came(&ann.id)]).await;
        let ends = at_once("end").await;
        let stored = service.get(&path(&call), Some(&ann.token)).await.data().clone();
        assert!(stored["endedAt"].is_string(), "{stored}");
        for end in &ends {
            assert_eq!(end.data(), &json!({ "duration": stored["duration"], "endedAt": stored["endedAt"] }));
        }
        let reopened = at_once("reopen").await;
        let stored = service.get(&path(&call), Some(&ann.token)).await.data().clone();
        assert_eq!(stored["status"], "waiting", "{stored}");
        for reply in &reopened {
            for field in ["status", "startedAt", "endedAt", "duration", "periods"] {
                assert_eq!(reply.data()[field], stored[field], "{field}");
            }
        }
    }
}
