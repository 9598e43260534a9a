use serde_json::{Value, json};

use super::support::{Service, came, went};

fn path(call: &Value) -> String {
    format!("/api/video-calls/{}", call["_id"].as_str().unwrap())
}

#[tokio::test]
async fn participants_are_listed_in_pages_and_a_call_shows_the_first() {
    const GUESTS: usize = 130;
    let service = Service::start().await;
    let (ann, bob, eve) = (service.user("Ann").await, service.user("Bob").await, service.user("Eve").await);
    let call = service.call(&ann, json!({})).await;
    let guests: Vec<_> = (0..GUESTS).map(|number| format!("guest-{number:016x}")).collect();
    service.record(&call, guests.iter().flat_map(|guest| [came(guest), went(guest)])).await;
    service.record(&call, [came(&bob.id)]).await;

    let read = service.get(&path(&call), None).await;
    assert_eq!(read.data()["totalParticipants"], GUESTS + 1);
    assert_eq!(read.data()["participants"].as_array().unwrap().len(), 100);
    let list = service.get("/api/video-calls", Some(&bob.token)).await;
    assert_eq!(list.body["pagination"]["total"], 1, "a user is listed after any number of guests");
    assert_eq!(list.data()[0]["participants"].as_array().unwrap().len(), 10);
    let stats = service.get(&format!("{}/stats", path(&call)), Some(&bob.token)).await;
    assert_eq!(stats.data()["totalParticipants"], GUESTS + 1);
    assert_eq!(service.get(&format!("{}/messages", path(&call)), Some(&bob.token)).await.status, 200);
    assert_eq!(service.get(&format!("{}/stats", path(&call)), Some(&eve.token)).await.refusal(), (403, "FORBIDDEN"));

    let mut seen = Vec::new();
    for number in 1..=3 {
        let page = service.get(&format!("{}/participants?page={number}&limit=50", path(&call)), None).await;
        let expected = json!({ "page": number, "limit": 50, "total": GUESTS + 1, "pages": 3 });
        assert_eq!(page.body["pagination"], expected);
        let entries = page.data().as_array().unwrap().clone();
        seen.extend(entries.iter().map(|entry| entry["userId"].as_str().unwrap().to_owned()));
        assert!(entries.iter().all(|entry| !entry["user"]["name"].as_str().unwrap().is_empty()));
    }
    assert_eq!(seen, guests.into_iter().chain([bob.id]).collect::<Vec<_>>(), "in the order of their first joins");
    let deep = service.get(&format!("{}/participants?page=100000", path(&call)), None).await;
    assert_eq!((deep.refusal(), deep.fields()), ((400, "VALIDATION_ERROR"), vec!["page"]));
}

#[tokio::test]
async fn strangers_learn_no_name_of_a_public_call_with_a_passcode() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Annabel").await, service.user("Robert").await);
    let (carl, eve) = (service.user("Carl").await, service.user("Eve").await);
    let fields = json!({ "passcode": "s3cret", "invitedUserIds": [carl.id] });
    let call = service.call(&ann, fields).await;
    service.record(&call, [came(&bob.id)]).await;
    let by_room = format!("/api/video-calls/room/{}", call["roomId"].as_str().unwrap());
    let guest = service.join(&call, None, json!({ "guestName": "Gil", "passcode": "s3cret" })).await.text("token");
    let other = service.call(&ann, json!({})).await;
    let stranger = service.join(&other, None, json!({ "guestName": "Gus" })).await.text("token");
    for path in [path(&call), by_room] {
        for token in [None, Some(&eve.token), Some(&stranger)] {
            let read = service.get(&path, token.map(String::as_str)).await;
            assert_eq!((&read.data()["title"], &read.data()["requiresPasscode"]), (&json!("A call"), &json!(true)));
            let text = read.body.to_string();
            for secret in ["Annabel", "Robert", &ann.id, &bob.id, &carl.id] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
        for token in [&ann.token, &bob.token, &carl.token, &guest] {
            let read = service.get(&path, Some(token)).await;
            assert_eq!(read.data()["participants"][0]["user"]["name"], "Robert");
        }
    }
    let list = format!("{}/participants", path(&call));
    for token in [None, Some(&eve.token), Some(&stranger)] {
        assert_eq!(service.get(&list, token.map(String::as_str)).await.refusal(), (403, "FORBIDDEN"));
    }
    assert_eq!(service.get(&list, Some(&guest)).await.data()[0]["user"]["name"], "Robert");
}

#[tokio::test]
async fn names_and_titles_have_no_characters_that_hide_or_reorder() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({ "title": "\u{202E}Stand\u{200B}-up\u{3000} now" })).await;
    assert_eq!(call["title"], "Stand-up now");
    let guest = service.join(&call, None, json!({ "guestName": "A\u{2066}\u{200D}nn\u{FEFF}" })).await;
    assert_eq!(guest.data()["user"]["name"], "Ann");
    assert_eq!(guest.data()["user"]["isGuest"], true, "a guest with the name of the host is marked");
    for name in ["\u{200B}\u{200B}\u{200B}", "\u{3164}\u{3164}", "a\nb"] {
        let refused = service.join(&call, None, json!({ "guestName": name })).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["guestName"]));
    }
}

#[tokio::test]
async fn requests_of_guests_to_join_write_nothing_to_mongodb() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    let database = service.database().await;
    database.run_command(mongodb::bson::doc! { "profile": 2 }).await.unwrap();
    for number in 0..20 {
        let joined = service.join(&call, None, json!({ "guestName": format!("Guest {number}") })).await;
        assert_eq!(joined.status, 200);
    }
    let writes = mongodb::bson::doc! { "op": { "$in": ["insert", "update", "remove"] } };
    let profile = database.collection::<mongodb::bson::Document>("system.profile");
    assert_eq!(profile.count_documents(writes).await.unwrap(), 0);
    assert_eq!(service.get(&path(&call), None).await.data()["totalParticipants"], 0);
}
