//! Bounds on the operations in progress, on a real MongoDB that is slow.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::{Duration, Instant};

use devcluster::mongo::{Mongo, MongoOptions};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Client, Database};
use switchboard_core::domain::{AppId, CallStatus, Timestamp, UserId};
use switchboard_records::{CallFilter, CallOrder, CallsOf, PageStart, Records, RecordsTimeouts};

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
