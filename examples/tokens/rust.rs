//! Token endpoint for Rust: GET /token?user=ann&room=standup. Your own sign-in says who it is.
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use std::io::{Read, Write};
fn user_token(user: &str, room: &str) -> String {
    let variable = |name| std::env::var(name).expect("the id and the secret of an API key");
    let (iss, now) = (variable("SWITCHBOARD_KEY_ID"), std::time::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs()));
    let claims = json!({ "iss": iss, "sub": user, "name": user, "room": room, "iat": now, "exp": now + 3600 });
    let unsigned = [r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string()].map(|part| BASE64.encode(part)).join(".");
    let key: Hmac<sha2::Sha256> = Hmac::new_from_slice(variable("SWITCHBOARD_KEY_SECRET").as_bytes()).expect("a key");
    format!("{unsigned}.{}", BASE64.encode(key.chain_update(&unsigned).finalize().into_bytes()))
}

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or("8090".into());
    for mut client in std::net::TcpListener::bind(format!("127.0.0.1:{port}"))?.incoming().flatten() {
        let mut head = [0; 2048];
        let head = client.read(&mut head).map(|length| String::from_utf8_lossy(&head[..length]).into_owned())?;
        let query = |name| head.split(['?', '&', ' ']).find_map(|part| part.strip_prefix(name)).unwrap_or("");
        let body = json!({ "token": user_token(query("user="), query("room=")) });
        write!(client, "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{body}")?;
    }
    Ok(())
}
