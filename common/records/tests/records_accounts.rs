//! Accounts and sign-ins on a real MongoDB, including documents of the old Node.js backend.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use devcluster::mongo::Mongo;
use futures_util::TryStreamExt as _;
use mongodb::bson::{DateTime, Document, doc};
use mongodb::{Client, Collection, IndexModel};
use switchboard_core::domain::{EmailAddress, Timestamp, UserId};
use switchboard_records::{NewSession, ProfileChange, Records, RecordsTimeouts, Rotation, RotationTimes, SESSIONS_MAX};

const MINUTE: i64 = 60_000;

fn session(id: &str, user: &UserId, now: i64) -> NewSession {
    NewSession {
        id: id.into(),
        user: user.clone(),
        token: "t1".into(),
        user_agent: None,
        opened: Timestamp(now),
        expires: Timestamp(now + MINUTE),
        password_at: None,
    }
}

#[tokio::test]
async fn an_account_with_a_text_id_of_the_old_backend_works_as_any_other() {
    let mongo = Mongo::start().await.unwrap();
    let uri = mongo.uri("accounts");
    let records = Records::connect(&uri, RecordsTimeouts::default()).await.unwrap();
    records.ensure_indexes().await.unwrap();
    let users: Collection<Document> =
        Client::with_uri_str(&uri).await.unwrap().database("accounts").collection("users");
    let text = "65a1b2c3d4e5f60718293a4b";
    users
        .insert_one(doc! {
            "_id": text, "name": "Old", "email": "old@example.org", "password": "$2b$10$hash", "__v": 0,
            "createdAt": DateTime::from_millis(5), "avatar": null,
        })
        .await
        .unwrap();
    let found = records.user_by_email(&EmailAddress::of_account("old@example.org")).await.unwrap().unwrap();
    let id = UserId::parse(text).unwrap();
    assert_eq!((&found.id, found.created_at, found.sign_ins_since), (&id, Timestamp(5), None));
    assert_eq!(records.user(&id).await.unwrap().unwrap().name, "Old");
    assert!(records.replace_hash(&id, "$2b$10$hash", "$argon2id$").await.unwrap());
    assert!(records.change_password(&id, "$argon2id$", "$argon2id$2", Timestamp(7)).await.unwrap());
    assert!(
        !records.change_password(&id, "$argon2id$", "$argon2id$3", Timestamp(8)).await.unwrap(),
        "changed meanwhile"
    );
    let change = ProfileChange { name: Some("New".into()), ..ProfileChange::default() };
    let changed = records.change_profile(&id, &change, Timestamp(9)).await.unwrap().unwrap();
    assert_eq!((changed.name.as_str(), changed.sign_ins_since), ("New", Some(Timestamp(7))));
    let stored = users.find_one(doc! { "_id": text }).await.unwrap().unwrap();
    assert_eq!(stored.get_str("password").unwrap(), "$argon2id$2");
}

#[tokio::test]
async fn a_replay_ends_a_token_family_and_the_repetition_of_an_unanswered_refresh_does_not() {
    let mongo = Mongo::start().await.unwrap();
    let uri = mongo.uri("families");
    let records = Records::connect(&uri, RecordsTimeouts::default()).await.unwrap();
    records.ensure_indexes().await.unwrap();
    let user = UserId::parse("65a1b2c3d4e5f60718293a4b").unwrap();
    // MongoDB deletes expired documents by the real clock.
    let now = DateTime::now().timestamp_millis();
    let rotate = async |id: &str, used: &str, next: &str, password_at: Option<i64>, at: i64| {
        let (now, access_end, refresh_end) = (Timestamp(at), Timestamp(at + MINUTE / 2), Timestamp(at + MINUTE));
        let times = RotationTimes { now, refresh_end, access_end };
        records.rotate_session(id, (used, next), password_at.map(Timestamp), times).await.unwrap()
    };
    records.open_session(&session("a", &user, now)).await.unwrap();
    assert_eq!(rotate("a", "t1", "t2", None, now + 1).await, Rotation::Done);
    assert_eq!(rotate("a", "t1", "x", None, now + 9_000).await, Rotation::Repeated("t2".into()));
    assert_eq!(rotate("a", "t2", "t3", None, now + 9_001).await, Rotation::Done);
    assert_eq!(rotate("a", "t2", "t4", None, now + 20_000).await, Rotation::Done, "t3 was never used");
    assert_eq!(rotate("a", "t2", "x", None, now + 20_001).await, Rotation::Repeated("t4".into()));
    assert_eq!(rotate("a", "t3", "x", None, now + 20_002).await, Rotation::Replayed, "t4 has taken its place");
    assert_eq!(rotate("a", "t4", "x", None, now + 20_003).await, Rotation::Replayed, "all tokens have ended");

    let day = 24 * 60 * MINUTE;
    for (name, at, rotation) in [("e", day, Rotation::Done), ("f", day + 1, Rotation::Replayed)] {
        records.open_session(&session(name, &user, now)).await.unwrap();
        assert_eq!(rotate(name, "t1", "t2", None, now).await, Rotation::Done);
        // A repetition in between does not extend the time.
        assert_eq!(rotate(name, "t1", "t3", None, now + day - MINUTE).await, Rotation::Done);
        assert_eq!(rotate(name, "t1", "t4", None, now + at).await, rotation);
        records.end_session(name).await.unwrap();
    }

    records.open_session(&session("b", &user, now)).await.unwrap();
    assert_eq!(rotate("b", "t1", "t2", Some(now), now + 1).await, Rotation::Outdated, "of an older password");
    assert_eq!(rotate("b", "t1", "t2", Some(now), now + 1).await, Rotation::Unknown);
    records.open_session(&session("c", &user, now)).await.unwrap();
    records.keep_session("c", Timestamp(now)).await.unwrap();
    assert_eq!(rotate("c", "t1", "t2", Some(now), now + 1).await, Rotation::Done);
    records.open_session(&session("d", &user, now)).await.unwrap();
    let ids = async |at| {
        let sessions = records.sessions_of(&user, Timestamp(at)).await.unwrap();
        sessions.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(now).await, ["a", "c", "d"], "the latest used first");
    assert_eq!(ids(now + 50_002).await, ["c", "d"], "the access tokens of a replayed one have expired");
    assert_eq!(ids(now + 2 * MINUTE).await, [""; 0], "what has ended is not listed");
    records.end_other_sessions(&user, Some("d")).await.unwrap();
    assert_eq!(ids(now).await, ["d"]);

    for n in 0..SESSIONS_MAX {
        records.open_session(&session(&format!("s{n:03}"), &user, now + 1 + n as i64)).await.unwrap();
    }
    assert_eq!(records.end_excess_sessions(&user).await.unwrap(), ["d"], "the one that was used least recently");
    assert_eq!(records.end_excess_sessions(&user).await.unwrap(), [""; 0]);
    assert_eq!(ids(now).await.len(), SESSIONS_MAX);

    let sessions = Client::with_uri_str(&uri).await.unwrap().database("families").collection::<Document>("sessions");
    let indexes: Vec<IndexModel> = sessions.list_indexes().await.unwrap().try_collect().await.unwrap();
    let expire = |index: &IndexModel| index.options.as_ref().and_then(|options| options.expire_after);
    let ending = indexes.iter().find(|index| index.keys.contains_key("expiresAt")).and_then(expire);
    assert_eq!(ending, Some(std::time::Duration::ZERO), "MongoDB forgets what has ended by itself");
}
