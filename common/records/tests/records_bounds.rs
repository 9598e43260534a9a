//! Bounds on the operations in progress, on a real MongoDB that is slow, and on the documents that
//! an operation reads.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::{Duration, Instant};

use devcluster::mongo::{Mongo, MongoOptions};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Client, Database};
use switchboard_core::domain::{AppId, CallId, CallStatus, Timestamp, UserId};
use switchboard_records::{
    Attempt, CallFilter, CallOrder, CallsOf, ClaimedQueue, Delivery, DeliveryCounts, DeliveryFilter, DeliveryOutcome,
    DeliveryState, DueQueues, PageStart, Records, RecordsTimeouts,
};

const TIMEOUTS: RecordsTimeouts = RecordsTimeouts { select: Duration::from_secs(1), operation: Duration::from_secs(3) };

/// Makes every `find` of a user take this long; zero ends it. Without the namespace it would also
/// slow down writes, because MongoDB looks up their sessions with a `find`.
async fn slow_down(client: &Client, by: Duration) {
    let mode = if by.is_zero() { "off" } else { "alwaysOn" };
    let data = doc! {
        "failCommands": ["find"], "appName": "switchboard", "namespace": "bounds.users", "blockConnection": true,
        "blockTimeMS": i64::try_from(by.as_millis()).unwrap(),
    };
    let fail = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
    client.database("admin").run_command(fail).await.unwrap();
}

async fn slow_server() -> (Mongo, Client, Records) {
    let mongo = Mongo::start_with(&MongoOptions { test_commands: true, ..MongoOptions::default() }).await.unwrap();
    let uri = mongo.uri("bounds");
    let client = Client::with_uri_str(&uri).await.unwrap();
    let records = Records::connect(&uri, TIMEOUTS).await.unwrap();
    let started = Instant::now();
    while records.ensure_indexes().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "no indexes");
    }
    slow_down(&client, TIMEOUTS.operation * 3).await;
    (mongo, client, records)
}

fn burst(records: &Records, requests: u32) -> Vec<tokio::task::JoinHandle<bool>> {
    let read = |number: u32| {
        let (records, id) = (records.clone(), UserId::parse(&format!("{number:024x}")).unwrap());
        tokio::spawn(async move { records.user(&id).await.is_err() })
    };
    (0..requests).map(read).collect()
}

#[tokio::test]
async fn a_burst_of_requests_that_time_out_leaves_mongodb_usable() {
    let (_mongo, client, records) = slow_server().await;
    for request in burst(&records, 5_000) {
        assert!(request.await.unwrap(), "MongoDB was not slow");
    }
    slow_down(&client, Duration::ZERO).await;
    let started = Instant::now();
    while records.ping().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "MongoDB is fast again, and the records are not");
    }
}

#[tokio::test]
async fn recording_goes_on_while_requests_wait_for_a_slow_mongodb() {
    let (_mongo, _client, records) = slow_server().await;
    let requests = burst(&records, 2_000);
    // A `find` takes all of its time limit. The commands of the recorder do not.
    let recording = records.for_recording();
    for _ in 0..20 {
        recording.announce_recorder("one", Duration::from_secs(10)).await.unwrap();
    }
    let waiting = requests.iter().filter(|request| !request.is_finished()).count();
    assert!(waiting > 100, "the burst was over before: {waiting}");
    for request in requests {
        assert!(request.await.unwrap(), "MongoDB was not slow");
    }
}

/// Calls of one host, with as many invited users in each as are allowed.
async fn host_with_calls(database: &Database, calls: u32) -> UserId {
    let invited: Vec<Bson> = (0..100).map(|_| ObjectId::new().into()).collect();
    let host = ObjectId::new();
    let call = |number: u32| {
        doc! {
            "_id": ObjectId::new(), "hostId": host, "title": format!("Call {number}"), "description": "About it",
            "roomId": format!("ROOM{number}"), "status": if number.is_multiple_of(2) { "ended" } else { "waiting" },
            "type": "public", "invitedUserIds": invited.clone(), "createdAt": DateTime::from_millis(number.into()),
            "counts": { "users": 0_i64, "guests": 0_i64, "unlisted": 0_i64 }, "revision": 0_i64,
        }
    };
    let all: Vec<_> = (0..calls).map(call).collect();
    database.collection::<Document>("videocalls").insert_many(all).await.unwrap();
    UserId::parse(&host.to_hex()).unwrap()
}

#[tokio::test]
async fn a_page_of_5000_calls_reads_the_records_of_the_page_and_a_search_reads_each_record_once() {
    let mongo = Mongo::start().await.unwrap();
    let uri = mongo.uri("lists");
    let records = Records::connect(&uri, RecordsTimeouts::default()).await.unwrap();
    records.ensure_indexes().await.unwrap();
    let database = Client::with_uri_str(&uri).await.unwrap().default_database().unwrap();
    let user = host_with_calls(&database, 5_000).await;
    database.run_command(doc! { "profile": 2, "slowms": 0 }).await.unwrap();
    let filter = |order: CallOrder, search: Option<&str>, status: Option<CallStatus>| CallFilter {
        of: CallsOf::User(AppId::default(), user.clone()),
        status,
        call_type: None,
        search: search.map(str::to_owned),
        created: (None, None),
        order: (order, true),
        start: PageStart::Skip(20),
        limit: 10,
    };
    let profile = database.collection::<Document>("system.profile");
    for (order, search, status, total, most) in [
        (CallOrder::Created, None, None, 5_000, 100),
        (CallOrder::Started, None, Some(CallStatus::Ended), 2_500, 100),
        (CallOrder::Created, Some("call 4"), None, 1_111, 5_100),
        (CallOrder::Title, None, None, 5_000, 5_100),
    ] {
        let since = DateTime::now();
        let page = records.list_calls(&filter(order, search, status)).await.unwrap();
        assert_eq!((page.calls.len(), page.total), (10, total), "{order:?} {search:?}");
        let examined = vec![
            doc! { "$match": { "ns": "lists.videocalls", "ts": { "$gte": since } } },
            doc! { "$group": { "_id": Bson::Null, "sum": { "$sum": "$docsExamined" } } },
        ];
        let mut sums = profile.aggregate(examined).await.unwrap();
        assert!(sums.advance().await.unwrap(), "no command was profiled");
        let sum = Document::try_from(sums.current()).unwrap().get_i32("sum").unwrap();
        assert!(sum <= most, "{order:?} {search:?} {status:?}: {sum} documents");
    }
    let counts = records.account_statistics(&user, Timestamp(2_500)).await.unwrap();
    assert_eq!((counts.calls, counts.hosted, counts.live, counts.since), (5_000, 5_000, 0, 2_500));
}

/// Returns a delivery of the minute for a call.
fn delivery(endpoint: &str, call: &str, minute: i64) -> Delivery {
    Delivery {
        id: format!("{endpoint}/{call}:{minute}"),
        endpoint: endpoint.to_owned(),
        event_id: format!("{call}:{minute}"),
        event: "call.started".to_owned(),
        call_id: call.to_owned(),
        order: format!("{minute:04}"),
        body: "{}".to_owned(),
        attempts: 0,
        created_at: Timestamp(minute * 60_000),
        queued_at: None,
    }
}

async fn fast_server() -> (Mongo, Database, Records) {
    let mongo = Mongo::start().await.unwrap();
    let records = Records::connect(&mongo.uri("bounds"), RecordsTimeouts::default()).await.unwrap();
    records.ensure_indexes().await.unwrap();
    let database = Client::with_uri_str(mongo.uri("bounds")).await.unwrap().default_database().unwrap();
    (mongo, database, records)
}

/// Claims the longest due queue of an endpoint. Returns it with the ids of its events.
async fn claim(
    records: &Records,
    endpoint: &str,
    is_retry: bool,
    now: Timestamp,
) -> Option<(ClaimedQueue, Vec<String>)> {
    let due = DueQueues { endpoint: endpoint.to_owned(), is_retry, due_at: now };
    let queue = records.claim_queue(&due, "pod", now, Duration::from_secs(60)).await.unwrap()?;
    let waiting = records.waiting_deliveries(endpoint, &queue.call_id, 20).await.unwrap();
    Some((queue, waiting.into_iter().map(|delivery| delivery.event_id).collect()))
}

#[tokio::test]
async fn the_events_of_a_call_wait_for_the_first_of_them_and_a_queue_has_one_owner() {
    let (_mongo, _, records) = fast_server().await;
    let (a, at) = ("a", |minute: i64| Timestamp(minute * 60_000));
    let queued = [delivery(a, "x", 2), delivery(a, "x", 1), delivery(a, "y", 3), delivery("b", "x", 0)];
    records.queue_deliveries(&queued).await.unwrap();
    let due = records.due_queues(at(9)).await.unwrap();
    assert_eq!(
        due.iter().map(|due| (due.endpoint.as_str(), due.due_at)).collect::<Vec<_>>(),
        [(a, at(1)), ("b", at(0))]
    );
    let (x, events) = claim(&records, a, false, at(9)).await.unwrap();
    assert_eq!(events, ["x:1", "x:2"]);
    let (y, events) = claim(&records, a, false, at(9)).await.unwrap();
    assert_eq!(events, ["y:3"]);
    assert!(claim(&records, a, false, at(9)).await.is_none(), "both are claimed");
    assert!(claim(&records, a, false, at(99)).await.is_none(), "also for a pod whose clock is ahead");

    let failed = Attempt { status: Some(503), problem: Some("busy".to_owned()) };
    records.settle_delivery("a/x:1", DeliveryOutcome::Postponed, &failed, at(9)).await.unwrap();
    records.release_queue(&x, at(20), true, Some(at(1))).await.unwrap();
    let accepted = Attempt { status: Some(204), problem: None };
    records.settle_delivery("a/y:3", DeliveryOutcome::Delivered, &accepted, at(9)).await.unwrap();
    // An event that is added now is not left without a queue.
    records.queue_deliveries(&[delivery(a, "y", 4)]).await.unwrap();
    records.finish_queue(&y, at(9)).await.unwrap();
    let (y, events) = claim(&records, a, false, at(9)).await.unwrap();
    assert_eq!(events, ["y:4"]);
    records.settle_delivery("a/y:4", DeliveryOutcome::Failed, &failed, at(9)).await.unwrap();
    records.finish_queue(&y, at(9)).await.unwrap();
    assert!(claim(&records, a, true, at(19)).await.is_none() && claim(&records, a, false, at(19)).await.is_none());
    assert_eq!(claim(&records, a, true, at(20)).await.unwrap().1, ["x:1", "x:2"], "in order");
    assert_eq!(records.oldest_waiting().await.unwrap(), [(a.to_owned(), at(1)), ("b".to_owned(), at(0))]);
    assert_eq!(records.delivery_counts(a).await.unwrap(), DeliveryCounts { waiting: 2, delivered: 1, failed: 1 });

    // Events that failed or were delivered are sent again; those that wait are not.
    assert!(records.resend_delivery(a, "y:3", at(30)).await.unwrap());
    assert!(!records.resend_delivery(a, "x:1", at(30)).await.unwrap());
    assert_eq!(records.resend_failed(a, at(30), 100).await.unwrap(), 1);
    assert_eq!(claim(&records, a, false, at(30)).await.unwrap().1, ["y:3", "y:4"]);
}

#[tokio::test]
async fn an_event_that_is_sent_again_waits_since_the_order_and_not_since_the_event() {
    let (_mongo, _, records) = fast_server().await;
    let at = |minute: i64| Timestamp(minute * 60_000);
    records.queue_deliveries(&[delivery("a", "x", 1)]).await.unwrap();
    let (queue, _) = claim(&records, "a", false, at(2)).await.unwrap();
    let accepted = Attempt { status: Some(204), problem: None };
    records.settle_delivery("a/x:1", DeliveryOutcome::Delivered, &accepted, at(2)).await.unwrap();
    records.finish_queue(&queue, at(2)).await.unwrap();
    assert!(records.resend_delivery("a", "x:1", at(9_000)).await.unwrap());
    while records.adopt_deliveries().await.unwrap() {}
    assert_eq!(records.oldest_waiting().await.unwrap(), [("a".to_owned(), at(9_000))]);
}

#[tokio::test]
async fn deliveries_of_more_bytes_than_mongodb_takes_in_a_command_are_queued() {
    let (_mongo, _, records) = fast_server().await;
    let mut queued: Vec<_> = (0..600).map(|minute| delivery("a", "x", minute)).collect();
    for delivery in &mut queued {
        delivery.body = "m".repeat(60_000);
    }
    records.queue_deliveries(&queued).await.unwrap();
    // A flush that is repeated queues them again.
    records.queue_deliveries(&queued).await.unwrap();
    assert_eq!(records.delivery_counts("a").await.unwrap().waiting, 600);
}

#[tokio::test]
async fn deliveries_of_an_earlier_version_get_a_queue() {
    let (_mongo, database, records) = fast_server().await;
    let old = doc! {
        "_id": "a/x:1", "endpoint": "a", "eventId": "x:1", "event": "call.ended", "callId": "x", "order": "0001",
        "body": "{}", "attempts": 2_i64, "createdAt": DateTime::from_millis(1), "state": "pending",
        "dueAt": DateTime::from_millis(1),
    };
    database.collection::<Document>("webhooks").insert_one(old).await.unwrap();
    assert!(records.due_queues(Timestamp(9)).await.unwrap().is_empty());
    while records.adopt_deliveries().await.unwrap() {}
    assert_eq!(claim(&records, "a", false, Timestamp(9)).await.unwrap().1, ["x:1"]);
}

#[tokio::test]
async fn messages_of_a_deleted_call_are_erased_from_its_webhook_events_and_other_events_stay() {
    let (_mongo, _, records) = fast_server().await;
    let [call, other] = [7, 8].map(|number| CallId::parse(&format!("{number:024x}")).unwrap());
    let mut queued =
        vec![delivery("a", call.as_str(), 1), delivery("a", call.as_str(), 2), delivery("a", other.as_str(), 3)];
    for message in &mut queued[1..] {
        message.event = "chat.message".to_owned();
    }
    records.queue_deliveries(&queued).await.unwrap();
    records.erase_call_data(&call).await.unwrap();
    let left = async |call: &CallId| {
        let waiting = records.waiting_deliveries("a", call.as_str(), 10).await.unwrap();
        waiting.into_iter().map(|delivery| delivery.event).collect::<Vec<_>>()
    };
    assert_eq!(
        (left(&call).await, left(&other).await),
        (vec!["call.started".to_owned()], vec!["chat.message".to_owned()])
    );
}

/// Returns the number of documents and of keys that the operations of the profile examined.
async fn examined(database: &Database, collection: &str) -> (i64, i64) {
    let these = doc! { "ns": format!("bounds.{collection}") };
    let sum = |field: &str| doc! { "$sum": { "$ifNull": [format!("${field}"), 0_i64] } };
    let stages = [
        doc! { "$match": these },
        doc! { "$group": { "_id": Bson::Null, "docs": sum("docsExamined"), "keys": sum("keysExamined") } },
    ];
    let profile = database.collection::<Document>("system.profile");
    let mut found = profile.aggregate(stages).await.unwrap();
    assert!(found.advance().await.unwrap(), "no operation of {collection} in the profile");
    let number = |field: &str| match found.current().get(field).unwrap().unwrap() {
        bson if bson.as_i64().is_some() => bson.as_i64().unwrap(),
        bson => i64::from(bson.as_i32().unwrap()),
    };
    (number("docs"), number("keys"))
}

#[tokio::test]
async fn a_poll_a_claim_and_a_page_read_a_few_documents_while_20_000_calls_wait() {
    const WAITING: i64 = 20_000;
    let (_mongo, database, records) = fast_server().await;
    let (queues, deliveries): (Vec<_>, Vec<_>) = (0..WAITING)
        .map(|number| {
            let (call, at) = (format!("{number:024x}"), DateTime::from_millis(number));
            let endpoint = if number % 10 == 0 { "b" } else { "a" };
            let queue = doc! {
                "_id": format!("{endpoint}/{call}"), "endpoint": endpoint, "callId": &call,
                "group": format!("{endpoint}/new"), "dueAt": at, "since": at, "version": 1_i64,
            };
            let delivery = doc! {
                "_id": format!("{endpoint}/e{number}"), "endpoint": endpoint, "eventId": format!("e{number}"),
                "event": "call.ended", "callId": &call, "order": format!("{number:020}"), "body": "{}",
                "attempts": 0_i64, "createdAt": DateTime::now(), "state": if number % 2 == 0 { "waiting" } else { "given_up" },
            };
            (queue, delivery)
        })
        .unzip();
    database.collection::<Document>("webhookqueues").insert_many(queues).await.unwrap();
    database.collection::<Document>("webhooks").insert_many(deliveries).await.unwrap();
    // The profiler knows the operations from here on.
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let now = Timestamp(WAITING);
    assert_eq!(records.due_queues(now).await.unwrap().len(), 2);
    assert_eq!(records.oldest_waiting().await.unwrap().len(), 2);
    for number in [1, 2, 3] {
        let (queue, _) = claim(&records, "a", false, now).await.unwrap();
        assert_eq!(queue.call_id, format!("{number:024x}"));
    }
    let (docs, keys) = examined(&database, "webhookqueues").await;
    assert!(docs <= 20 && keys <= 40, "{docs} documents and {keys} keys for two polls and three claims");
    assert!(!records.adopt_deliveries().await.unwrap());
    let filter = |state, call| DeliveryFilter { endpoint: "a", state, call };
    let (mut seen, mut after) = (Vec::new(), None);
    for _ in 0..3 {
        let page = records.delivery_page(filter(Some(DeliveryState::Failed), None), after.as_ref(), 50).await.unwrap();
        seen.extend(page.iter().map(|record| record.event_id.clone()));
        after = page.last().map(|record| record.position.clone());
    }
    let expected: Vec<_> = (0..150).map(|number| format!("e{}", WAITING - 1 - 2 * number)).collect();
    assert_eq!(seen, expected, "the newest first, each once");
    let all = records.delivery_page(filter(None, None), None, 50).await.unwrap();
    assert_eq!((all.len(), all[0].event_id.as_str()), (50, "e19999"));
    let call = CallId::parse(&format!("{:024x}", 7)).unwrap();
    let of_call = records.delivery_page(filter(None, Some(&call)), None, 50).await.unwrap();
    assert_eq!(of_call.iter().map(|record| record.event_id.as_str()).collect::<Vec<_>>(), ["e7"]);
    let (docs, keys) = examined(&database, "webhooks").await;
    assert!(docs <= 260 && keys <= 320, "{docs} documents and {keys} keys for four pages of 50 and four small reads");
}
