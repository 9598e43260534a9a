//! Messages of Centrifugo's client protocol: JSON, several in a frame, one a line. A client has two
//! channels: that of its room, and one of its own, into which its peers publish. Publications hold
//! the JSON array of a Socket.IO event, so that one behaviour serves both protocols. Pure.

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::packet::{Event, Packet, Reply};

/// Path of the WebSocket endpoint.
pub(super) const PATH: &str = "/connection/websocket";
/// Answer to a heartbeat, which is the same text.
pub(super) const PONG: &str = "{}";
/// First message of a client.
pub(super) const CONNECT: &str = r#"{"id":1,"connect":{}}"#;
/// Subscriptions of a client.
pub(super) const SUBSCRIPTIONS: usize = 2;
/// Ids of commands begin with this, because 0 is no id; those of acknowledgements begin with 0.
const FIRST_ID: u64 = 1;

/// A message from the server: a push, or the answer to the command with this id.
#[derive(Deserialize)]
struct Message<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    push: Option<Push<'a>>,
    error: Option<IgnoredAny>,
    connect: Option<Connect>,
    subscribe: Option<Subscription>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, rename = "pub")]
    publication: Option<Publication<'a>>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Connect {
    client: String,
}

#[derive(Deserialize)]
struct Subscription {
    #[serde(default)]
    recoverable: bool,
}

/// Commands that subscribe a client to its room and to its own channel.
pub(super) fn subscribe(room: &str, client: &str) -> String {
    format!(
        "{{\"id\":2,\"subscribe\":{{\"channel\":\"room:{room}\"}}}}\n\
         {{\"id\":3,\"subscribe\":{{\"channel\":\"peer:{client}\"}}}}"
    )
}

/// Command that publishes an event with these fields into the channel of a client.
pub(super) fn publish(id: u64, to: &str, event: &str, fields: &str) -> String {
    let id = id + FIRST_ID;
    format!(r#"{{"id":{id},"publish":{{"channel":"peer:{to}","data":["{event}",{fields}]}}}}"#)
}

/// Parses one line of a frame as the packet of Socket.IO that means the same.
///
/// # Errors
/// When the line is no message.
pub(super) fn parse(line: &str) -> anyhow::Result<Packet<'_>> {
    if line == PONG {
        return Ok(Packet::Ping);
    }
    let message: Message<'_> = serde_json::from_str(line).context("no message of Centrifugo")?;
    Ok(match message {
        Message { push: Some(Push { publication: Some(publication) }), .. } => {
            Packet::Event(Event::new(publication.data.get()))
        }
        Message { push: Some(_), .. } => Packet::Other,
        Message { id: Some(id), error, .. } => Packet::Ack {
            id: id.saturating_sub(FIRST_ID),
            // The text of an error does not begin as that of a success.
            reply: error.map_or(Reply::SUCCESS, |_| Reply::new(line)),
        },
        _ => Packet::Other,
    })
}

/// Reads the client's id from the answer to [`CONNECT`].
///
/// # Errors
/// When the line is another message; the text has it.
pub(super) fn client_id(line: &str) -> anyhow::Result<String> {
    match serde_json::from_str(line)? {
        Message { connect: Some(connect), .. } => Ok(connect.client),
        _ => bail!("connect was refused: {line}"),
    }
}

/// Returns whether the line is the answer to a subscription.
///
/// # Errors
/// When the subscription was refused, or when it keeps no history: missed messages would be lost,
/// and the comparison would be invalid.
pub(super) fn is_subscribed(line: &str) -> anyhow::Result<bool> {
    match serde_json::from_str(line)? {
        Message { error: Some(_), .. } => bail!("a subscription was refused: {line}"),
        Message { subscribe: Some(subscription), .. } if subscription.recoverable => Ok(true),
        Message { subscribe: Some(_), .. } => bail!("a subscription is not recoverable: {line}"),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_an_event_and_its_text_is_not_escaped_again() {
        let line = r#"{"push":{"channel":"peer:c","pub":{"data":["webrtc:offer",{"offer":{"sdp":"@7@\"v"}}],"info":{"user":"","client":"d"},"offset":3}}}"#;
        let Packet::Event(event) = parse(line).unwrap() else { panic!("no event") };
        assert_eq!((event.name(), event.payload().unwrap()["offer"]["sdp"].as_str()), ("webrtc:offer", Some("@7@\"v")));
    }

    #[test]
    fn an_answer_has_the_id_of_its_command_and_an_error_is_no_success() {
        let sent = publish(0, "c", "webrtc:offer", "{}");
        assert_eq!(sent, r#"{"id":1,"publish":{"channel":"peer:c","data":["webrtc:offer",{}]}}"#);
        let Packet::Ack { id, reply } = parse(r#"{"id":8,"publish":{}}"#).unwrap() else { panic!("no answer") };
        assert!(id == 7 && reply.is_success());
        let refused = r#"{"id":1,"error":{"code":103,"message":"permission denied"}}"#;
        let Packet::Ack { id, reply } = parse(refused).unwrap() else { panic!("no answer") };
        assert!(id == 0 && !reply.is_success());
    }

    #[test]
    fn heartbeats_and_joins_of_others_are_told_apart() {
        assert!(matches!(parse("{}"), Ok(Packet::Ping)));
        let join = r#"{"push":{"channel":"room:r","join":{"info":{"user":"","client":"d"}}}}"#;
        assert!(matches!(parse(join), Ok(Packet::Other)));
        assert!(parse("[]").is_err() && parse("").is_err());
    }

    #[test]
    fn a_client_needs_an_id_and_subscriptions_that_keep_a_history() {
        let connected = r#"{"id":1,"connect":{"client":"a-b","version":"6","ping":25,"pong":true}}"#;
        assert_eq!(client_id(connected).unwrap(), "a-b");
        assert!(client_id(r#"{"id":1,"error":{"code":101,"message":"unauthorized"}}"#).is_err());
        assert!(is_subscribed(r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"x","positioned":true}}"#).unwrap());
        assert!(!is_subscribed(r#"{"push":{"channel":"room:r","join":{"info":{"client":"d"}}}}"#).unwrap());
        for bad in [r#"{"id":2,"subscribe":{}}"#, r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#] {
            assert!(is_subscribed(bad).is_err(), "{bad}");
        }
    }
}
