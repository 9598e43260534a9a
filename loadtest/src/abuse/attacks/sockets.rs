//! Attacks on sessions: handshakes, frames, packets and hand-overs.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::pause;
use crate::abuse::attack::{Call, OK, Prepared, Stage, Stranger, Tally};
use crate::abuse::connection::{Answer, Client, Rest, failure, outcome};
use crate::client::engine_session::PATH;
use crate::client::route::Route;
use crate::client::socket::{Frame, SendBuffer, Socket};

/// Connections of each stranger.
const CONNECTIONS: usize = 4;
/// Path and query of a long-polling handshake.
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
/// Frames in one write.
const FRAMES_PER_WRITE: u64 = 64;
/// Packets in one long-polling request: the most that a node takes.
const PACKETS: usize = 4096;
/// Sockets that each stranger holds.
const HELD_SOCKETS: usize = 250;
/// Pause before a stranger dials a socket again that was refused or ended.
const HELD_PAUSE: Duration = Duration::from_millis(200);
/// Bytes of a message whose end never comes, below the limit of a message.
const UNFINISHED: usize = 250_000;
/// Time to write before reading again.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(5);
/// Levels of nested JSON arrays. Their text is 32,000 bytes, below the limit of a message.
const DEPTH: usize = 16_000;

/// Opens long-polling sessions over keep-alive connections and never polls them.
pub(crate) async fn handshakes(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (mut rest, tally) = (Rest::new(from, &stage.node(number)), tally.clone());
        async move {
            loop {
                count(&rest.get(POLLING, None).await, &tally).await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// First byte of a frame, its payload, and its name.
const FRAMES: [(u8, &[u8]); 4] = [
    // A ping; a noop packet of Engine.IO; an empty text frame.
    (0x89, b""),
    (0x81, b"6"),
    (0x81, b""),
    // An empty continuation frame that is not the last one, of a message that never ends.
    (0x00, b""),
];

/// Sends frames that carry nothing, as fast as possible.
pub(crate) async fn frames(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (node, tally) = (stage.node(number), tally.clone());
        async move {
            loop {
                if let Err(error) = send_frames(Route::new(from, &node), FRAMES[number % FRAMES.len()], &tally).await {
                    tally.count(&failure(&error));
                }
                pause().await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Sends one kind of frame until the socket ends.
async fn send_frames(route: Route<'_>, (first, payload): (u8, &[u8]), tally: &Tally) -> anyhow::Result<()> {
    let mut socket = Socket::open(route, PATH).await?;
    let mut out = SendBuffer::default();
    out.text("40{}");
    if first == 0 {
        // Begins the message that the continuation frames belong to.
        out.unusual(0x01, b"4");
    }
    loop {
        for _ in 0..FRAMES_PER_WRITE {
            out.unusual(first, payload);
        }
        // Reads too, because the server need not wait for a client that does not read the pongs.
        loop {
            match timeout(FLUSH_TIMEOUT, out.flush(&socket)).await {
                Ok(sent) => break sent?,
                Err(_full) => read_available(&mut socket).await?,
            }
        }
        read_available(&mut socket).await?;
        tally.add(FRAMES_PER_WRITE, OK);
        tokio::task::yield_now().await;
    }
}

/// Discards everything that has arrived.
async fn read_available(socket: &mut Socket) -> anyhow::Result<()> {
    while let Ok(received) = timeout(Duration::ZERO, socket.receive()).await {
        received?;
        while let Some(frame) = socket.frame()? {
            if let Frame::Close(reason) = frame {
                anyhow::bail!("closed: {reason}");
            }
        }
    }
    Ok(())
}

/// Sends deeply nested JSON: as credentials, as events, and to REST.
pub(crate) async fn depth(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let account = stage.stranger_account(0).await?;
    let room = Call::create(&account, &json!({ "title": "Deep", "maxParticipants": 50 })).await?.room;
    let nested = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (node, api, tally) = (stage.node(number), stage.api.clone(), tally.clone());
        let (room, nested) = (room.clone(), nested.clone());
        async move {
            let mut rest = Rest::new(from, &api);
            loop {
                if number % CONNECTIONS == 0 {
                    let body = format!(r#"{{"roomId":"x","guestName":{nested}}}"#);
                    count(&rest.send("POST", "/api/video-calls/join", None, &body).await, &tally).await;
                } else if let Err(error) = send_deep(Route::new(from, &node), &room, &nested, &tally).await {
                    tally.count(&failure(&error));
                    pause().await;
                }
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

async fn send_deep(route: Route<'_>, room: &str, nested: &str, tally: &Tally) -> anyhow::Result<()> {
    let mut client = Client::join(route, room, "Deep").await?;
    loop {
        for event in [
            format!(r#"["webrtc:data-channel",{{"type":"text","message":{nested}}}]"#),
            format!(r#"["chat:message",{{"message":{nested}}}]"#),
            format!(r#"["participant:update-media-state",{nested}]"#),
            format!(r#"["x",{nested}]"#),
        ] {
            tally.count(&outcome(&client.ask_text(&event).await?));
        }
    }
}

/// Sends requests of sessions to a node that does not have them.
pub(crate) async fn handover(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (home, other, tally) = (stage.node(number), stage.node(number + 1), tally.clone());
        async move {
            let mut elsewhere = Rest::new(from, &other);
            loop {
                let Some(path) = open_polling(from, &home).await else {
                    tally.count("no session");
                    pause().await;
                    continue;
                };
                // Every second stranger goes on when the session has ended. Its id stays valid.
                let may_end = number % 2 == 0;
                loop {
                    let answer = elsewhere.send("POST", &path, None, "6").await;
                    let ended = answer.status != 200;
                    count(&answer, &tally).await;
                    if ended && may_end {
                        break;
                    }
                }
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Opens a long-polling session and returns its path and query.
async fn open_polling(from: Ipv4Addr, node: &str) -> Option<String> {
    let text = Rest::new(from, node).get(POLLING, None).await.text();
    let open: Value = serde_json::from_str(text.strip_prefix('0')?).ok()?;
    Some(format!("{POLLING}&sid={}", open["sid"].as_str()?))
}

/// Opens sockets, connects, and drops them at once.
pub(crate) async fn churn(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (node, tally) = (stage.node(number), tally.clone());
        async move {
            loop {
                match Client::open(Route::new(from, &node), &json!({})).await {
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

/// Connects with tokens that are not valid, and with long ones.
pub(crate) async fn tokens(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let long = format!("{}.{}.{}", "a".repeat(10_000), "b".repeat(10_000), "c".repeat(43));
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (node, tally) = (stage.node(number), tally.clone());
        let token = if number % 2 == 0 { long.clone() } else { "eyJhbGciOiJIUzI1NiJ9.e30.AAAA".to_owned() };
        async move {
            loop {
                match Client::open(Route::new(from, &node), &json!({ "token": token })).await {
                    Ok(_) => tally.breach("a malformed token was accepted"),
                    Err(error) => tally.count(&failure(&error)),
                }
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Sends the most packets that one long-polling request can hold, each of which does nothing.
pub(crate) async fn payloads(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let payload = vec!["6"; PACKETS].join("\u{1e}");
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (node, tally, payload) = (stage.node(number), tally.clone(), payload.clone());
        async move {
            let mut rest = Rest::new(from, &node);
            loop {
                let Some(path) = open_polling(from, &node).await else {
                    tally.count("no session");
                    pause().await;
                    continue;
                };
                loop {
                    let answer = rest.send("POST", &path, None, &payload).await;
                    count(&answer, &tally).await;
                    if answer.status != 200 {
                        break;
                    }
                }
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Opens sockets, sends nearly all of the largest message on each, and keeps them.
pub(crate) async fn unfinished(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    Ok(Prepared { strangers: hold_sockets(stage, tally, UNFINISHED), honest: None })
}

/// Opens sockets and keeps them, in no room.
pub(crate) async fn sockets(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    Ok(Prepared { strangers: hold_sockets(stage, tally, 0), honest: None })
}

/// Opens sockets, sends the start of a message of this many bytes on each, and keeps them.
fn hold_sockets(stage: &Stage, tally: &Tally, bytes: usize) -> Vec<Stranger> {
    stage.each(HELD_SOCKETS, |number, from| {
        let (node, tally) = (stage.node(number), tally.clone());
        async move {
            // Spreads the dials over time.
            sleep(Duration::from_millis((number / CONNECTIONS) as u64)).await;
            loop {
                let ended = hold_socket(Route::new(from, &node), bytes, &tally).await;
                tally.count(&ended.map_or_else(|error| failure(&error), |()| "ended".to_owned()));
                sleep(HELD_PAUSE).await;
            }
        }
    })
}

async fn hold_socket(route: Route<'_>, bytes: usize, tally: &Tally) -> anyhow::Result<()> {
    let mut socket = Socket::open(route, PATH).await?;
    let mut out = SendBuffer::default();
    out.text("40{}");
    if bytes > 0 {
        // The first fragment of a text; its end never comes.
        out.unusual(0x01, format!("42[\"{}", "x".repeat(bytes)).as_bytes());
    }
    out.flush(&socket).await?;
    tally.count(OK);
    loop {
        socket.receive().await?;
        while let Some(frame) = socket.frame()? {
            match frame {
                Frame::Text("2") => out.text("3"),
                Frame::Close(reason) => anyhow::bail!("closed: {reason}"),
                _ => {}
            }
        }
        out.flush(&socket).await?;
    }
}

/// Counts the outcome of a request. Pauses when the connection was cut.
async fn count(answer: &Answer, tally: &Tally) {
    tally.count(&answer.outcome());
    if answer.status == 0 {
        pause().await;
    }
}
