//! A long-polling client.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::timeout;

use super::{Client, Running, TIMEOUT};

/// Long-polling client.
#[derive(Clone)]
pub(crate) struct Poller {
    http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) sid: String,
}

impl Poller {
    pub(crate) async fn open(running: &Running) -> (Self, Value) {
        Self::open_path(running, "/socket.io/?EIO=4&transport=polling").await
    }

    /// Opens a session at a path, with this query.
    pub(crate) async fn open_path(running: &Running, path: &str) -> (Self, Value) {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
        let url = format!("http://{}{path}", running.address);
        let body = http.get(&url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
        let open: Value = serde_json::from_str(body.strip_prefix('0').unwrap()).unwrap();
        let sid = open["sid"].as_str().unwrap().to_owned();
        let url = format!("{url}&sid={sid}");
        (Self { http, url, sid }, open)
    }

    /// Returns the URL that opens another session.
    pub(crate) fn url(&self) -> String {
        self.url.split("&sid=").next().unwrap_or_default().to_owned()
    }

    pub(crate) async fn poll(&self) -> (StatusCode, String) {
        let response = self.http.get(&self.url).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    pub(crate) async fn payload(&self) -> String {
        let (status, body) = self.poll().await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> StatusCode {
        self.answer_to_post(body).await.0
    }

    pub(crate) async fn answer_to_post(&self, body: impl Into<reqwest::Body>) -> (StatusCode, String) {
        let response = self.http.post(&self.url).body(body).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// Returns the same client, with this `t` in its requests.
    pub(crate) fn t(&self, t: &str) -> Self {
        Self { url: format!("{}&t={t}", self.url), ..self.clone() }
    }

    /// Polls in the background. Returns after 100 ms without a response, when the server holds the
    /// request.
    pub(crate) async fn hanging(&self) -> tokio::task::JoinHandle<(StatusCode, String)> {
        let poller = self.clone();
        let mut poll = tokio::spawn(async move { poller.poll().await });
        assert!(timeout(Duration::from_millis(100), &mut poll).await.is_err(), "the poll was answered immediately");
        poll
    }

    /// Asserts that the session has ended, so that its requests are refused.
    pub(crate) async fn assert_gone(&self) {
        let (status, body) = self.poll().await;
        assert_eq!((status.as_u16(), &body[..9]), (400, "{\"code\":1"), "{body}");
    }

    pub(crate) async fn dial_upgrade(&self, running: &Running) -> Client {
        Client::dial(running.address, &self.upgrade_query(), &[]).await.unwrap()
    }

    pub(crate) fn upgrade_query(&self) -> String {
        format!("EIO=4&transport=websocket&sid={}", self.sid)
    }

    pub(crate) async fn upgrade(&self, running: &Running) -> Client {
        let mut socket = self.dial_upgrade(running).await;
        socket.send("2probe").await;
        assert_eq!(socket.text().await, "3probe");
        socket.send("5").await;
        socket
    }

    /// Returns a client of the same session whose requests go to another node.
    pub(crate) fn at(&self, running: &Running) -> Self {
        let url = format!("http://{}/socket.io/?EIO=4&transport=polling&sid={}", running.address, self.sid);
        Self { url, ..self.clone() }
    }
}
