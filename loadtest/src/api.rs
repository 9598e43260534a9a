//! The REST side: an account, and calls for the clients to meet in.

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// An account that makes calls.
#[derive(Debug)]
pub(crate) struct Host {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Host {
    /// A new account at the api's address.
    pub(crate) async fn register(url: &str) -> anyhow::Result<Self> {
        let (http, url) = (reqwest::Client::new(), url.to_owned());
        let mut host = Self { http, url, token: String::new() };
        let email = format!("load-{:016x}@example.com", rand::random::<u64>());
        let fields = json!({ "name": "Load", "email": email, "password": "a quiet line, please" });
        let data = host.post("/api/auth/register", &fields).await?;
        data["token"].as_str().context("no token")?.clone_into(&mut host.token);
        Ok(host)
    }

    /// A new public call; the id of its room.
    pub(crate) async fn call(&self) -> anyhow::Result<String> {
        let data = self.post("/api/video-calls", &json!({ "title": "Load", "type": "public" })).await?;
        let room = data["roomId"].as_str().or(data["call"]["roomId"].as_str());
        Ok(room.context("no room id")?.to_owned())
    }

    async fn post(&self, path: &str, fields: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(fields);
        let mut answer: Value = request.send().await?.json().await?;
        if answer["success"] != true {
            bail!("{path} answered {}", answer["code"]);
        }
        Ok(answer["data"].take())
    }
}
