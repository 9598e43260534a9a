use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::RoomId;
use switchboard_rooms::RoomPeek;

use super::support::{READ_KEY, Reply, Service, WRITE_KEY};

async fn ask(service: &Service, method: Method, path: &str, key: &str) -> Reply {
    service.send(service.request(method, &format!("/api/admin{path}")).header("x-api-key", key)).await
}

#[tokio::test]
async fn operators_see_nodes_rooms_and_participants() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let mut rooms = Vec::new();
    for number in 0..5 {
        let call = service.call(&ann, json!({ "title": format!("Call {number}") })).await;
        assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
        rooms.push(call["roomId"].as_str().unwrap().to_owned());
        if number == 0 {
            service.seat(&call, &ann.id, 1).await;
            service.seat(&call, &bob.id, 2).await;
        }
    }
    let mut found = Vec::new();
    loop {
        let after =
            found.last().map_or(String::new(), |room: &Value| format!("&after={}", room["roomId"].as_str().unwrap()));
        let page = ask(&service, Method::GET, &format!("/rooms?limit=2{after}"), READ_KEY).await;
        let page = page.data().as_array().unwrap().clone();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    let mut names: Vec<_> = found.iter().map(|room| room["roomId"].as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    rooms.sort_unstable();
    assert_eq!(names, rooms);
    let busy = found.iter().find(|room| room["title"] == "Call 0").unwrap();
    assert_eq!((&busy["participants"], &busy["hostId"], &busy["locked"]), (&json!(2), &json!(ann.id), &json!(false)));
    assert!(!busy.to_string().contains("argon2"));

    let path = format!("/rooms/{}/participants", busy["roomId"].as_str().unwrap());
    let there = ask(&service, Method::GET, &path, READ_KEY).await;
    let people: Vec<_> = there.data().as_array().unwrap().iter().map(|seat| seat["userId"].clone()).collect();
    assert_eq!(people, [json!(ann.id), json!(bob.id)]);
    let nodes = ask(&service, Method::GET, "/nodes", READ_KEY).await;
    let seats: u64 = nodes.data().as_array().unwrap().iter().map(|node| node["participants"].as_u64().unwrap()).sum();
    assert_eq!((seats, nodes.data()[0]["id"].is_string()), (2, true));
}

#[tokio::test]
async fn an_operator_with_write_scope_ends_a_call() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    let end = format!("/rooms/{room}/end");
    assert_eq!(ask(&service, Method::POST, &end, READ_KEY).await.refusal(), (403, "FORBIDDEN"));
    assert!(matches!(service.rooms.peek(&room).await.unwrap(), RoomPeek::Open { .. }));
    assert_eq!(ask(&service, Method::POST, &end, WRITE_KEY).await.status, 200);
    assert!(matches!(service.rooms.peek(&room).await.unwrap(), RoomPeek::Ended));
    assert_eq!(ask(&service, Method::POST, &end, WRITE_KEY).await.refusal(), (404, "ROOM_NOT_FOUND"));
}

#[tokio::test]
async fn an_operator_with_write_scope_asks_the_nodes_to_even_out_their_loads() {
    let service = Service::start().await;
    let before = service.rooms.exchange_loads(1, 7).await.unwrap();
    assert_eq!((before.nodes.len(), before.nodes[0].sessions), (1, 7));
    let ask_nodes = async |key| ask(&service, Method::POST, "/nodes/rebalance", key).await;
    assert_eq!(ask_nodes(READ_KEY).await.refusal(), (403, "FORBIDDEN"));
    assert_eq!(service.rooms.exchange_loads(2, 7).await.unwrap().request, before.request);
    assert_eq!(ask_nodes(WRITE_KEY).await.status, 200);
    let after = service.rooms.exchange_loads(3, 8).await.unwrap();
    assert_ne!(after.request, before.request);
    assert_eq!((after.nodes.len(), after.nodes[0].sessions), (1, 8), "the request is no node");
    service.rooms.forget_loads(&[after.nodes[0].name.clone()]).await.unwrap();
}

#[tokio::test]
async fn an_unknown_key_is_refused_and_without_configured_keys_the_routes_do_not_exist() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    for path in ["/nodes", "/rooms", "/rooms/R/participants"] {
        for key in ["", "abd", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"] {
            assert_eq!(ask(&service, Method::GET, path, key).await.refusal(), (401, "UNAUTHORIZED"), "{path}");
        }
        let user = service.get(&format!("/api/admin{path}"), Some(&ann.token)).await;
        assert_eq!(user.refusal(), (401, "UNAUTHORIZED"));
    }
    assert_eq!(ask(&service, Method::GET, "/rooms?after=a:b&limit=0", READ_KEY).await.fields(), ["after", "limit"]);
    let closed = service.pod_without_operators().await;
    assert_eq!(ask(&closed, Method::GET, "/nodes", READ_KEY).await.refusal(), (404, "ROUTE_NOT_FOUND"));
}
