//! Documents of the old Node.js backend in MongoDB: ids as text, bcrypt hashes, whole numbers as
//! floats, fields of mongoose.

use mongodb::bson::{DateTime, Document, doc};
use reqwest::Method;
use serde_json::json;

use super::support::Service;

const USER: &str = "65a1b2c3d4e5f60718293a4b";
const GUEST: &str = "65a1b2c3d4e5f60718293a4c";
const CALL: &str = "65a1b2c3d4e5f60718293a4d";
const OPEN: &str = "65a1b2c3d4e5f60718293a4e";
const PASSWORD: &str = "legacy-password";

#[tokio::test]
async fn a_user_of_the_old_backend_signs_in_and_keeps_their_calls() {
    let service = Service::start().await;
    let database = service.database().await;
    let put = async |collection: &str, document: Document| {
        database.collection::<Document>(collection).insert_one(document).await.unwrap();
    };
    for (id, name) in [(USER, "Old"), (GUEST, "Other")] {
        put(
            "users",
            doc! {
                "_id": id, "name": name, "email": format!("{}@example.org", name.to_lowercase()),
                "password": bcrypt::hash(PASSWORD, 4).unwrap(), "avatar": null, "__v": 0,
                "createdAt": DateTime::from_millis(5), "updatedAt": DateTime::from_millis(6),
            },
        )
        .await;
    }
    let call = |id: &str, room: &str, status: &str| {
        doc! {
            "_id": id, "title": "Kept", "description": null, "hostId": USER, "roomId": room, "status": status, "type": "private",
            "participants": [{ "userId": GUEST, "role": "participant", "joinedAt": DateTime::from_millis(7), "isConnected": false }],
            "settings": { "chatEnabled": false }, "maxParticipants": 10.0, "passcode": "plain", "__v": 3,
            "createdAt": DateTime::from_millis(5), "updatedAt": DateTime::from_millis(6),
        }
    };
    let mut over = call(CALL, "ABCDEF123456", "ended");
    over.extend(
        doc! { "startedAt": DateTime::from_millis(0), "endedAt": DateTime::from_millis(720_000), "duration": 12.0 },
    );
    put("videocalls", over).await;
    put("videocalls", call(OPEN, "ABCDEF123457", "waiting")).await;

    let login = async |name: &str| {
        let form = json!({ "email": format!("{name}@example.org"), "password": PASSWORD });
        service.post("/api/auth/login", None, form).await
    };
    let (old, other) = (login("old").await, login("other").await);
    assert_eq!((old.status.as_u16(), old.data()["user"]["id"].as_str()), (200, Some(USER)), "{old:?}");
    let (token, other) = (old.text("token"), other.text("token"));
    let stored = database.collection::<Document>("users").find_one(doc! { "_id": USER }).await.unwrap().unwrap();
    assert!(stored.get_str("password").unwrap().starts_with("$argon2id$"));
    let refreshed = service.post("/api/auth/refresh", None, json!({ "refreshToken": old.text("refreshToken") })).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_eq!(service.get("/api/auth/profile", Some(&token)).await.text("name"), "Old");
    assert_eq!(service.get("/api/auth/stats", Some(&token)).await.data()["totalHosted"], 2);

    for (reader, name) in [(&token, "Old"), (&other, "Other")] {
        let list = service.get("/api/video-calls?search=kept&sort=title", Some(reader)).await;
        assert_eq!(list.body["pagination"]["total"], 2, "{name}: {list:?}");
    }
    let read = service.get(&format!("/api/video-calls/{CALL}"), Some(&other)).await;
    let told = read.data();
    assert_eq!(
        (&told["duration"], &told["maxParticipants"], &told["hasPasscode"]),
        (&json!(12), &json!(10), &json!(true))
    );
    assert_eq!((&told["host"]["name"], &told["participants"][0]["user"]["name"]), (&json!("Old"), &json!("Other")));
    assert_eq!((&told["settings"]["chatEnabled"], &told["settings"]["videoEnabled"]), (&json!(false), &json!(true)));

    // A new call finds the same users, although it stores their ids in another form.
    let new = service.post("/api/video-calls", Some(&token), json!({ "title": "New" })).await;
    let new = service.get(&format!("/api/video-calls/{}", new.text("id")), Some(&token)).await;
    assert_eq!(new.data()["host"]["name"], "Old");

    // Passcode in plain text, as the old Node.js backend stored it.
    let open = json!({ "roomId": "ABCDEF123457" });
    assert_eq!(
        service.join(&open, Some(&other), json!({ "passcode": "wrong" })).await.refusal(),
        (401, "INVALID_PASSCODE")
    );
    assert_eq!(service.join(&open, Some(&other), json!({ "passcode": "plain" })).await.status, 200);
    assert_eq!(service.join(&open, Some(&token), json!({})).await.text("role"), "host");
    let path = format!("/api/video-calls/{OPEN}");
    let patch = service.request(Method::PATCH, &path).bearer_auth(&token).json(&json!({ "title": "Changed" }));
    assert_eq!(service.send(patch).await.text("title"), "Changed");
    assert_eq!(service.post(&format!("{path}/end"), Some(&token), json!({})).await.status, 200);
    assert_eq!(service.send(service.request(Method::DELETE, &path).bearer_auth(&token)).await.status, 200);
    assert_eq!(service.get(&path, Some(&token)).await.refusal(), (404, "CALL_NOT_FOUND"));
}
