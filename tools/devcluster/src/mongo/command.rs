//! Runs one MongoDB command over a connection of its own.
//!
//! The tests and `loadtest` start `mongod` through this crate, and they need four commands only.
//! The driver would add a connection pool, TLS and name resolution to every one of their builds.
//! A command is one `OP_MSG` message: a header of 16 bytes, flags of 4 bytes, the section kind 0,
//! and a BSON document. The reply has the same format.

use std::io::Cursor;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bson::{Bson, Document};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time limit of one command with its connection. Initiating a replica set takes seconds on a busy
/// machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest reply in bytes: a document of 16 MiB plus 16 KiB, which is the limit of the server.
const REPLY_MAX: usize = (16 << 20) + (16 << 10);
/// Operation code of `OP_MSG`.
const OP_MSG: i32 = 2013;
/// Bytes of the message header.
const HEADER: usize = 16;
/// Bytes of the flags and the section kind, which precede the document.
const PREFIX: usize = 5;

/// An error reply of the server.
#[derive(Debug)]
pub(super) struct CommandRefused {
    pub(super) code: i32,
    message: String,
}

impl std::fmt::Display for CommandRefused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "MongoDB refused the command with code {}: {}", self.code, self.message)
    }
}

impl std::error::Error for CommandRefused {}

/// Runs a command on the server at 127.0.0.1 and returns its reply.
///
/// # Errors
/// [`CommandRefused`] when the server refuses the command. Any other error means that the server
/// did not answer within [`COMMAND_TIMEOUT`], or that its reply is malformed.
pub(super) async fn run_command(port: u16, database: &str, mut command: Document) -> anyhow::Result<Document> {
    command.insert("$db", database);
    let reply =
        timeout(COMMAND_TIMEOUT, exchange(port, &command)).await.context("MongoDB did not answer in time")??;
    if is_ok(&reply) {
        return Ok(reply);
    }
    let message = reply.get_str("errmsg").unwrap_or("no message").to_owned();
    Err(CommandRefused { code: reply.get_i32("code").unwrap_or_default(), message }.into())
}

/// Whether the reply reports success; the number type of `ok` depends on the server.
fn is_ok(reply: &Document) -> bool {
    match reply.get("ok") {
        Some(Bson::Double(ok)) => *ok > 0.5,
        Some(Bson::Int32(ok)) => *ok == 1,
        Some(Bson::Int64(ok)) => *ok == 1,
        Some(Bson::Boolean(ok)) => *ok,
        _ => false,
    }
}

async fn exchange(port: u16, command: &Document) -> anyhow::Result<Document> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(&encode(command)?).await?;
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    let [length, _, _, code] = split(header);
    ensure!(code == OP_MSG, "MongoDB answered with operation code {code} instead of {OP_MSG}");
    let length = usize::try_from(length)?;
    if !(HEADER + PREFIX..=REPLY_MAX).contains(&length) {
        bail!("MongoDB announced a reply of {length} bytes");
    }
    let mut body = vec![0; length - HEADER];
    stream.read_exact(&mut body).await?;
    Ok(Document::from_reader(Cursor::new(&body[PREFIX..]))?)
}

/// Encodes a command as one message without flags.
fn encode(command: &Document) -> anyhow::Result<Vec<u8>> {
    let document = command.to_vec()?;
    let length = i32::try_from(HEADER + PREFIX + document.len())?;
    // The length, an id that the reply repeats, the id of no request, and the operation code.
    let mut message: Vec<u8> = [length, 1, 0, OP_MSG].into_iter().flat_map(i32::to_le_bytes).collect();
    message.extend_from_slice(&[0; PREFIX]);
    message.extend_from_slice(&document);
    Ok(message)
}

/// Splits a header into its four numbers.
fn split(header: [u8; HEADER]) -> [i32; 4] {
    let mut numbers = [0; 4];
    for (number, bytes) in numbers.iter_mut().zip(header.as_chunks::<4>().0) {
        *number = i32::from_le_bytes(*bytes);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use bson::doc;
    use tokio::net::TcpListener;

    use super::*;

    /// Reply of a server that sends these bytes to any command and closes the connection.
    async fn reply_of(bytes: Vec<u8>) -> anyhow::Result<Document> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = vec![0; encode(&doc! { "ping": 1, "$db": "admin" }).unwrap().len()];
            stream.read_exact(&mut command).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            command
        });
        let reply = run_command(port, "admin", doc! { "ping": 1 }).await;
        assert_eq!(server.await.unwrap(), encode(&doc! { "ping": 1, "$db": "admin" }).unwrap());
        reply
    }

    #[test]
    fn a_message_has_its_length_its_operation_code_and_one_document() {
        let message = encode(&doc! {}).unwrap();
        assert_eq!(message, [26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 221, 7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0]);
        assert_eq!(split(*message.first_chunk().unwrap()), [26, 1, 0, OP_MSG]);
    }

    #[tokio::test]
    async fn a_reply_is_returned_and_an_error_reply_is_an_error_with_its_code() {
        for ok in [Bson::Double(1.0), Bson::Int32(1), Bson::Int64(1), Bson::Boolean(true)] {
            let reply = reply_of(encode(&doc! { "a": 7, "ok": ok }).unwrap()).await.unwrap();
            assert_eq!(reply.get_i32("a").unwrap(), 7);
        }
        let refusal = doc! { "ok": 0.0, "code": 23, "errmsg": "already initialized" };
        let error = reply_of(encode(&refusal).unwrap()).await.unwrap_err();
        assert_eq!(error.downcast_ref::<CommandRefused>().unwrap().code, 23);
        assert!(error.to_string().ends_with("code 23: already initialized"));
    }

    #[tokio::test]
    async fn a_truncated_oversized_or_foreign_reply_is_an_error() {
        let whole = encode(&doc! { "ok": 1 }).unwrap();
        let mut oversized = whole.clone();
        oversized[..4].copy_from_slice(&i32::MAX.to_le_bytes());
        let mut negative = whole.clone();
        negative[..4].copy_from_slice(&(-1_i32).to_le_bytes());
        let mut foreign = whole.clone();
        foreign[12] = 1;
        for bytes in [vec![], whole[..10].to_vec(), whole[..30].to_vec(), oversized, negative, foreign] {
            let error = reply_of(bytes.clone()).await.unwrap_err();
            assert!(error.downcast_ref::<CommandRefused>().is_none(), "{bytes:?}: {error}");
        }
    }
}
