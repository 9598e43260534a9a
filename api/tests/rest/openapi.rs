use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use api::limits::{Rates, RatesConfig};
use switchboard_core::client_address::TrustedProxies;
use switchboard_rooms::Rate;

use super::support::Service;

/// Returns every route of the table in docs/PROTOCOL.md, such as `GET /auth/profile`.
fn routes_of_the_contract() -> BTreeSet<String> {
    let text = include_str!("../../../docs/PROTOCOL.md");
    let rest = text.split("\n## ").find(|part| part.starts_with("REST")).unwrap();
    let quoted = rest.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('`').skip(1).step_by(2));
    let routes = quoted.filter_map(|words| {
        let (methods, path) = words.split_once(' ')?;
        let path: Vec<_> = path.split('?').next()?.split('/').collect();
        let path = path.iter().map(|word| word.strip_prefix(':').map_or((*word).to_owned(), |id| format!("{{{id}}}")));
        let path = path.collect::<Vec<_>>().join("/");
        let known = methods.split('|').all(|method| ["GET", "POST", "PATCH", "PUT", "DELETE"].contains(&method));
        (known && path.starts_with('/')).then(|| methods.split('|').map(move |method| format!("{method} {path}")))
    });
    routes.flat_map(Iterator::collect::<Vec<_>>).collect()
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &str, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(|(method, said)| (method.to_uppercase(), path.as_str(), said))
    })
}

#[tokio::test]
async fn the_document_has_every_route_of_the_contract_and_each_is_served() {
    let service = Service::start().await;
    let document = service.get("/api/openapi.json", None).await.body;
    assert_eq!(document["openapi"], "3.1.0");
    let documented: BTreeSet<String> = operations(&document)
        .map(|(method, path, _)| format!("{method} {}", path.strip_prefix("/api").unwrap()))
        .map(|route| if route.ends_with(' ') { format!("{route}/") } else { route })
        .collect();
    assert_eq!(documented, routes_of_the_contract());
    for (method, path, _) in operations(&document) {
        let path = path
            .replace("{id}", "65a1b2c3d4e5f60718293a4b")
            .replace("{roomId}", "NOWHERE")
            .replace("{peerId}", "nobody");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let reply = service.send(service.request(method.clone(), &path)).await;
        assert_ne!(reply.body["code"], "ROUTE_NOT_FOUND", "{method} {path}");
        assert!(reply.status.as_u16() < 500, "{method} {path}: {reply:?}");
    }
}

#[tokio::test]
async fn every_route_counts_the_address_before_it_reads_the_token_or_the_body() {
    let one = Rates { address: Rate::parse("1/3600").unwrap(), account: None };
    let (sign_in, register, join, write, read) = (one, one, one, one, one);
    let proxies = TrustedProxies::hops(1);
    let rates = RatesConfig { sign_in, register, join, write, read, proxies, ..RatesConfig::default() };
    let service = Service::limited(rates).await;
    let document =
        service.send(service.request(Method::GET, "/api/openapi.json").header("x-forwarded-for", "192.0.2.1"));
    let document = document.await.body;
    let mut routes = 0;
    for (number, (method, path, _)) in operations(&document).enumerate() {
        routes += 1;
        let path = path
            .replace("{id}", "65a1b2c3d4e5f60718293a4b")
            .replace("{roomId}", "NOWHERE")
            .replace("{peerId}", "nobody");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        // Each route is asked from an address of its own, so that its own count refuses it.
        let request = || service.request(method.clone(), &path).header("x-forwarded-for", format!("10.0.0.{number}"));
        let first = service.send(request()).await;
        assert_ne!(first.status, 429, "{method} {path}");
        assert_eq!(first.headers["ratelimit-remaining"], "0", "{method} {path} is counted");
        // The token is none, the key is none, and the body is no JSON.
        let broken = request().bearer_auth("noise").header("x-api-key", "noise").header("content-type", "text/plain");
        let second = service.send(broken.body("{")).await;
        assert_eq!(second.refusal(), (429, "RATE_LIMIT_EXCEEDED"), "{method} {path}");
        let elsewhere = service.request(method.clone(), &path).header("x-forwarded-for", format!("10.0.1.{number}"));
        assert_ne!(service.send(elsewhere).await.status, 429, "{method} {path}, from another address");
    }
    assert_eq!(routes, routes_of_the_contract().len());
}

#[tokio::test]
async fn every_operation_describes_its_access_its_answers_and_its_refusals() {
    let service = Service::start().await;
    let document = service.get("/api/openapi.json", None).await.body;
    for (method, path, said) in operations(&document) {
        let answers = said["responses"].as_object().unwrap();
        assert!(said["security"].is_array() && !said["summary"].as_str().unwrap().is_empty(), "{method} {path}");
        assert!(answers.keys().any(|status| status.starts_with('2')), "{method} {path}");
        for (status, answer) in answers.iter().filter(|(status, _)| !status.starts_with('2')) {
            let content = &answer["content"]["application/json"];
            let codes = content["schema"]["properties"]["code"]["enum"].as_array().unwrap();
            assert!(!codes.is_empty(), "{method} {path} {status}");
            for code in codes {
                let example = &content["examples"][code.as_str().unwrap()]["value"];
                assert_eq!(&example["code"], code, "{method} {path} {status}");
            }
        }
    }
    let register = &document["paths"]["/api/auth/register"]["post"];
    let name = &register["requestBody"]["content"]["application/json"]["schema"]["properties"]["name"];
    assert_eq!((&name["minLength"], &name["maxLength"]), (&2.into(), &100.into()), "bounds come from the reader");
    let example = &register["responses"]["201"]["content"]["application/json"]["example"];
    assert!(example["data"]["user"]["id"].is_string(), "{example}");
}

#[tokio::test]
async fn the_document_s_page_shows_every_operation_and_loads_no_file_from_other_servers() {
    let service = Service::start().await;
    let document = service.get("/api/openapi.json", None).await.body;
    let response = service.request(Method::GET, "/api/docs").send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = response.text().await.unwrap();
    for (method, path, _) in operations(&document) {
        assert!(page.contains(&format!("<h2><b>{method}</b><code>{path}</code></h2>")), "{method} {path}");
    }
    let outside_examples = page.split("<pre>").map(|part| part.rsplit("</pre>").next().unwrap());
    for foreign in ["http://", "https://", "<script", "src=", "style="] {
        assert!(outside_examples.clone().all(|html| !html.contains(foreign)), "{foreign}");
    }
    let style = service.get("/api/docs.css", None).await;
    assert!(style.headers["content-type"].to_str().unwrap().starts_with("text/css"));
}
