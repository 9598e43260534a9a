//! Limits that concern a client's address or its time, on a whole cluster behind the load balancer.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::IpAddr;
use std::time::Duration;

use devcluster::cluster::{Cluster, Options};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client on HTTP long-polling that comes from an address of its own.
struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    fn at(address: &str, cluster: &Cluster) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let http = reqwest::Client::builder().local_address(address).timeout(PATIENCE).build().unwrap();
        Self { http, url: format!("{}/socket.io/?EIO=4&transport=polling", cluster.base_url()) }
    }

    /// Opens a session, pretending to come from elsewhere: the status, and its id.
    async fn open(&self, pretended: &str) -> (u16, Option<String>) {
        let response = self.http.get(&self.url).header("x-forwarded-for", pretended).send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.text().await.unwrap();
        (status, body.split('"').nth(3).filter(|_| status == 200).map(str::to_owned))
    }

    async fn send(&self, sid: &str, packet: &str) {
        let response = self.http.post(format!("{}&sid={sid}", self.url)).body(packet.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }

    /// Polls, and answers pings, until the session is over; everything it was sent.
    async fn until_the_end(&self, sid: &str) -> Vec<String> {
        let mut packets = Vec::new();
        loop {
            let response = self.http.get(format!("{}&sid={sid}", self.url)).send().await.unwrap();
            if response.status() != 200 {
                return packets;
            }
            let body = response.text().await.unwrap();
            if body.split('\u{1e}').any(|packet| packet == "2") {
                // The session may have ended at this very ping.
                let pong = self.http.post(format!("{}&sid={sid}", self.url)).body("3");
                let _over_or_not = pong.send().await.unwrap();
            }
            packets.extend(body.split('\u{1e}').map(str::to_owned));
        }
    }
}

async fn start(env: &[(&str, &str)]) -> Cluster {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Cluster::start(&Options { nodes: 1, env, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn sockets_are_counted_by_the_address_that_the_load_balancer_saw() {
    let mut cluster = start(&[("SOCKETS_PER_ADDRESS", "2")]).await;
    let (one, two) = (Client::at("127.0.0.2", &cluster), Client::at("127.0.0.3", &cluster));
    assert_eq!(one.open("10.0.0.1").await.0, 200);
    assert_eq!(one.open("10.0.0.2").await.0, 200);
    assert_eq!(one.open("10.0.0.3").await.0, 429, "whatever it says of itself");
    assert_eq!(two.open("127.0.0.2").await.0, 200, "nor can it use up another's");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_socket_that_joins_no_room_is_ended_by_name() {
    let mut cluster = start(&[("JOIN_TIMEOUT_MS", "300"), ("PING_INTERVAL_MS", "200")]).await;
    let client = Client::at("127.0.0.2", &cluster);
    let sid = client.open("").await.1.unwrap();
    client.send(&sid, "40").await;
    let packets = client.until_the_end(&sid).await;
    assert!(packets.iter().any(|packet| packet.starts_with("40{")), "connected: {packets:?}");
    assert!(packets.iter().any(|packet| packet == "41"), "told to stay away: {packets:?}");
    let metrics = format!("http://127.0.0.1:{}/metrics", cluster.ports().nodes[0].admin);
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"switchboard_sockets_closed_total{reason="join_timeout"} 1"#), "{metrics}");
    cluster.stop().await.unwrap();
}
