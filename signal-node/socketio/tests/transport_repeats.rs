//! Requests on long-polling that come twice because a connection broke: nothing is lost, nothing is dealt with twice.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use reqwest::StatusCode;
use support::echo::EngineEcho;
use support::poller::Poller;
use support::probe::Probe;
use support::{Nodes, Running, config, ending, start, start_nodes, start_probe};
use switchboard_socketio::{CloseReason, Service, SocketIo};
use tokio::sync::mpsc::UnboundedReceiver;

async fn echoing(count: usize) -> Nodes {
    start_nodes(count, &config(), &(Arc::new(EngineEcho) as Arc<dyn Service>)).await
}

/// A session of an application that tells endings; everything it said is polled.
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
async fn a_poll_that_comes_again_gets_the_same_answer_on_any_node_until_the_next_one() {
    let Nodes { nodes, .. } = &echoing(3).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    assert_eq!(poller.post("4one").await, 200);
    assert_eq!(poller.t("a").payload().await, "4one");
    assert_eq!(poller.post("4two").await, 200);
    for node in nodes {
        assert_eq!(poller.at(node).t("a").payload().await, "4one");
    }
    assert_eq!(poller.t("b").payload().await, "4two");
    // Nobody asks for what was answered before the last answer: this is another poll, which hangs.
    let hanging = poller.t("a").hanging().await;
    assert_eq!(poller.at(&nodes[1]).post("4three").await, 200);
    assert_eq!(hanging.await.unwrap(), (StatusCode::OK, "4three".to_owned()));
}

#[tokio::test]
async fn a_poll_whose_connection_breaks_may_come_again_on_another_node() {
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
async fn what_came_while_a_poll_was_broken_is_its_answer_when_it_comes_again() {
    let Nodes { nodes, .. } = &echoing(2).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    poller.at(&nodes[1]).t("a").hanging().await.abort();
    assert_eq!(poller.post("4meanwhile").await, 200);
    assert_eq!(poller.t("a").payload().await, "4meanwhile");
    assert_eq!(poller.post("4after").await, 200);
    assert_eq!(poller.t("b").payload().await, "4after");
}

#[tokio::test]
async fn a_poll_that_comes_again_while_the_first_still_hangs_takes_its_place() {
    let Nodes { nodes, .. } = &echoing(2).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    let first = poller.t("a").hanging().await;
    let again = poller.at(&nodes[1]).t("a").hanging().await;
    assert_eq!(first.await.unwrap(), (StatusCode::OK, "6".to_owned()));
    assert_eq!(poller.post("4hello").await, 200);
    assert_eq!(again.await.unwrap(), (StatusCode::OK, "4hello".to_owned()));
}

#[tokio::test]
async fn a_broken_poll_that_does_not_come_again_ends_the_session() {
    let (_running, poller, mut endings) = watched().await;
    poller.t("a").hanging().await.abort();
    assert_eq!(ending(&mut endings).await, CloseReason::TransportLost);
    poller.t("a").assert_gone().await;
}

#[tokio::test]
async fn a_broken_poll_that_another_one_follows_ends_the_session() {
    let (_running, poller, mut endings) = watched().await;
    poller.t("a").hanging().await.abort();
    assert_eq!(poller.t("b").poll().await.0, 400);
    // The break may be noticed after the other poll.
    assert!(matches!(ending(&mut endings).await, CloseReason::TransportLost | CloseReason::ProtocolError(_)));
}

#[tokio::test]
async fn a_post_that_comes_again_on_any_node_is_answered_and_not_dealt_with_again() {
    let Nodes { nodes, .. } = &echoing(3).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    for node in nodes {
        assert_eq!(poller.at(node).t("a").answer_to_post("4once").await, (StatusCode::OK, "ok".to_owned()));
    }
    // Another body is another request, whatever its `t`; and so is the same body with another.
    assert_eq!(poller.t("a").post("4twice").await, 200);
    assert_eq!(poller.t("b").post("4twice").await, 200);
    assert_eq!(poller.payload().await, "4once\u{1e}4twice\u{1e}4twice");
}

#[tokio::test]
async fn a_post_that_comes_again_while_it_is_dealt_with_waits_for_the_same_outcome() {
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
    // A permit is kept for who comes to wait: whichever of them is dealt with, it is one alone that is.
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
async fn without_a_t_of_its_own_no_request_is_another_one_again() {
    let running = start(config(), Arc::new(EngineEcho)).await;
    let (without, _) = Poller::open(&running).await;
    // This one's requests all have the same.
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
