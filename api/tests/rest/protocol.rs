use reqwest::Method;
use serde_json::json;

use super::support::Service;

#[tokio::test]
async fn what_is_not_a_route_is_a_coded_404() {
    let service = Service::start().await;
    for path in ["/api/nothing", "/api/video-calls/a/b/c", "/api/", "/nothing", "/app/../package.json", "/package.json"]
    {
        assert_eq!(service.get(path, None).await.refusal(), (404, "ROUTE_NOT_FOUND"), "{path}");
    }
    let put = service.send(service.request(Method::PUT, "/api/auth/login")).await;
    assert_eq!(put.refusal(), (404, "ROUTE_NOT_FOUND"));
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_is_refused_by_its_kind() {
    let service = Service::start().await;
    let login = |body: &str, kind: &str| {
        service.request(Method::POST, "/api/auth/login").header("content-type", kind).body(body.to_owned())
    };
    for (body, kind, refusal) in [
        ("{\"email\":", "application/json", (400, "INVALID_INPUT")),
        ("", "application/json", (400, "INVALID_INPUT")),
        ("[]", "application/json", (400, "INVALID_INPUT")),
        ("null", "application/json; charset=utf-8", (400, "INVALID_INPUT")),
        ("{}", "text/plain", (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("{}", "application/x-www-form-urlencoded", (415, "UNSUPPORTED_MEDIA_TYPE")),
        (&format!("\"{}\"", "x".repeat(70_000)), "application/json", (413, "PAYLOAD_TOO_LARGE")),
        (&"[".repeat(10_000), "application/json", (400, "INVALID_INPUT")),
    ] {
        let reply = service.send(login(body, kind)).await;
        assert_eq!(reply.refusal(), refusal, "{kind}: {:.20}", body);
    }
}

#[tokio::test]
async fn a_request_keeps_its_sound_id_and_gets_one_instead_of_an_unsound_one() {
    let service = Service::start().await;
    let with = |id: &'static str| service.request(Method::GET, "/api/nothing").header("x-request-id", id);
    assert_eq!(service.send(with("my-request.1")).await.body["requestId"], "my-request.1");
    for unsound in ["has space", "<b>", ""] {
        let reply = service.send(with(unsound)).await;
        let id = reply.body["requestId"].as_str().unwrap();
        assert!(id.len() == 32 && id != unsound, "{id}");
    }
    let ok = service.send(service.request(Method::GET, "/api/version").header("x-request-id", "v1")).await;
    assert_eq!(ok.headers["x-request-id"], "v1");
}

#[tokio::test]
async fn a_listed_origin_and_the_page_itself_may_call_and_others_may_not() {
    let service = Service::start().await;
    for (origin, allowed) in
        [("http://friend.test", true), ("http://page.test", true), ("http://stranger.test", false), ("null", false)]
    {
        let preflight = service
            .request(Method::OPTIONS, "/api/auth/login")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,authorization");
        let reply = service.send(preflight).await;
        let told = reply.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!(told, allowed.then_some(origin));
        // A refusal must be readable to the page too.
        let reply = service.send(service.request(Method::GET, "/api/nothing").header("origin", origin)).await;
        assert_eq!(reply.headers.contains_key("access-control-allow-origin"), allowed);
    }
}

#[tokio::test]
async fn every_answer_has_the_headers_that_protect_the_page() {
    let service = Service::start().await;
    for path in ["/", "/api/version", "/api/nothing"] {
        let headers = service.get(path, None).await.headers;
        assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'self'"), "{path}");
        assert_eq!(
            (&headers["x-content-type-options"], &headers["x-frame-options"]),
            (&"nosniff".parse().unwrap(), &"DENY".parse().unwrap())
        );
        let cache = if path == "/" { "no-cache" } else { "no-store" };
        assert_eq!(headers["cache-control"], cache, "{path}");
    }
}

#[tokio::test]
async fn the_page_is_served_at_the_root_and_at_every_room() {
    let service = Service::start().await;
    for path in ["/", "/r/ABCDEF123456", "/r/x?passcode=1"] {
        let reply = service.get(path, None).await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.headers["content-type"].to_str().unwrap().starts_with("text/html"), "{path}");
    }
    let style = service.get("/style.css", None).await;
    assert!(style.headers["content-type"].to_str().unwrap().starts_with("text/css"));
}

#[tokio::test]
async fn health_version_and_index_say_what_is_there() {
    let service = Service::start().await;
    let health = service.get("/api/health", None).await;
    assert_eq!(health.status, 200, "{health:?}");
    assert_eq!(health.data()["dependencies"], json!({ "mongodb": "up", "redis": "up" }));
    assert_eq!(service.get("/api/version", None).await.text("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(service.get("/api", None).await.data()["endpoints"]["auth"], "/api/auth");
}
