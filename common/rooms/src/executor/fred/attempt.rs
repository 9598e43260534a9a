//! One attempt to execute a request: its arguments and replies in `fred`'s types, and whether the
//! request must be sent again.

use std::time::Duration;

use ::fred::clients::Client;
use ::fred::interfaces::ClientLike;
use ::fred::types::config::Options;
use ::fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value as Argument};
use bytes::Bytes;
use futures_util::future::try_join_all;
use redis::Value;

use crate::StoreError;
use crate::conn::connection::ConnectionError;
use crate::lanes::{RetryReason, not_serving, refusal, retry_reason};
use crate::scripts::{Hashes, Script};

/// Arguments of a command, the first of which is its name.
pub(super) type Arguments = Vec<Bytes>;

/// The connection was lost, or the time was over, before every reply came. It is unknown whether
/// the commands were executed.
pub(super) struct Lost;

/// Why the replies are not the outcome that the caller waits for.
pub(super) enum Failure {
    /// The request failed for good.
    Final(StoreError),
    /// The request was not executed, and is sent again. Holds the words of a server that does not
    /// serve at present.
    Retry(RetryReason, Option<ConnectionError>),
}

/// Returns why a request failed, if a reply says so.
pub(super) fn failure(values: &[Value]) -> Option<Failure> {
    let retry = values.iter().filter_map(retry_reason).max();
    let retry = retry.map(|reason| Failure::Retry(reason, values.iter().find_map(not_serving)));
    retry.or_else(|| values.iter().find_map(refusal).map(Failure::Final))
}

/// Sends commands in order on the client's connection. Waits for the replies for the time `limit`;
/// a command that is not sent by then is never sent.
pub(super) async fn send(client: &Client, commands: &[Arguments], limit: Duration) -> Result<Vec<Value>, Lost> {
    // Zero would mean without a limit.
    let timeout = Some(limit.max(Duration::from_millis(1)));
    let client = client.with_options(&Options { timeout, max_attempts: Some(1), ..Options::default() });
    let send = |command: &Arguments| {
        let (name, arguments) = command.split_first().map_or((&[][..], &[][..]), |(name, rest)| (&name[..], rest));
        // The hash is for clients of a cluster, and this one has one server.
        let name = CustomCommand::new(String::from_utf8_lossy(name).into_owned(), ClusterHash::FirstKey, false);
        let arguments: Vec<Argument> = arguments.iter().cloned().map(Argument::Bytes).collect();
        client.custom_raw(name, arguments)
    };
    let frames = try_join_all(commands.iter().map(send)).await.map_err(|_| Lost)?;
    frames.into_iter().map(|frame| value(frame).ok_or(Lost)).collect()
}

/// Returns the commands that load the scripts which these commands run by their names.
pub(super) fn loads(commands: &[Arguments], hashes: &Hashes) -> Vec<Arguments> {
    let script = |command: &Arguments| match &command[..] {
        [name, hash, ..] if name == "EVALSHA" => {
            Script::ALL.iter().find(|script| hashes.of(**script).as_bytes() == hash)
        }
        _ => None,
    };
    let words =
        |script: &Script| Vec::from([&b"SCRIPT"[..], b"LOAD", script.source().as_bytes()].map(Bytes::from_static));
    commands.iter().filter_map(script).map(words).collect()
}

/// Returns a reply as the lanes' decoder returns it. `None` for a type that RESP2 does not have.
///
/// `fred` never shows an array of three or four that begins with `message`, `subscribe` or a like
/// word: it takes it for one of a subscription, and the replies after it for those of the requests
/// before. So no reply of an api pod begins with a text that others choose. Scripts reply with a
/// status first, streams with entries, and sets of seats have members of several words.
fn value(frame: Resp3Frame) -> Option<Value> {
    Some(match frame {
        Resp3Frame::SimpleString { data, .. } if data == "OK" => Value::Okay,
        Resp3Frame::SimpleString { data, .. } => Value::SimpleString(String::from_utf8_lossy(&data).into_owned()),
        Resp3Frame::BlobString { data, .. } => Value::BulkString(data.into()),
        Resp3Frame::SimpleError { data, .. } => redis::parse_redis_value(format!("-{data}\r\n").as_bytes()).ok()?,
        Resp3Frame::Number { data, .. } => Value::Int(data),
        Resp3Frame::Null => Value::Nil,
        Resp3Frame::Array { data, .. } => Value::Array(data.into_iter().map(value).collect::<Option<_>>()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_of_a_request_are_loaded_and_nothing_else() {
        let hashes = Hashes::compute();
        let command = |words: &[&str]| words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let commands: [Arguments; 4] = [
            command(&["EVALSHA", hashes.of(Script::Spend), "1", "key"]),
            command(&["GET", hashes.of(Script::Guess)]),
            command(&["EVALSHA", "unknown", "0"]),
            command(&["TIME"]),
        ];
        let load: Arguments = command(&["SCRIPT", "LOAD", Script::Spend.source()]);
        assert_eq!(loads(&commands, &hashes), [load]);
    }

    #[test]
    fn a_reply_is_the_value_that_lanes_get() {
        let bulk =
            |text: &'static str| Resp3Frame::BlobString { data: Bytes::from_static(text.as_bytes()), attributes: None };
        let array = Resp3Frame::Array {
            data: vec![bulk("OK"), Resp3Frame::Null, Resp3Frame::Number { data: 3, attributes: None }],
            attributes: None,
        };
        let expected = Value::Array(vec![Value::BulkString(b"OK".to_vec()), Value::Nil, Value::Int(3)]);
        assert_eq!(value(array), Some(expected));
        let error = Resp3Frame::SimpleError { data: "MOVED 5 127.0.0.1:7000".into(), attributes: None };
        let moved = value(error).into_iter().collect::<Vec<_>>();
        assert!(matches!(failure(&moved), Some(Failure::Retry(RetryReason::SlotMoved, None))));
        let error = Resp3Frame::SimpleError { data: "READONLY You can't write".into(), attributes: None };
        let demoted = value(error).into_iter().collect::<Vec<_>>();
        assert!(matches!(failure(&demoted), Some(Failure::Retry(RetryReason::NotServing, Some(_)))));
        let error = Resp3Frame::SimpleError { data: "NOPERM no".into(), attributes: None };
        let denied = value(error).into_iter().collect::<Vec<_>>();
        assert!(matches!(failure(&denied), Some(Failure::Final(_))));
    }
}
