//! Attacks on lobbies.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::pause;
use super::rooms::{guests_that_come_and_go, seat_participants};
use crate::abuse::attack::{Call, OK, Prepared, Stage, Stranger, Tally};
use crate::abuse::connection::{Client, failure, outcome};
use crate::client::api::Account;
use crate::client::packet::DISCONNECT;
use crate::client::route::Route;

/// Time that the host stays before leaving again.
const HOST_STAYS: Duration = Duration::from_millis(100);

/// Guests join and leave the lobby of a large room, while its host leaves and comes back.
pub(crate) async fn lobby(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let host = stage.honest_account(0).await?;
    let call = Call::create(&host, &json!({ "title": "Lobby", "maxParticipants": 250 })).await?;
    seat_participants(stage, &call.room).await?;
    open_lobby(&host, &call).await?;
    let mut strangers = guests_that_come_and_go(stage, &call.room, tally);
    strangers.push(restless_host(stage, host, call.room, tally.clone()));
    Ok(Prepared { strangers, honest: None })
}

async fn open_lobby(host: &Account, call: &Call) -> anyhow::Result<()> {
    let settings = json!({ "settings": { "waitingRoomEnabled": true, "autoAdmitGuests": false } });
    let path = format!("/api/video-calls/{}", call.id);
    host.send(Method::PATCH, &path, &settings).await.map(drop).context("cannot open the lobby")
}

/// The host joins and leaves, as anyone may do with a call of its own.
fn restless_host(stage: &Stage, host: Account, room: String, tally: Tally) -> Stranger {
    let (node, from) = (stage.node(0), stage.stranger(0));
    Box::pin(async move {
        let auth = json!({ "token": host.token() });
        loop {
            match Client::open(Route::new(from, &node), &auth).await {
                Ok(mut client) => {
                    match client.ask("room:join", &json!({ "roomId": room })).await {
                        Ok(reply) => tally.count(&outcome(&reply)),
                        Err(error) => tally.count(&failure(&error)),
                    }
                    sleep(HOST_STAYS).await;
                    // A lost socket also ends the presence of the host.
                    let _ = client.session().send(DISCONNECT).await;
                }
                Err(error) => tally.count(&failure(&error)),
            }
            pause().await;
        }
    })
}

/// Guests wait in a lobby. Then the call gets a passcode and the lobby is switched off: none of
/// them may get in without the passcode, and a later guest neither.
pub(crate) async fn door(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let host = stage.honest_account(0).await?;
    let call = Call::create(
        &host,
        &json!({
            "title": "Door", "maxParticipants": 100,
            "settings": { "waitingRoomEnabled": true, "autoAdmitGuests": false },
        }),
    )
    .await?;
    let mut waiting = Vec::new();
    for index in 0..stage.strangers * 2 {
        let node = stage.node(index);
        waiting.push(Client::join(Route::new(stage.stranger(index), &node), &call.room, "Waiting").await?);
    }
    ensure!(!waiting.is_empty(), "nobody waits");
    let path = format!("/api/video-calls/{}", call.id);
    host.send(Method::PATCH, &path, &json!({ "passcode": "changed-passcode" })).await?;
    host.send(Method::PATCH, &path, &json!({ "settings": { "waitingRoomEnabled": false } })).await?;
    let tries = |(number, mut client): (usize, Client)| -> Stranger {
        let (node, from, room, tally) =
            (stage.node(number), stage.stranger(number % stage.strangers), call.room.clone(), tally.clone());
        Box::pin(async move {
            loop {
                // Only a participant with a seat may relay.
                match client.ask("chat:typing", &json!({ "isTyping": true })).await {
                    Ok(reply) if outcome(&reply) == OK => tally.count("seated from the lobby"),
                    Ok(reply) => tally.count(&outcome(&reply)),
                    Err(error) => tally.count(&failure(&error)),
                }
                match Client::join(Route::new(from, &node), &room, "Late").await {
                    Ok(_) => tally.breach("a guest joined without the new passcode"),
                    Err(error) => tally.count(&failure(&error)),
                }
                pause().await;
            }
        })
    };
    let strangers = waiting.into_iter().enumerate().map(tries).collect();
    Ok(Prepared { strangers, honest: None })
}
