//! Requests that a client repeats after a broken connection: no message is lost, none is processed
//! twice.

use std::sync::Arc;

use crate::support::echo::EngineEcho;
use crate::support::poller::Poller;
use crate::support::probe::Probe;
use crate::support::{Nodes, Running, config, ending, start, start_nodes, start_probe};
use reqwest::StatusCode;
use switchboard_socketio::{CloseReason, Service, SocketIo};
use tokio::sync::mpsc::UnboundedReceiver;

async fn echoing(count: usize) -> Nodes {
    start_nodes(count, &config(), &(Arc::new(EngineEcho) as Arc<dyn Service>)).await
}

/// Opens a session whose close reason can be read, and polls everything that was sent to it.
async fn watched() -> (Running, Poller, UnboundedReceiver<CloseReason>) {
    let (running, _probe, endings) = start_probe(config()).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("40").await, 200);
    let mut received = String::new();
    while !received.contains("live") {
        received += &poller.payload().await;
    }
    (running, poller, endings)
}

#[tokio::test]
async fn a_repeated_poll_receives_the_same_response_on_any_node_until_the_next_poll() {
    let Nodes { nodes, .. } = &echoing(3).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    assert_eq!(poller.post("4one").await, 200);
    assert_eq!(poller.t("a").payload().await, "4one");
    assert_eq!(poller.post("4two").await, 200);
    for node in nodes {
        assert_eq!(poller.at(node).t("a").payload().await, "4one");
    }
    assert_eq!(poller.t("b").payload().await, "4two");
    // Only the latest response is kept. This `t` is older, so that this is a new poll, which hangs.
    let hanging = poller.t("a").hanging().await;
    assert_eq!(poller.at(&nodes[1]).post("4three").await, 200);
    assert_eq!(hanging.await.unwrap(), (StatusCode::OK, "4three".to_owned()));
}

#[tokio::test]
async fn a_poll_whose_connection_breaks_may_be_repeated_on_another_node() {
    let Nodes { nodes, .. } = &echoing(3).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    for round in 0..3 {
        let t = format!("round{round}");
        poller.at(&nodes[round]).t(&t).hanging().await.abort();
        let again = poller.at(&nodes[(round + 1) % 3]).t(&t).hanging().await;
        let message = format!("4round {round}");
        assert_eq!(poller.post(message.clone()).await, 200);
        assert_eq!(again.await.unwrap(), (StatusCode::OK, message));
    }
}

#[tokio::test]
async fn a_repeated_poll_receives_the_messages_since_its_connection_broke() {
    let Nodes { nodes, .. } = &echoing(2).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    poller.at(&nodes[1]).t("a").hanging().await.abort();
    assert_eq!(poller.post("4meanwhile").await, 200);
    assert_eq!(poller.t("a").payload().await, "4meanwhile");
    assert_eq!(poller.post("4after").await, 200);
    assert_eq!(poller.t("b").payload().await, "4after");
}

#[tokio::test]
async fn a_repetition_of_a_hanging_poll_replaces_it() {
    let Nodes { nodes, .. } = &echoing(2).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    let first = poller.t("a").hanging().await;
    let again = poller.at(&nodes[1]).t("a").hanging().await;
    assert_eq!(first.await.unwrap(), (StatusCode::OK, "6".to_owned()));
    assert_eq!(poller.post("4hello").await, 200);
    assert_eq!(again.await.unwrap(), (StatusCode::OK, "4hello".to_owned()));
}

#[tokio::test]
async fn a_broken_poll_that_is_not_repeated_ends_the_session() {
    let (_running, poller, mut endings) = watched().await;
    poller.t("a").hanging().await.abort();
    assert_eq!(ending(&mut endings).await, CloseReason::TransportLost);
    poller.t("a").assert_gone().await;
}

#[tokio::test]
async fn a_different_poll_after_a_broken_one_ends_the_session() {
    let (_running, poller, mut endings) = watched().await;
    poller.t("a").hanging().await.abort();
    assert_eq!(poller.t("b").poll().await.0, 400);
    // The server may notice the broken connection after the other poll.
    assert!(matches!(ending(&mut endings).await, CloseReason::TransportLost | CloseReason::ProtocolError(_)));
}

#[tokio::test]
async fn a_repeated_post_is_answered_on_any_node_and_processed_once() {
    let Nodes { nodes, .. } = &echoing(3).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    for node in nodes {
        assert_eq!(poller.at(node).t("a").answer_to_post("4once").await, (StatusCode::OK, "ok".to_owned()));
    }
    // Another body, or another `t`, is another request.
    assert_eq!(poller.t("a").post("4twice").await, 200);
    assert_eq!(poller.t("b").post("4twice").await, 200);
    assert_eq!(poller.payload().await, "4once\u{1e}4twice\u{1e}4twice");
}

#[tokio::test]
async fn a_repetition_of_a_pending_post_waits_for_the_same_result() {
    let (probe, _endings) = Probe::new();
    let running = start(config(), Arc::new(SocketIo::new(Arc::clone(&probe)))).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("40").await, 200);
    let post = || {
        let poller = poller.t("a");
        tokio::spawn(async move { poller.post(r#"421["wait"]"#).await })
    };
    let (first, second) = (post(), post());
    first.abort();
    let third = post();
    // Releases one event. If more than one POST was processed, the others would block forever.
    probe.release.notify_one();
    assert_eq!(second.await.unwrap(), 200);
    assert_eq!(third.await.unwrap(), 200);
    assert_eq!(poller.post(r#"422["anything"]"#).await, 200);
    let mut received = String::new();
    while !received.contains("432") {
        received += &poller.payload().await;
    }
    assert_eq!(received.matches("431[").count(), 1, "{received}");
}

#[tokio::test]
async fn requests_without_a_t_of_their_own_are_never_repetitions() {
    let running = start(config(), Arc::new(EngineEcho)).await;
    let (without, _) = Poller::open(&running).await;
    // All requests of this client have the same `t`.
    let (same, _) = Poller::open_path(&running, "/socket.io/?EIO=4&transport=polling&t=same").await;
    for poller in [without, same] {
        for _ in 0..2 {
            assert_eq!(poller.post("4hello").await, 200);
            assert_eq!(poller.payload().await, "4hello");
        }
        poller.hanging().await.abort();
        assert_eq!(poller.poll().await.0, 400);
    }
}
