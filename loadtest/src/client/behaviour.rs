//! The loop of a client in a room, around what it does. A behaviour is plain code: it is told and hears, and answers with texts;
//! everything that one read brought is answered with one write.

use tokio::sync::mpsc::Receiver;

use super::guest::Guest;
use super::packet::{Answer, Event, GOODBYE, PONG, Packet};
use super::socket::{Frame, Outbox};

/// What a client hears.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    Event(Event<'a>),
    Ack {
        id: u64,
        answer: Answer<'a>,
    },
    /// A heartbeat, which the loop answers.
    Ping,
}

/// What a client does.
pub(crate) trait Behaviour: Send {
    /// What it can be told to do.
    type Order: Send;

    /// It is told to do something.
    fn told(&mut self, order: Self::Order, out: &mut Outbox);

    /// The server says something.
    fn heard(&mut self, heard: &Heard<'_>, out: &mut Outbox);
}

/// How a client's loop ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nobody can tell it anything any more: it said goodbye.
    Left,
    /// The socket was lost.
    Lost(String),
}

/// Plays a behaviour until nobody can tell it anything any more, or the socket is lost.
pub(crate) async fn play<B: Behaviour>(guest: &mut Guest, behaviour: &mut B, orders: &mut Receiver<B::Order>) -> Ended {
    match perform(guest, behaviour, orders).await {
        Ok(()) => Ended::Left,
        Err(error) => Ended::Lost(error.to_string()),
    }
}

async fn perform<B: Behaviour>(
    guest: &mut Guest,
    behaviour: &mut B,
    orders: &mut Receiver<B::Order>,
) -> anyhow::Result<()> {
    let Guest { socket, outbox, .. } = guest;
    loop {
        while let Some(frame) = socket.frame()? {
            match frame {
                Frame::Text(text) => hear(text, behaviour, outbox)?,
                Frame::Close(reason) => anyhow::bail!("closed: {reason}"),
                Frame::Ping(payload) => outbox.pong(payload),
                Frame::Other => {}
            }
        }
        outbox.flush(socket).await?;
        tokio::select! {
            more = socket.fill() => more?,
            order = orders.recv() => {
                let Some(order) = order else {
                    outbox.text(GOODBYE);
                    return Ok(outbox.flush(socket).await?);
                };
                behaviour.told(order, outbox);
                while let Ok(order) = orders.try_recv() {
                    behaviour.told(order, outbox);
                }
            }
        }
    }
}

fn hear<B: Behaviour>(text: &str, behaviour: &mut B, out: &mut Outbox) -> anyhow::Result<()> {
    match Packet::parse(text)? {
        Packet::Ping => {
            out.text(PONG);
            behaviour.heard(&Heard::Ping, out);
        }
        Packet::Event(event) => behaviour.heard(&Heard::Event(event), out),
        Packet::Ack { id, answer } => behaviour.heard(&Heard::Ack { id, answer }, out),
        Packet::Disconnected => anyhow::bail!("the server said goodbye"),
        _ => {}
    }
    Ok(())
}
