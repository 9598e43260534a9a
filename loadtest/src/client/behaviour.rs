//! Event loop of a client in a room. A [`Behaviour`] is synchronous code that receives commands and
//! messages and writes packets to a buffer. All packets that result from one read go out with one
//! write.

use tokio::sync::mpsc::Receiver;

use super::guest::Guest;
use super::packet::{Event, Packet, Reply};
use super::protocol::Protocol;
use super::socket::{Frame, SendBuffer};

/// Message from the server.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    Event(Event<'a>),
    Ack {
        id: u64,
        reply: Reply<'a>,
    },
    /// Heartbeat; the loop sends the answer.
    Ping,
}

/// Reactions of a client to commands and messages.
pub(crate) trait Behaviour: Send {
    /// Command that the client accepts.
    type Command: Send;

    /// Handles a command.
    fn on_command(&mut self, command: Self::Command, out: &mut SendBuffer);

    /// Handles a message from the server.
    fn on_message(&mut self, message: &Incoming<'_>, out: &mut SendBuffer);
}

/// End of a client's loop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientEnd {
    /// The command queue closed and the client told the server that it leaves.
    Left,
    /// The socket was lost, with the error.
    Lost(String),
}

/// Runs the behaviour until the command queue closes or the socket is lost.
pub(crate) async fn drive<B: Behaviour>(
    guest: &mut Guest,
    behaviour: &mut B,
    commands: &mut Receiver<B::Command>,
) -> ClientEnd {
    match process(guest, behaviour, commands).await {
        Ok(()) => ClientEnd::Left,
        Err(error) => ClientEnd::Lost(error.to_string()),
    }
}

async fn process<B: Behaviour>(
    guest: &mut Guest,
    behaviour: &mut B,
    commands: &mut Receiver<B::Command>,
) -> anyhow::Result<()> {
    let Guest { socket, send_buffer, protocol, .. } = guest;
    loop {
        while let Some(frame) = socket.frame()? {
            match frame {
                Frame::Text(text) => {
                    protocol.packets(text, |packet| on_packet(packet, *protocol, behaviour, send_buffer))?;
                }
                Frame::Close(reason) => anyhow::bail!("closed: {reason}"),
                Frame::Ping(payload) => send_buffer.pong(payload),
                Frame::Other => {}
            }
        }
        send_buffer.flush(socket).await?;
        tokio::select! {
            received = socket.receive() => received?,
            command = commands.recv() => {
                let Some(command) = command else {
                    protocol.send_leave(send_buffer);
                    return Ok(send_buffer.flush(socket).await?);
                };
                behaviour.on_command(command, send_buffer);
                while let Ok(command) = commands.try_recv() {
                    behaviour.on_command(command, send_buffer);
                }
            }
        }
    }
}

fn on_packet<B: Behaviour>(
    packet: Packet<'_>,
    protocol: Protocol,
    behaviour: &mut B,
    out: &mut SendBuffer,
) -> anyhow::Result<()> {
    match packet {
        Packet::Ping => {
            protocol.send_pong(out);
            behaviour.on_message(&Incoming::Ping, out);
        }
        Packet::Event(event) => behaviour.on_message(&Incoming::Event(event), out),
        Packet::Ack { id, reply } => behaviour.on_message(&Incoming::Ack { id, reply }, out),
        Packet::Disconnected => anyhow::bail!("the server sent DISCONNECT"),
        _ => {}
    }
    Ok(())
}
