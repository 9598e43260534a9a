//! A MongoDB that comes back empty, on a real server.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::{Duration, Instant};

use devcluster::mongo::{Mongo, MongoOptions};
use switchboard_core::domain::Timestamp;
use switchboard_records::{Records, RecordsError, RecordsTimeouts, UserRecord};

fn user() -> UserRecord {
    UserRecord {
        id: Records::new_user_id(),
        name: "Same address".into(),
        email: "same@example.org".into(),
        password: String::new(),
        avatar: None,
        sign_ins_since: None,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
    }
}

#[tokio::test]
async fn two_accounts_never_get_one_address_after_mongodb_came_back_empty() {
    let dir = tempfile::tempdir().unwrap();
    let options = MongoOptions { dir: Some(dir.path().to_owned()), ..MongoOptions::default() };
    let mut mongo = Mongo::start_with(&options).await.unwrap();
    let records = Records::connect(&mongo.uri("accounts"), RecordsTimeouts::default()).await.unwrap();
    records.ensure_indexes().await.unwrap();
    records.insert_user(&user()).await.unwrap();

    mongo.process().kill().unwrap();
    let db = dir.path().join("db");
    std::fs::remove_dir_all(&db).unwrap();
    std::fs::create_dir(&db).unwrap();
    // These wait for the primary, and meet an empty one.
    let early: Vec<_> = (0..8)
        .map(|_| {
            let records = records.clone();
            tokio::spawn(async move { records.insert_user(&user()).await })
        })
        .collect();
    mongo.restart().await.unwrap();
    let mut stored = 0;
    for insert in early {
        stored += u32::from(insert.await.unwrap().is_ok());
    }
    assert!(stored <= 1, "{stored} accounts have one address");

    let started = Instant::now();
    while !matches!(records.insert_user(&user()).await, Ok(()) | Err(RecordsError::Duplicate)) {
        assert!(started.elapsed() < Duration::from_secs(60), "no account is stored");
    }
    assert!(matches!(records.insert_user(&user()).await, Err(RecordsError::Duplicate)));
}
