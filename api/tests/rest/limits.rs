use std::time::Duration;

use api::limits::{Rates, RatesConfig};
use devcluster::mongo::Mongo;
use devcluster::redis::RedisServer;
use reqwest::Method;
use serde_json::json;
use switchboard_core::client_address::{ForwardedHeader, TrustedProxies};
use switchboard_rooms::Rate;
use switchboard_rooms::rate_limit::GuessBounds;

use super::support::{PASSWORD, Reply, Service};

/// Rates with a period so long that no request is regained during a test.
fn rate(requests: u32) -> Option<Rate> {
    Some(Rate { requests, period: Duration::from_secs(3600 * u64::from(requests)) })
}

fn number(reply: &Reply, header: &str) -> u64 {
    reply.headers[header].to_str().unwrap().parse().unwrap()
}

fn reads_by_address(requests: u32, trusted_hops: usize) -> RatesConfig {
    let read = Rates { address: rate(requests), account: None };
    RatesConfig { read, proxies: TrustedProxies::hops(trusted_hops), ..RatesConfig::default() }
}

#[tokio::test]
async fn an_address_over_its_rate_is_refused_on_every_pod_and_other_addresses_are_not() {
    let one = Service::limited(reads_by_address(3, 1)).await;
    let two = one.another_pod().await;
    let ask = async |service: &Service, forwarded: &'static str| {
        service.send(service.request(Method::GET, "/api/version").header("x-forwarded-for", forwarded)).await
    };
    for (service, left) in [(&one, 2), (&two, 1), (&one, 0)] {
        let reply = ask(service, "192.0.2.1").await;
        assert_eq!((reply.status.as_u16(), number(&reply, "ratelimit-remaining")), (200, left));
        assert_eq!(number(&reply, "ratelimit-limit"), 3);
        assert_eq!(reply.headers["ratelimit-policy"], "3;w=10800");
    }
    // Entries that the client made up are to the left of the proxy's entry.
    for forwarded in ["192.0.2.1", "198.51.100.9, 192.0.2.1"] {
        let reply = ask(&two, forwarded).await;
        assert_eq!(reply.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
        assert!((1..=3600).contains(&number(&reply, "retry-after")), "{reply:?}");
        assert_eq!(number(&reply, "ratelimit-remaining"), 0);
    }
    assert_eq!(ask(&two, "192.0.2.2").await.status, 200);
    assert_eq!(one.post("/api/auth/login", None, json!({})).await.status, 400, "another class is not limited");
}

#[tokio::test]
async fn clients_behind_a_balancer_have_rates_of_their_own_however_it_writes_their_addresses() {
    let service = Service::limited(reads_by_address(1, 1)).await;
    let ask = async |lines: &[&'static str]| {
        let request = service.request(Method::GET, "/api/version");
        let request = lines.iter().fold(request, |request, line| request.header("x-forwarded-for", *line));
        service.send(request).await.status.as_u16()
    };
    let clients: [&[&str]; 7] = [
        &["192.0.2.1:4711"],
        &["\"192.0.2.2:4711\""],
        &["[2001:db8:1::7]"],
        &["[2001:db8:2::7]:4711"],
        &["2001:db8:3::7"],
        &["192.0.2.3,"],
        &["6.6.6.6", "192.0.2.4"],
    ];
    for client in clients {
        assert_eq!(ask(client).await, 200, "{client:?}");
    }
    for client in clients {
        assert_eq!(ask(client).await, 429, "{client:?}");
    }
    assert_eq!(ask(&["192.0.2.1:9"]).await, 429, "another port is the same client");
    // Clients whose address the proxy does not tell are counted as the proxy: they are not free.
    assert_eq!([ask(&["unknown"]).await, ask(&["_hidden"]).await, ask(&["192.0.2.300"]).await], [200, 429, 429]);
}

#[tokio::test]
async fn with_the_setting_the_header_forwarded_is_read_and_the_other_one_is_not() {
    let proxies = TrustedProxies { hops: 1, header: ForwardedHeader::Forwarded };
    let service = Service::limited(RatesConfig { proxies, ..reads_by_address(1, 1) }).await;
    let ask = async |forwarded: &str, other: &str| {
        let request = service.request(Method::GET, "/api/version");
        service.send(request.header("forwarded", forwarded).header("x-forwarded-for", other)).await.status.as_u16()
    };
    assert_eq!(ask("for=6.6.6.6, for=\"[2001:db8::7]:4711\";proto=https", "192.0.2.1").await, 200);
    assert_eq!(ask("for=\"[2001:db8::7]:9\"", "192.0.2.2").await, 429);
    assert_eq!(ask("for=\", for=192.0.2.3", "192.0.2.3").await, 200, "an open quote hides no proxy's element");
    assert_eq!(ask("for=192.0.2.3", "192.0.2.4").await, 429);
}

#[tokio::test]
async fn a_forwarded_address_from_an_untrusted_proxy_is_ignored() {
    let service = Service::limited(reads_by_address(1, 0)).await;
    let ask = async |forwarded: &'static str| {
        service.send(service.request(Method::GET, "/api/version").header("x-forwarded-for", forwarded)).await.status
    };
    assert_eq!((ask("192.0.2.1").await.as_u16(), ask("192.0.2.2").await.as_u16()), (200, 429));
}

#[tokio::test]
async fn an_account_is_limited_from_every_address_and_other_accounts_are_not() {
    let write = Rates { address: None, account: rate(2) };
    let service =
        Service::limited(RatesConfig { write, proxies: TrustedProxies::hops(1), ..RatesConfig::default() }).await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let rename = async |token: &str, forwarded: &str| {
        let request = service.request(Method::PATCH, "/api/auth/profile").bearer_auth(token);
        service.send(request.header("x-forwarded-for", forwarded).json(&json!({ "name": "New" }))).await
    };
    assert_eq!(rename(&ann.token, "192.0.2.1").await.status, 200);
    assert_eq!(rename(&ann.token, "192.0.2.2").await.status, 200);
    assert_eq!(rename(&ann.token, "192.0.2.3").await.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
    assert_eq!(rename(&bob.token, "192.0.2.1").await.status, 200);
    // An invalid token has no account, so it cannot spend another account's requests.
    assert_eq!(rename("noise", "192.0.2.1").await.refusal(), (401, "TOKEN_INVALID"));
}

#[tokio::test]
async fn wrong_passwords_of_strangers_lock_out_neither_the_owner_nor_another_account() {
    let password = GuessBounds { address: rate(3), all: rate(6), pause: Duration::from_secs(300) };
    let service =
        Service::limited(RatesConfig { password, proxies: TrustedProxies::hops(1), ..RatesConfig::default() }).await;
    let ann = service.user("Ann").await;
    let login = async |email: &str, password: &str, forwarded: &str| {
        let form = json!({ "email": email, "password": password });
        let request = service.request(Method::POST, "/api/auth/login").header("x-forwarded-for", forwarded);
        service.send(request.json(&form)).await
    };
    for email in ["  ANN@Example.org ", "nobody@example.org"] {
        // The counts must not reveal whether the account exists.
        for _ in 0..3 {
            assert_eq!(login(email, "a wrong guess", "192.0.2.1").await.refusal(), (401, "INVALID_CREDENTIALS"));
        }
        let reply = login(email, PASSWORD, "192.0.2.1").await;
        assert_eq!(reply.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
        assert!(reply.headers.contains_key("retry-after"));
        for host in [2, 2, 2] {
            login(email, "a wrong guess", &format!("192.0.2.{host}")).await;
        }
        // The account is guarded now: each address has one guess, and once a day another.
        assert_eq!(login(email, "a typo", "192.0.2.3").await.refusal(), (401, "INVALID_CREDENTIALS"));
        assert_eq!(login(email, "a wrong guess", "192.0.2.3").await.refusal(), (401, "INVALID_CREDENTIALS"));
        assert_eq!(login(email, "a wrong guess", "192.0.2.3").await.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
    }
    for _ in 0..10 {
        assert_eq!(login(&ann.email, PASSWORD, "198.51.100.7").await.status, 200, "the owner, from elsewhere");
    }
}

#[tokio::test]
async fn a_text_that_names_another_kind_of_subject_spends_nothing_of_it() {
    let sign_in = Rates { address: rate(4), account: rate(1) };
    let password = GuessBounds { address: rate(1), all: None, pause: Duration::from_secs(300) };
    let rates = RatesConfig { sign_in, password, proxies: TrustedProxies::hops(1), ..RatesConfig::default() };
    let service = Service::limited(rates).await;
    let ann = service.user("Ann").await;
    for email in [ann.id.as_str(), "198.51.100.7"] {
        for _ in 0..2 {
            let form = json!({ "email": email, "password": "x" });
            let request = service.request(Method::POST, "/api/auth/login").header("x-forwarded-for", "192.0.2.1");
            service.send(request.json(&form)).await;
        }
    }
    let form = json!({ "currentPassword": PASSWORD, "newPassword": "x".repeat(8), "confirmPassword": "x".repeat(8) });
    let request = service.request(Method::POST, "/api/auth/change-password").bearer_auth(&ann.token);
    let reply = service.send(request.header("x-forwarded-for", "198.51.100.7").json(&form)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn probing_for_taken_addresses_by_changing_the_own_address_is_limited() {
    let sign_in = Rates { address: None, account: rate(2) };
    let service = Service::limited(RatesConfig { sign_in, ..RatesConfig::default() }).await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let patch = async |body: serde_json::Value| {
        service.send(service.request(Method::PATCH, "/api/auth/profile").bearer_auth(&ann.token).json(&body)).await
    };
    for _ in 0..2 {
        assert_eq!(
            patch(json!({ "email": bob.email, "currentPassword": PASSWORD })).await.refusal(),
            (409, "USER_EXISTS")
        );
    }
    assert_eq!(
        patch(json!({ "email": bob.email, "currentPassword": PASSWORD })).await.refusal(),
        (429, "RATE_LIMIT_EXCEEDED")
    );
    assert_eq!(patch(json!({ "name": "Anna" })).await.status, 200);
}

#[tokio::test]
async fn without_redis_there_are_no_rate_limits() {
    let mongo = Mongo::start().await.unwrap();
    let mut redis = RedisServer::start().await.unwrap();
    let service = Service::pod(&mongo.uri("limits"), &redis.url(), "limits", reads_by_address(1, 0)).await;
    assert_eq!(service.get("/api/version", None).await.status, 200);
    assert_eq!(service.get("/api/version", None).await.status, 429);
    redis.process().kill().unwrap();
    redis.process().wait_exit(Duration::from_secs(20)).await.unwrap();
    for _ in 0..5 {
        let reply = service.get("/api/version", None).await;
        assert_eq!((reply.status.as_u16(), reply.headers.contains_key("ratelimit-limit")), (200, false));
    }
}
