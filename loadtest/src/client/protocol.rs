//! Protocols of the servers that the benchmark compares. Pure.

use super::centrifugo;
use super::packet::{DISCONNECT, PONG, Packet};
use super::socket::SendBuffer;

/// Protocol that the clients speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Socket.IO, with Switchboard's events.
    #[default]
    SocketIo,
    /// Centrifugo's JSON protocol.
    Centrifugo,
}

impl Protocol {
    /// Adds a session description for the peer `to`: the event `webrtc:<kind>`, whose
    /// acknowledgement has this id.
    pub(crate) fn send_description(self, id: u64, kind: &str, to: &str, sdp: &str, out: &mut SendBuffer) {
        let (event, description) = (format!("webrtc:{kind}"), format!(r#""{kind}":{{"type":"{kind}","sdp":"{sdp}"}}"#));
        out.text(&match self {
            Self::SocketIo => format!(r#"42{id}["{event}",{{"to":"{to}",{description}}}]"#),
            Self::Centrifugo => centrifugo::publish(id, to, &event, &format!("{{{description}}}")),
        });
    }

    /// Adds the answer to a heartbeat.
    pub(crate) fn send_pong(self, out: &mut SendBuffer) {
        out.text(match self {
            Self::SocketIo => PONG,
            Self::Centrifugo => centrifugo::PONG,
        });
    }

    /// Adds the message of a client that leaves.
    pub(crate) fn send_leave(self, out: &mut SendBuffer) {
        match self {
            Self::SocketIo => out.text(DISCONNECT),
            Self::Centrifugo => out.close(),
        }
    }

    /// Parses the text of a frame and passes its packets on, in order.
    ///
    /// # Errors
    /// When a packet is malformed, and the first error of `handle`.
    pub(crate) fn packets<'a>(
        self,
        text: &'a str,
        mut handle: impl FnMut(Packet<'a>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::SocketIo => handle(Packet::parse(text)?),
            Self::Centrifugo => text.lines().try_for_each(|line| handle(centrifugo::parse(line)?)),
        }
    }
}
