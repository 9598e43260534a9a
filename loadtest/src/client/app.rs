//! An app of a throw-away cluster, as its operator and its backend use it.

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// Key of an operator, and its entry in `ADMIN_API_KEYS`: name, scope, SHA-256 of the key.
const OPERATOR_KEY: &str = "for-throw-away-clusters-only";
const OPERATOR_KEYS: &str = "loadtest:write:86f64e3bb22b8b1306ceb9afe4eac5c9d38cd66aa5f905a9e966036c2735af77";
/// Tokens that are minted at the same time.
const CONCURRENT_MAX: usize = 8;

/// Variable with which a throw-away cluster takes the operator's key.
pub(crate) fn operator_variable() -> (String, String) {
    ("ADMIN_API_KEYS".to_owned(), OPERATOR_KEYS.to_owned())
}

/// An app with an API key.
#[derive(Clone, Debug)]
pub(crate) struct AppClient {
    http: reqwest::Client,
    /// Base URL of the api.
    api: String,
    id: String,
    key: String,
    secret: String,
}

impl AppClient {
    /// Creates an app with these limits, at the api with this base URL. The limits come before the
    /// key, so that a process that knows the key knows them.
    pub(crate) async fn create(api: &str, name: &str, limits: &Value) -> anyhow::Result<Self> {
        let (key, secret) = Default::default();
        let mut app = Self { http: reqwest::Client::new(), api: api.to_owned(), id: String::new(), key, secret };
        app.id = text(&app.operate(Method::POST, "", &json!({ "name": name })).await?, "id")?;
        let path = format!("/{}", app.id);
        app.operate(Method::PATCH, &path, &json!({ "limits": limits })).await?;
        let key = app.operate(Method::POST, &format!("{path}/keys"), &json!({})).await?;
        (app.key, app.secret) = (text(&key, "keyId")?, text(&key, "secret")?);
        Ok(app)
    }

    /// Creates a call in a room. A call that exists already is no error, because a request whose
    /// response was lost may be repeated.
    pub(crate) async fn create_call(&self, room: &str, settings: &Value) -> anyhow::Result<()> {
        let fields = json!({ "title": "Load", "roomId": room, "settings": settings });
        match self.ask(Method::POST, "/calls", &fields).await {
            Err(error) if error.to_string().ends_with("ROOM_EXISTS") => Ok(()),
            created => created.map(drop),
        }
    }

    /// Returns a token for each of `count` users, `u0`, `u1`, ... It is good for every call of the
    /// app.
    pub(crate) async fn tokens(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let token = |number| async move { self.token(&format!("u{number}"), "participant").await };
        stream::iter((0..count).map(token)).buffered(CONCURRENT_MAX).try_collect().await
    }

    /// Returns a token of this user, for every call of the app.
    pub(crate) async fn token(&self, user: &str, role: &str) -> anyhow::Result<String> {
        let claims = json!({ "sub": user, "role": role, "expiresIn": 86_400 });
        text(&self.ask(Method::POST, "/tokens", &claims).await?, "token")
    }

    /// Returns the app's usage on the days of this run: today, UTC, and the day before.
    pub(crate) async fn usage(&self, first_day: &str) -> anyhow::Result<Value> {
        let path = format!("/{}/usage?from={first_day}", self.id);
        Ok(self.operate(Method::GET, &path, &Value::Null).await?["total"].take())
    }

    /// Sends a request of the app's backend. Returns the data of the response.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.request(method, format!("{}/api/server{path}", self.api));
        send(request.basic_auth(&self.key, Some(&self.secret)), body).await
    }

    /// Sends a request of the operator. Returns the data of the response.
    async fn operate(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.request(method, format!("{}/api/admin/apps{path}", self.api));
        send(request.header("x-api-key", OPERATOR_KEY), body).await
    }
}

async fn send(request: RequestBuilder, body: &Value) -> anyhow::Result<Value> {
    let request = if body.is_null() { request } else { request.json(body) };
    let mut response: Value = request.send().await?.json().await?;
    if response["success"] != true {
        bail!("the request was refused: {}", response["code"].as_str().unwrap_or("?"));
    }
    Ok(response["data"].take())
}

fn text(data: &Value, field: &str) -> anyhow::Result<String> {
    data[field].as_str().map(str::to_owned).with_context(|| format!("the response has no {field}"))
}
