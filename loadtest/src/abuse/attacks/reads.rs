//! Attacks on the api without a password: empty calls, TURN credentials, reads, and responses that
//! nobody reads.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::pause;
use crate::abuse::attack::{Call, OK, Prepared, Stage, Tally};
use crate::abuse::connection::{Client, Rest, failure, outcome, request_text};
use crate::client::engine_session::PATH;
use crate::client::route::Route;
use crate::client::socket::{SendBuffer, Socket};

/// Connections of each stranger.
const CONNECTIONS: usize = 2;
/// Connections of each stranger that do not read.
const SLOW_CONNECTIONS: usize = 50;
/// Requests that a connection sends without reading a response.
const REQUESTS_UNREAD: usize = 200;
/// Events that a socket may send in a second.
const EVENTS_PER_SECOND: usize = 100;
/// Calls that strangers join in turn.
const CALLS: usize = 30;
/// Time between two checks of a connection that does not read.
const SLOW_PAUSE: Duration = Duration::from_millis(200);

/// Joins empty calls over REST only: each join opens a room in which nobody ever is.
pub(crate) async fn empty_calls(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let account = stage.stranger_account(0).await?;
    let rooms = account.create_calls(CALLS, 10).await?;
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (mut rest, tally, rooms) = (Rest::new(from, &stage.api), tally.clone(), rooms.clone());
        async move {
            for turn in number.. {
                let fields = json!({ "roomId": rooms[turn % rooms.len()], "guestName": format!("Guest {turn}") });
                let answer = rest.json("POST", "/api/video-calls/join", None, &fields).await;
                tally.count(&answer.outcome());
                pause_if(answer.status == 0).await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Asks for TURN credentials on sockets that are in no room.
pub(crate) async fn turn(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (node, tally) = (stage.node(number), tally.clone());
        async move {
            loop {
                if let Err(error) = ask_for_turn(Route::new(from, &node), &tally).await {
                    tally.count(&failure(&error));
                }
                pause().await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

async fn ask_for_turn(route: Route<'_>, tally: &Tally) -> anyhow::Result<()> {
    let mut client = Client::open(route, &json!({})).await?;
    loop {
        tally.count(&outcome(&client.ask("webrtc:get-ice-servers", &json!({})).await?));
    }
}

/// Reads calls, deep pages and searches.
pub(crate) async fn reads(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let account = stage.stranger_account(0).await?;
    let call = Call::create(&account, &json!({ "title": "Reads" })).await?;
    let token = account.token().to_owned();
    let search = format!("{}$", "(a%2B)%2B".repeat(10));
    let paths = [
        (format!("/api/video-calls/room/{}", call.room), None),
        (format!("/api/video-calls/{}", call.id), None),
        ("/api/video-calls/room/NOSUCHROOM00".to_owned(), None),
        ("/api/video-calls/65f000000000000000000000".to_owned(), None),
        ("/api/openapi.json".to_owned(), None),
        ("/api/video-calls?page=1000000&limit=100".to_owned(), Some(token.clone())),
        (format!("/api/video-calls?limit=100&search={search}"), Some(token.clone())),
        ("/api/auth/stats".to_owned(), Some(token)),
    ];
    let strangers = stage.each(CONNECTIONS, |number, from| {
        let (mut rest, tally, paths) = (Rest::new(from, &stage.api), tally.clone(), paths.clone());
        async move {
            for turn in number.. {
                let (path, token) = &paths[turn % paths.len()];
                let answer = rest.get(path, token.as_deref()).await;
                match answer.status {
                    // Not found and forbidden are answers that a read has to find out.
                    403 | 404 => tally.count(OK),
                    _ => tally.count(&answer.outcome()),
                }
                pause_if(answer.status == 0).await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Asks for large responses over REST and reads none of them.
pub(crate) async fn slow_read(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(SLOW_CONNECTIONS, |_, from| {
        let (api, tally) = (stage.api.clone(), tally.clone());
        async move {
            loop {
                if let Err(error) = request_unread(Route::new(from, &api), &tally).await {
                    tally.count(&failure(&error));
                }
                pause().await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Sends events on many sockets, each at the full rate of a socket, and reads no answer.
pub(crate) async fn unread(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(SLOW_CONNECTIONS, |number, from| {
        let (node, tally) = (stage.node(number), tally.clone());
        async move {
            loop {
                if let Err(error) = ask_unread(Route::new(from, &node), &tally).await {
                    tally.count(&failure(&error));
                }
                pause().await;
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

/// Sends requests without reading, then waits until the server ends the connection.
async fn request_unread(route: Route<'_>, tally: &Tally) -> anyhow::Result<()> {
    let mut stream = route.connect().await?;
    let request = request_text("GET", "/api/openapi.json", None, "");
    for _ in 0..REQUESTS_UNREAD {
        stream.write_all(request.as_bytes()).await?;
        tally.count(OK);
    }
    loop {
        sleep(SLOW_PAUSE).await;
        // Fails when the server has ended the connection.
        stream.write_all(b"\r\n").await?;
    }
}

/// Sends events without reading, then waits until the server ends the socket.
async fn ask_unread(route: Route<'_>, tally: &Tally) -> anyhow::Result<()> {
    let socket = Socket::open(route, PATH).await?;
    let mut out = SendBuffer::default();
    out.text("40{}");
    loop {
        for _ in 0..EVENTS_PER_SECOND {
            out.text(r#"421["webrtc:get-ice-servers",{}]"#);
            tally.count(OK);
        }
        out.flush(&socket).await?;
        sleep(Duration::from_secs(1)).await;
    }
}

/// Pauses before the next dial, if the connection was cut.
async fn pause_if(cut: bool) {
    if cut {
        pause().await;
    }
}
