//! The MongoDB server that other tests use.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use devcluster::mongo::{Mongo, MongoOptions};
use devcluster::ports;
use mongodb::Client;
use mongodb::bson::{Document, doc};

async fn count(mongo: &Mongo) -> u64 {
    let client = Client::with_uri_str(mongo.uri("test")).await.unwrap();
    let things = client.default_database().unwrap().collection::<Document>("things");
    things.count_documents(doc! {}).await.unwrap()
}

#[tokio::test]
async fn data_survives_a_kill_and_a_change_of_port() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = MongoOptions { dir: Some(dir.path().to_owned()), ..MongoOptions::default() };
    let mut mongo = Mongo::start_with(&options).await.unwrap();
    let client = Client::with_uri_str(mongo.uri("test")).await.unwrap();
    let things = client.default_database().unwrap().collection::<Document>("things");
    things.insert_one(doc! { "a": 1 }).await.unwrap();

    mongo.process().kill().unwrap();
    mongo.restart().await.unwrap();
    assert_eq!(count(&mongo).await, 1);

    let old = mongo.port();
    drop(mongo);
    assert!(ports::is_free(old));
    options.port = Some(ports::free().unwrap());
    let mongo = Mongo::start_with(&options).await.unwrap();
    assert_eq!(count(&mongo).await, 1);
}
