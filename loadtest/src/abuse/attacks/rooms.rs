//! Attacks on rooms: seats, relays, history, recovery and figures.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::pause;
use crate::abuse::attack::{Call, OK, Prepared, Stage, Stranger, Tally};
use crate::abuse::connection::{Client, IdleClient, failure, outcome};
use crate::client::guest::connect;
use crate::client::packet::{DISCONNECT, Event};
use crate::client::route::Route;
use crate::client::socket::Frame;

/// Messages of a full history.
const HISTORY: usize = 500;
/// Honest people who fill the history.
const WRITERS: usize = 10;
/// Time limit to fill a history.
const FILL_TIMEOUT: Duration = Duration::from_secs(30);
/// Sockets of each stranger in the attacked room.
const SOCKETS: usize = 8;
/// Bytes of the largest message that is relayed, less a reserve for quotes.
const LARGEST: usize = 32_000;
/// Messages of a client that resumes.
const OWN_MESSAGES: usize = 98;
/// Sockets that fill the log of a room.
const RELAYING: usize = 6;
/// Sockets that join concurrently.
const CONCURRENT_MAX: usize = 8;
/// Participants of a large room.
const PARTICIPANTS: usize = 200;
/// The same in an attack of a few seconds, in which there is no time to seat more.
const PARTICIPANTS_SHORT: usize = 40;
const SHORT: Duration = Duration::from_secs(5);
/// Pause after a refusal because of a rate: the earliest time at which a sensible attacker tries
/// again.
const RATE_PAUSE: Duration = Duration::from_millis(20);

/// A call of an honest person, with seats for strangers.
async fn honest_call(stage: &Stage, fields: &Value) -> anyhow::Result<Call> {
    Call::create(&stage.honest_account(0).await?, fields).await.context("cannot create the attacked call")
}

/// Repeats an event with acknowledgement on a socket that has joined a room. Joins again when the
/// socket ends.
fn repeat_event(
    stage: &Stage,
    (number, first): (usize, IdleClient),
    room: &str,
    tally: &Tally,
    event: impl Fn(u64) -> String + Send + Sync + 'static,
) -> Stranger {
    let (node, from) = (stage.node(number), stage.stranger(number % stage.strangers));
    let (room, tally) = (room.to_owned(), tally.clone());
    Box::pin(async move {
        let mut first = first.take().await;
        loop {
            let joined = match first.take() {
                Some(client) => Ok(client),
                None => Client::join(Route::new(from, &node), &room, "Stranger").await,
            };
            let error = match joined {
                Ok(mut client) => repeat_on(&mut client, &tally, &event).await,
                Err(error) => error,
            };
            tally.count(&failure(&error));
            pause().await;
        }
    })
}

/// Repeats an event until the socket ends. Returns the error.
async fn repeat_on(client: &mut Client, tally: &Tally, event: &(impl Fn(u64) -> String + Sync)) -> anyhow::Error {
    for count in 0.. {
        match client.ask_text(&event(count)).await {
            Ok(reply) => {
                let outcome = outcome(&reply);
                tally.count(&outcome);
                if outcome == "RATE_LIMIT_EXCEEDED" {
                    sleep(RATE_PAUSE).await;
                }
            }
            Err(error) => return error,
        }
    }
    anyhow::anyhow!("the attack went on for ever")
}

/// Strangers that join one room before the attack and repeat an event there.
async fn in_room(
    stage: &Stage,
    room: &str,
    tally: &Tally,
    sockets: usize,
    event: impl Fn(u64) -> String + Clone + Send + Sync + 'static,
) -> anyhow::Result<Prepared> {
    let join = |number: usize| async move {
        let (node, from) = (stage.node(number), stage.stranger(number % stage.strangers));
        Client::join(Route::new(from, &node), room, "Stranger").await.map(IdleClient::keep)
    };
    let joined: Vec<_> = stream::iter((0..sockets).map(join)).buffered(CONCURRENT_MAX).try_collect().await?;
    let strangers = joined.into_iter().enumerate();
    let strangers = strangers.map(|client| repeat_event(stage, client, room, tally, event.clone())).collect();
    Ok(Prepared { strangers, honest: None })
}

/// Asks for the history before a message that does not exist, in a full history.
pub(crate) async fn history(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let call = honest_call(stage, &json!({ "title": "History", "maxParticipants": 100 })).await?;
    fill_history(stage, &call.room).await?;
    let event = |_| r#"["chat:history",{"before":"1-0","limit":1}]"#.to_owned();
    in_room(stage, &call.room, tally, SOCKETS * stage.strangers, event).await
}

/// Writes messages of the largest size until the history is full.
async fn fill_history(stage: &Stage, room: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + FILL_TIMEOUT;
    let write = |writer: usize| async move {
        let node = stage.node(writer);
        let mut client = Client::join(Route::new(stage.honest(writer), &node), room, "Writer").await?;
        let mut written = 0;
        while written < HISTORY / WRITERS {
            let reply = client.ask("chat:message", &json!({ "message": "m".repeat(4000) })).await?;
            match outcome(&reply).as_str() {
                OK => written += 1,
                code if Instant::now() > deadline => bail!("cannot fill the history: {code}"),
                _ => sleep(RATE_PAUSE).await,
            }
        }
        client.session().send(DISCONNECT).await
    };
    join_all((0..WRITERS).map(write)).await.into_iter().collect()
}

/// Joins and leaves a room as a new guest, again and again.
pub(crate) async fn joins(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = honest_call(stage, &json!({ "title": "Joins", "maxParticipants": 100 })).await?.room;
    let strangers = guests_that_come_and_go(stage, &room, tally);
    Ok(Prepared { strangers, honest: None })
}

/// Seats honest participants, each with an address of its own, and lets them read their events.
pub(super) async fn seat_participants(stage: &Stage, room: &str) -> anyhow::Result<()> {
    let count = if stage.window < SHORT { PARTICIPANTS_SHORT } else { PARTICIPANTS };
    let seat = |index: usize| {
        let node = stage.node(index);
        async move { Client::join(Route::new(stage.honest(index), &node), room, "Participant").await }
    };
    let seated = stream::iter(0..count).map(seat).buffer_unordered(CONCURRENT_MAX).try_collect::<Vec<_>>().await;
    for mut participant in seated.context("cannot seat the participants")? {
        tokio::spawn(async move { participant.idle().await });
    }
    Ok(())
}

/// A call of an honest person with many participants, and seats for strangers.
async fn large_call(stage: &Stage, title: &str) -> anyhow::Result<Call> {
    let call = honest_call(stage, &json!({ "title": title, "maxParticipants": 300 })).await?;
    seat_participants(stage, &call.room).await?;
    Ok(call)
}

/// Broadcasts into one large room.
pub(crate) async fn crowd(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = large_call(stage, "Crowd").await?.room;
    let message = "m".repeat(1000);
    let event = move |_| format!(r#"["webrtc:data-channel",{{"type":"text","message":"{message}"}}]"#);
    in_room(stage, &room, tally, SOCKETS * stage.strangers, event).await
}

/// Joins and leaves one large room, whose participants hear of each.
pub(crate) async fn crowd_joins(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = large_call(stage, "Crowd").await?.room;
    Ok(Prepared { strangers: guests_that_come_and_go(stage, &room, tally), honest: None })
}

/// Starts strangers who join and leave a room as new guests, again and again.
pub(super) fn guests_that_come_and_go(stage: &Stage, room: &str, tally: &Tally) -> Vec<Stranger> {
    stage.each(2, |number, from| {
        let (node, room, tally) = (stage.node(number), room.to_owned(), tally.clone());
        async move {
            loop {
                let error = match Client::open(Route::new(from, &node), &json!({})).await {
                    Ok(mut client) => join_and_leave(&mut client, &room, &tally).await,
                    Err(error) => error,
                };
                tally.count(&failure(&error));
                pause().await;
            }
        }
    })
}

/// Joins and leaves until the socket ends. Returns the error.
async fn join_and_leave(client: &mut Client, room: &str, tally: &Tally) -> anyhow::Error {
    let mut number = 0_u64;
    loop {
        number += 1;
        let join = json!({ "roomId": room, "guestName": format!("Guest {number}") });
        match client.ask("room:join", &join).await {
            Ok(reply) => {
                let outcome = outcome(&reply);
                tally.count(&outcome);
                if outcome != OK {
                    sleep(RATE_PAUSE).await;
                }
            }
            Err(error) => return error,
        }
        if let Err(error) = client.ask("room:leave", &json!({})).await {
            return error;
        }
    }
}

/// Six sockets relay the largest allowed events in one room.
pub(crate) async fn roomlog(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = honest_call(stage, &json!({ "title": "Log", "maxParticipants": 50 })).await?.room;
    let message = "m".repeat(LARGEST);
    let event = move |_| format!(r#"["webrtc:data-channel",{{"type":"text","message":"{message}"}}]"#);
    in_room(stage, &room, tally, RELAYING, event).await
}

/// Typing notices to a full room. Each costs an event to every participant.
pub(crate) async fn typing(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = honest_call(stage, &json!({ "title": "Typing", "maxParticipants": 100 })).await?.room;
    let event = |count: u64| format!(r#"["chat:typing",{{"isTyping":{}}}]"#, count.is_multiple_of(2));
    in_room(stage, &room, tally, SOCKETS * stage.strangers, event).await
}

/// Media states that change with every event, in a full room.
pub(crate) async fn media(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = honest_call(stage, &json!({ "title": "Media", "maxParticipants": 100 })).await?.room;
    let event =
        |count: u64| format!(r#"["participant:update-media-state",{{"audioEnabled":{}}}]"#, count.is_multiple_of(2));
    in_room(stage, &room, tally, SOCKETS * stage.strangers, event).await
}

/// Asks for the figures of a full room.
pub(crate) async fn figures(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = honest_call(stage, &json!({ "title": "Figures", "maxParticipants": 100 })).await?.room;
    let event = |_| r#"["webrtc:get-stats",{}]"#.to_owned();
    in_room(stage, &room, tally, SOCKETS * stage.strangers, event).await
}

/// Sends commands that only a host may send.
pub(crate) async fn commands(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = honest_call(stage, &json!({ "title": "Commands", "maxParticipants": 100 })).await?.room;
    let event = |count: u64| {
        let commands = [
            r#"["room:lock",{"locked":true}]"#,
            r#"["participant:kick",{"peerId":"nobody"}]"#,
            r#"["room:admit",{"all":true}]"#,
            r#"["room:end-call",{}]"#,
        ];
        commands[usize::try_from(count).unwrap_or_default() % commands.len()].to_owned()
    };
    in_room(stage, &room, tally, SOCKETS * stage.strangers, event).await
}

/// Resumes a session from the beginning of a long log, again and again.
pub(crate) async fn resume(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = honest_call(stage, &json!({ "title": "Resume", "maxParticipants": 50 })).await?.room;
    Ok(Prepared { strangers: resuming(stage, &room, OWN_MESSAGES, tally), honest: None })
}

/// The same while pairs of sockets fill the log with events for each other, so that nothing that is
/// read is for those who resume.
pub(crate) async fn others_log(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = honest_call(stage, &json!({ "title": "Others", "maxParticipants": 50 })).await?.room;
    let mut strangers = stage.each(1, |number, from| {
        let (node, room) = (stage.node(number), room.clone());
        async move {
            loop {
                // Their refusals are those of `roomlog`.
                let _ended = relay_to_each_other(Route::new(from, &node), &room).await;
                pause().await;
            }
        }
    });
    strangers.extend(resuming(stage, &room, 1, tally));
    Ok(Prepared { strangers, honest: None })
}

/// Joins twice, and relays the largest messages from each of the two to the other.
async fn relay_to_each_other(route: Route<'_>, room: &str) -> anyhow::Result<()> {
    let mut clients = Vec::new();
    for name in ["One", "Other"] {
        let mut client = Client::open(route, &json!({})).await?;
        let reply = client.ask("room:join", &json!({ "roomId": room, "guestName": name })).await?;
        let peer = reply["peerId"].as_str().context("not seated")?.to_owned();
        clients.push((client, peer));
    }
    let message = "m".repeat(LARGEST);
    let [(one, of_one), (other, of_other)] = &mut clients[..] else { bail!("two clients") };
    loop {
        for (client, to) in [(&mut *one, &*of_other), (&mut *other, &*of_one)] {
            let event = json!({ "to": to, "type": "text", "message": message });
            if outcome(&client.ask("webrtc:data-channel", &event).await?) != OK {
                sleep(RATE_PAUSE).await;
            }
        }
    }
}

/// Two sockets of each stranger that join, send some messages, and resume from the first offset
/// again and again.
fn resuming(stage: &Stage, room: &str, messages: usize, tally: &Tally) -> Vec<Stranger> {
    stage.each(2, |number, from| {
        let (node, room, tally) = (stage.node(number), room.to_owned(), tally.clone());
        async move {
            loop {
                if let Err(error) = join_and_resume(Route::new(from, &node), &room, messages, &tally).await {
                    tally.count(&failure(&error));
                }
                pause().await;
            }
        }
    })
}

/// Joins, sends messages, loses the socket and resumes from the first offset until that is refused.
async fn join_and_resume(route: Route<'_>, room: &str, messages: usize, tally: &Tally) -> anyhow::Result<()> {
    let connected = connect(route, &json!({})).await?;
    let pid = connected.pid.context("no private id")?;
    let (mut socket, mut out) = (connected.socket, connected.send_buffer);
    out.text(&format!("421{}", json!(["room:join", { "roomId": room, "guestName": "Resume" }])));
    for id in 2..2 + messages {
        out.text(&format!("42{id}{}", json!(["chat:message", { "message": "m".repeat(1000) }])));
    }
    out.flush(&socket).await?;
    let mut offset = None;
    while offset.is_none() {
        socket.receive().await?;
        while let Some(frame) = socket.frame()? {
            if let Frame::Text(text) = frame
                && let Some(event) = text.strip_prefix("42")
            {
                offset = offset.or_else(|| Event::new(event).offset().map(str::to_owned));
            }
        }
    }
    let auth = json!({ "pid": pid, "offset": offset });
    loop {
        let resumed = connect(route, &auth).await?;
        if resumed.pid.as_ref() != Some(&pid) {
            tally.count("not resumed");
            return Ok(());
        }
        tally.count(OK);
    }
}

/// Takes seats in a room and lets the connections end without leaving.
pub(crate) async fn ghosts(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let room = honest_call(stage, &json!({ "title": "Ghosts", "maxParticipants": 500 })).await?.room;
    let strangers = stage.each(2, |number, from| {
        let (node, room, tally) = (stage.node(number), room.clone(), tally.clone());
        async move {
            loop {
                match Client::join(Route::new(from, &node), &room, "Ghost").await {
                    Ok(_) => tally.count(OK),
                    Err(error) => {
                        tally.count(&failure(&error));
                        pause().await;
                    }
                }
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}
