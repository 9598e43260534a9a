//! REST client: an account, and calls for the clients to join.

use std::net::Ipv4Addr;

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use super::http_client::HttpClient;

/// Calls that are created concurrently.
const CONCURRENT_MAX: usize = 16;

/// Password of all accounts.
pub(crate) const PASSWORD: &str = "a quiet line, please";

/// An account that creates calls.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    http: reqwest::Client,
    url: String,
    token: String,
    /// Single-use token for the next tokens.
    refresh_token: String,
    pub(crate) user_id: String,
    pub(crate) email: String,
}

impl Account {
    /// Registers a new account at the api with this base URL.
    pub(crate) async fn register(url: &str) -> anyhow::Result<Self> {
        Self::register_from(url, None).await
    }

    /// As [`Account::register`], with this source address for all requests of the account.
    pub(crate) async fn register_from(url: &str, from: Option<Ipv4Addr>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().local_address(from.map(Into::into)).build()?;
        let email = format!("load-{:016x}@example.com", rand::random::<u64>());
        let (token, refresh_token, user_id) = Default::default();
        let mut account = Self { http, url: url.to_owned(), token, refresh_token, user_id, email };
        let fields = json!({ "name": "Load", "email": account.email, "password": PASSWORD });
        let data = account.post("/api/auth/register", &fields).await?;
        data["token"].as_str().context("the register response has no token")?.clone_into(&mut account.token);
        // Compared services have neither of these in this response.
        data["refreshToken"].as_str().unwrap_or_default().clone_into(&mut account.refresh_token);
        data["user"]["id"].as_str().unwrap_or_default().clone_into(&mut account.user_id);
        Ok(account)
    }

    /// Exchanges the refresh token for new tokens.
    pub(crate) async fn refresh(&mut self) -> anyhow::Result<()> {
        let data = self.post("/api/auth/refresh", &json!({ "refreshToken": self.refresh_token })).await?;
        let token = |name: &str| data[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        (self.token, self.refresh_token) = (token("token")?, token("refreshToken")?);
        Ok(())
    }

    /// Access token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Returns the same account for another service with the same token secret and records.
    pub(crate) fn with_base_url(&self, url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), ..self.clone() }
    }

    /// Creates a public call and returns its room id. The number of seats is clamped to 2..=500.
    pub(crate) async fn create_call(&self, seats: usize) -> anyhow::Result<String> {
        let fields = json!({ "title": "Load", "type": "public", "maxParticipants": seats.clamp(2, 500) });
        let data = self.post("/api/video-calls", &fields).await?;
        let room = data["roomId"].as_str().or(data["call"]["roomId"].as_str());
        Ok(room.context("the new call has no room id")?.to_owned())
    }

    /// Creates `count` calls and returns their room ids.
    pub(crate) async fn create_calls(&self, count: usize, seats: usize) -> anyhow::Result<Vec<String>> {
        stream::iter(0..count).map(|_| self.create_call(seats)).buffered(CONCURRENT_MAX).try_collect().await
    }

    /// Reads a path with the account's token, including the body. Returns the status.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<u16> {
        let response = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await?;
        let status = response.status().as_u16();
        response.bytes().await?;
        Ok(status)
    }

    /// Opens an HTTP connection that repeats a GET request for `path` with the account's token.
    pub(crate) async fn http_client(&self, path: &str) -> anyhow::Result<HttpClient> {
        let url = reqwest::Url::parse(&self.url)?;
        ensure!(
            url.scheme() == "http",
            "{}:// is not supported: give the plain address behind the TLS endpoint",
            url.scheme()
        );
        let (host, token) = (url.authority(), &self.token);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let addresses = tokio::net::lookup_host((url.host_str().unwrap_or_default(), url.port().unwrap_or(80))).await?;
        HttpClient::open(&*addresses.collect::<Vec<_>>(), &request).await
    }

    async fn post(&self, path: &str, fields: &Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, fields).await
    }

    /// Sends a request with the account's token. Returns the data of the response.
    ///
    /// # Errors
    /// When the request is refused; the text ends with the refusal code.
    pub(crate) async fn send(&self, method: Method, path: &str, fields: &Value) -> anyhow::Result<Value> {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token).json(fields);
        let mut response: Value = request.send().await?.json().await?;
        if response["success"] != true {
            bail!("{path} was refused: {}", response["code"].as_str().unwrap_or("?"));
        }
        Ok(response["data"].take())
    }
}
