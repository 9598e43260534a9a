//! Migrations on a real MongoDB.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use devcluster::mongo::Mongo;
use tokio::sync::mpsc;

use super::*;
use crate::RecordsTimeouts;

/// Documents of the test: seven batches.
const DOCUMENTS: i64 = 6 * BATCH + 7;
const LEASE_OF_TEST: Duration = Duration::from_millis(1_500);

/// Version 2 changes nothing that is stored. Version 3 counts how often it changed a document.
const OF_TEST: &[Migration] = &[
    Migration { name: "expand", change: None },
    Migration {
        name: "count",
        change: Some(Change {
            collection: "things",
            pending: || doc! { "full": { "$exists": false } },
            update: || {
                vec![doc! { "$set": { "full": "$_id", "times": { "$add": [{ "$ifNull": ["$times", 0] }, 1] } } }]
            },
        }),
    },
];

async fn records(mongo: &Mongo, database: &str) -> Records {
    Records::connect(&mongo.uri(database), RecordsTimeouts::default()).await.unwrap()
}

/// Returns the schema as another pod of the version after this one sees it.
async fn pod(mongo: &Mongo) -> Schema {
    let records = records(mongo, "migrated").await;
    Schema { migrations: OF_TEST, lease: LEASE_OF_TEST, ..Schema::new(&records) }
}

/// Ids as the old Node.js backend and this one made them.
fn thing(number: i64) -> Document {
    match number % 3 {
        0 => doc! { "_id": format!("{number:06}") },
        1 => doc! { "_id": ObjectId::new() },
        _ => doc! { "_id": number },
    }
}

async fn stored(records: &Records) -> Document {
    records.meta().find_one(doc! { "_id": SCHEMA }).await.unwrap().unwrap()
}

#[tokio::test]
async fn pods_that_race_migrate_each_document_once_and_go_on_where_a_pod_died() {
    let mongo = Mongo::start().await.unwrap();
    let first = pod(&mongo).await;
    let things = first.records.durable("things");
    things.insert_many((0..DOCUMENTS).map(thing)).await.unwrap();

    // The first pod dies after its fourth batch. Nothing cleans up after it.
    let (sender, mut reports) = mpsc::unbounded_channel();
    let dying = first.clone();
    let dying = tokio::spawn(async move { dying.ensure(|text| drop(sender.send(text))).await });
    let mut text = String::new();
    for _ in 0..4 {
        text = reports.recv().await.unwrap();
    }
    dying.abort();
    assert!(dying.await.is_err_and(|error| error.is_cancelled()), "the migration ended before the kill");
    assert_eq!(text, format!("migrating the documents to schema version 3: {} read so far", 4 * BATCH));
    let left = stored(&first.records).await;
    assert!(left.get("position").is_some() && left.get("owner").is_some(), "{left}");
    assert!(matches!(pod(&mongo).await.ensure(|_| ()).await, Err(RecordsError::Migrating(3))), "the lease was free");

    // Two others race for the rest.
    let reports = Arc::new(Mutex::new(Vec::new()));
    let race = async |schema: Schema| {
        let started = Instant::now();
        while let Err(error) = schema.ensure(|text| reports.lock().unwrap().push(text)).await {
            assert!(matches!(error, RecordsError::Migrating(3)), "{error}");
            assert!(started.elapsed() < Duration::from_secs(60), "the lease of a dead pod stays");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (second, third) = (pod(&mongo).await, pod(&mongo).await);
    tokio::join!(race(second), race(third));
    // Three batches are left. The dead pod may have written one more, and one may be repeated.
    let count = reports.lock().unwrap().len();
    assert!((2..=4).contains(&count), "{count} batches");
    let once = things.count_documents(doc! { "times": 1, "$expr": { "$eq": ["$full", "$_id"] } }).await.unwrap();
    assert_eq!(i64::try_from(once).unwrap(), DOCUMENTS);
    assert_eq!(stored(&first.records).await, doc! { "_id": SCHEMA, "version": 3_i64 });
    first.ensure(|text| panic!("migrated twice: {text}")).await.unwrap();
}

#[tokio::test]
async fn a_program_accepts_the_documents_of_one_version_after_it_and_refuses_the_next() {
    let mongo = Mongo::start().await.unwrap();
    let records = records(&mongo, "ahead").await;
    let schema = Schema::new(&records);
    let own = schema.own_version();
    assert_eq!(schema.check().await.unwrap(), 1, "a database without a version");
    schema.ensure(|_| ()).await.unwrap();
    assert_eq!(stored(&records).await.get_i64("version").unwrap(), i64::from(own));
    let set = async |version: mongodb::bson::Bson| {
        records.meta().update_one(doc! { "_id": SCHEMA }, doc! { "$set": { "version": version } }).await.unwrap();
    };
    // Of any stored width: the shell of MongoDB stores doubles.
    set(f64::from(own + 1).into()).await;
    schema.ensure(|_| ()).await.unwrap();
    assert_eq!(schema.check().await.unwrap(), own + 1, "the version was changed");
    set(i64::from(own + 2).into()).await;
    let refused = schema.ensure(|_| ()).await.unwrap_err();
    let expected = RecordsError::SchemaTooNew { found: own + 2, newest_readable: own + 1 };
    assert_eq!(refused.to_string(), expected.to_string());
    assert!(refused.to_string().contains(&format!("schema version {}", own + 2)), "{refused}");
    set("three".into()).await;
    assert!(matches!(schema.ensure(|_| ()).await, Err(RecordsError::Corrupt(_))));
    set(0_i32.into()).await;
    assert!(matches!(schema.ensure(|_| ()).await, Err(RecordsError::Corrupt(_))));
}
