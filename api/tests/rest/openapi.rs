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
        .map(|(method, path, _)| format!("{method} {}", path.strip_prefix("/api").unwrap_or(path)))
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
    let (sign_in, register, join, write, read, server, server_event) = (one, one, one, one, one, one, one);
    let proxies = TrustedProxies::hops(1);
    let rates =
        RatesConfig { sign_in, register, join, write, read, server, server_event, proxies, ..RatesConfig::default() };
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
    // Its only script is the page's own.
    let page = page.replacen("<script type=module src=\"../reference.js\"></script>", "", 1);
    let outside_examples = page.split("<pre>").map(|part| part.rsplit("</pre>").next().unwrap());
    for foreign in ["http://", "https://", "<script", "src=", "style="] {
        assert!(outside_examples.clone().all(|html| !html.contains(foreign)), "{foreign}");
    }
    let style = service.get("/api/docs.css", None).await;
    assert!(style.headers["content-type"].to_str().unwrap().starts_with("text/css"));
}

/// Adds the fields of a schema that have no description.
fn undescribed(place: &str, schema: &Value, found: &mut Vec<String>) {
    for (field, said) in schema["properties"].as_object().into_iter().flatten() {
        if said["description"].as_str().is_none_or(str::is_empty) && said["$ref"].is_null() && said["const"].is_null() {
            found.push(format!("{place}.{field}"));
        }
        undescribed(place, said, found);
    }
    for part in ["items", "anyOf", "oneOf", "allOf"] {
        let part = &schema[part];
        part.as_array().map_or(std::slice::from_ref(part), Vec::as_slice).iter().for_each(|part| {
            if part.is_object() {
                undescribed(place, part, found);
            }
        });
    }
}

#[tokio::test]
async fn operations_have_names_users_come_before_operators_and_every_field_is_described() {
    let service = Service::start().await;
    let document = service.get("/api/openapi.json", None).await.body;
    let names: BTreeSet<&str> =
        operations(&document).map(|(_, _, said)| said["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.len(), operations(&document).count(), "each name is there once");
    let is_name = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    assert!(names.iter().all(is_name) && names.contains("createCall") && names.contains("joinCall"), "{names:?}");
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert_eq!(tags, ["auth", "video-calls", "server", "service", "admin"]);
    let mut found = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        undescribed(name, schema, &mut found);
    }
    for (_, _, said) in operations(&document) {
        let name = said["operationId"].as_str().unwrap();
        undescribed(name, &said["requestBody"]["content"]["application/json"]["schema"], &mut found);
        for parameter in said["parameters"].as_array().into_iter().flatten() {
            if parameter["description"].as_str().is_none_or(str::is_empty) {
                found.push(format!("{name} {}", parameter["name"]));
            }
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

/// The client SDK's types are generated from these files. `UPDATE_DOCUMENTS=1` writes them.
#[tokio::test]
async fn the_documents_in_the_repository_are_the_served_ones() {
    let service = Service::start().await;
    for name in ["openapi.json", "asyncapi.json"] {
        let served = service.get(&format!("/api/{name}"), None).await.body;
        assert!(served["openapi"].is_string() || served["asyncapi"] == "3.0.0", "{name}");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/").to_owned() + name;
        let text = serde_json::to_string_pretty(&served).unwrap() + "\n";
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == text, "run with UPDATE_DOCUMENTS=1: docs/{name}");
    }
}
