//! The REST side: an account, and calls for the clients to meet in.

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::line::Line;

/// Calls that are made at the same time.
const AT_ONCE: usize = 16;

/// An account that makes calls.
#[derive(Clone, Debug)]
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

    /// The same account and token, elsewhere: at a service that has the same secret and records.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), ..self.clone() }
    }

    /// A new public call with a seat for so many; the id of its room.
    pub(crate) async fn call(&self, seats: usize) -> anyhow::Result<String> {
        let fields = json!({ "title": "Load", "type": "public", "maxParticipants": seats.clamp(2, 500) });
        let data = self.post("/api/video-calls", &fields).await?;
        let room = data["roomId"].as_str().or(data["call"]["roomId"].as_str());
        Ok(room.context("no room id")?.to_owned())
    }

    /// So many of them.
    pub(crate) async fn calls(&self, count: usize, seats: usize) -> anyhow::Result<Vec<String>> {
        stream::iter(0..count).map(|_| self.call(seats)).buffered(AT_ONCE).try_collect().await
    }

    /// Reads a path as this account; the status of the answer, which was read to its end.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<u16> {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await?;
        let status = answer.status().as_u16();
        answer.bytes().await?;
        Ok(status)
    }

    /// A connection that reads a path as this account, again and again.
    pub(crate) async fn line(&self, path: &str) -> anyhow::Result<Line> {
        let url = reqwest::Url::parse(&self.url)?;
        ensure!(url.scheme() == "http", "{}:// is not spoken here: give the plain address behind it", url.scheme());
        let (host, token) = (url.authority(), &self.token);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let addresses = tokio::net::lookup_host((url.host_str().unwrap_or_default(), url.port().unwrap_or(80))).await?;
        Line::open(&*addresses.collect::<Vec<_>>(), &request).await
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
