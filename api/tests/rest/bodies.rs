//! Bodies that may be missing, and queries with unknown parameters.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::support::{Service, WRITE_KEY};

#[tokio::test]
async fn a_request_without_a_body_is_the_same_as_one_with_an_empty_object() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let call = json!({ "title": "A call", "roomId": "r", "hostId": "ann" });
    service.ask(&backend, Method::POST, "/calls", call).await.data();
    let place = backend.place("r");
    service.seat(&place, "ann", 1).await;
    let apps = format!("/api/admin/apps/{}", backend.app);
    let operate = |method: Method, path: &str| service.request(method, path).header("x-api-key", WRITE_KEY);
    let added = operate(Method::POST, &format!("{apps}/webhooks")).json(&json!({ "url": "https://a.test" }));
    let id = service.send(added).await.text("webhookId");
    let forms: [fn(RequestBuilder) -> RequestBuilder; 3] = [
        |request| request,
        |request| request.header("content-type", "application/json"),
        |request| request.json(&json!({})),
    ];
    for (visit, form) in (2..).zip(forms) {
        service.wait_in_lobby(&place, "cid", visit).await;
        let deny = service.request(Method::POST, "/api/server/rooms/r/participants/cid/deny");
        let denied = service.send(form(deny.basic_auth(&backend.key, Some(&backend.secret)))).await;
        assert_eq!((denied.status.as_u16(), denied.data()), (200, &Value::Null));
        for (method, path, status) in [
            (Method::POST, format!("/api/admin/webhooks/{id}/resend"), 200),
            (Method::POST, format!("{apps}/webhooks/{id}/secret"), 201),
            (Method::PATCH, format!("{apps}/webhooks/{id}"), 200),
            (Method::POST, format!("{apps}/keys"), 201),
            (Method::PATCH, apps.clone(), 200),
        ] {
            let reply = service.send(form(operate(method.clone(), &path))).await;
            assert_eq!((reply.status.as_u16(), &reply.body["success"]), (status, &json!(true)), "{method} {path}");
        }
        // A field that must be there is named.
        let refused = service.send(form(service.request(Method::POST, "/api/auth/refresh"))).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["refreshToken"]));
    }
    let resend = || operate(Method::POST, &format!("/api/admin/webhooks/{id}/resend"));
    for other in [
        resend().body("{}"),
        resend().header("content-type", "text/plain"),
        resend().header("content-type", "text/plain").body("{}"),
        resend().header("content-type", "application/x-www-form-urlencoded").body("eventId=1"),
    ] {
        assert_eq!(service.send(other).await.refusal(), (415, "UNSUPPORTED_MEDIA_TYPE"));
    }
}

#[tokio::test]
async fn the_document_requires_a_body_exactly_where_a_field_is_required() {
    let service = Service::start().await;
    let document = service.get("/api/openapi.json", None).await.body;
    let mut optional = Vec::new();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    for operation in operations {
        let body = &operation["requestBody"];
        if body.is_null() {
            continue;
        }
        let has_required = body["content"]["application/json"]["schema"]["required"].is_array();
        assert_eq!(body["required"], has_required, "{operation}");
        if !has_required {
            optional.push(operation["operationId"].as_str().unwrap());
        }
    }
    for name in ["denyServerParticipant", "resendWebhookDeliveries", "rotateAppWebhookSecret", "addAppKey"] {
        assert!(optional.contains(&name), "{name}: {optional:?}");
    }
}

#[tokio::test]
async fn a_parameter_that_a_route_does_not_have_is_refused_for_backends_and_operators() {
    let service = Service::start().await;
    let (backend, ann) = (service.backend().await, service.user("Ann").await);
    service.ask(&backend, Method::POST, "/calls", json!({ "title": "A call", "roomId": "r" })).await.data();
    service.seat(&backend.place("r"), "bob", 1).await;
    let document = service.get("/api/openapi.json", None).await.body;
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let is_of_backends = path.starts_with("/api/server/");
        if !is_of_backends && !path.starts_with("/api/admin/") {
            continue;
        }
        let filled = path.replace("{appId}", &backend.app).replace("{roomId}", "r").replace("{peerId}", "bob");
        for method in item.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let request = || {
                let request = service.request(method.clone(), &format!("{filled}?bann=true&limitt"));
                if is_of_backends { request.basic_auth(&backend.key, Some(&backend.secret)) } else { request }
            };
            let refused = service.send(request().header("x-api-key", WRITE_KEY)).await;
            let what = format!("{method} {path}");
            assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR"), "{what}");
            assert_eq!(refused.fields(), ["bann", "limitt"], "{what}");
            let stranger = service.send(service.request(method.clone(), &format!("{filled}?bann=true"))).await;
            assert_eq!(stranger.refusal(), (401, "UNAUTHORIZED"), "{what}: who asks is known first");
            routes += 1;
        }
    }
    assert!(routes > 30, "{routes}");
    let listed = service.ask(&backend, Method::GET, "/rooms/r/participants", Value::Null).await;
    assert_eq!(listed.data()[0]["peerId"], "bob", "nothing was done");
    assert_eq!(service.get("/api/video-calls?utm_source=mail", Some(&ann.token)).await.status, 200);
}
