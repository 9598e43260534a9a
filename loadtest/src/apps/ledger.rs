//! Stays in one call, as the events of the call tell them to a participant who is there from the
//! first moment to the last. Each event has its position in the room's log as offset, and so its
//! time by the clock of Redis, in milliseconds. Pure.

use std::collections::HashMap;

use anyhow::Context;

use crate::client::packet::Event;

/// What the clients of one or more calls did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deeds {
    /// Calls that began.
    pub(super) calls: u64,
    /// Stays that began.
    pub(super) joins: u64,
    /// Time of all ended stays, in milliseconds.
    pub(super) participant_ms: u64,
    /// Chat messages.
    pub(super) messages: u64,
}

impl Deeds {
    /// Adds those of other calls.
    pub(super) const fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.joins += other.joins;
        self.participant_ms += other.participant_ms;
        self.messages += other.messages;
    }
}

/// Deeds in one call so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    deeds: Deeds,
    /// Participants in the call, by peer id, each with the time of the join.
    present: HashMap<String, u64>,
    has_ended: bool,
}

impl Ledger {
    /// Writes down an event.
    ///
    /// # Errors
    /// When the event has no offset or no peer id, or ends a stay that never began.
    pub(super) fn read(&mut self, event: &Event<'_>) -> anyhow::Result<()> {
        let name = event.name();
        match name {
            "room:joined" => {
                self.deeds.calls += 1;
                self.begin(&event.payload()?["peerId"], time(event)?)
            }
            "room:user-joined" => self.begin(&event.payload()?["participant"]["peerId"], time(event)?),
            "room:user-left" => {
                let payload = event.payload()?;
                let peer = payload["peerId"].as_str().unwrap_or_default();
                let joined = self.present.remove(peer).with_context(|| format!("{peer} left and never joined"))?;
                self.deeds.participant_ms += time(event)?.saturating_sub(joined);
                Ok(())
            }
            "room:call-ended" => {
                let end = time(event)?;
                let stays = self.present.drain().map(|(_, joined)| end.saturating_sub(joined));
                self.deeds.participant_ms += stays.sum::<u64>();
                self.has_ended = true;
                Ok(())
            }
            "chat:message" => {
                self.deeds.messages += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, peer: &serde_json::Value, at: u64) -> anyhow::Result<()> {
        let peer = peer.as_str().context("a participant without a peer id")?;
        let earlier = self.present.insert(peer.to_owned(), at);
        anyhow::ensure!(earlier.is_none(), "{peer} joined twice");
        self.deeds.joins += 1;
        Ok(())
    }

    /// Deeds of the whole call; `None` while it goes on.
    pub(super) fn deeds(&self) -> Option<Deeds> {
        self.has_ended.then_some(self.deeds)
    }
}

/// Time of an event: the first part of its offset.
fn time(event: &Event<'_>) -> anyhow::Result<u64> {
    let offset = event.offset().context("an event without an offset")?;
    offset.split('-').next().unwrap_or_default().parse().context("a malformed offset")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_end_with_a_leave_or_with_the_call() {
        let mut ledger = Ledger::default();
        for event in [
            r#"["room:joined",{"peerId":"ledger","participants":[]},"1000-0.r"]"#,
            r#"["room:user-joined",{"participant":{"peerId":"a"}},"1500-3.r"]"#,
            r#"["chat:message",{"from":"a"},"1600-0.r"]"#,
            r#"["participant:connection-changed",{"peerId":"a","state":"reconnecting"},"1700-0.r"]"#,
            r#"["room:user-left",{"peerId":"a","participant":{"peerId":"a"}},"2000-1.r"]"#,
            r#"["room:user-joined",{"participant":{"peerId":"a"}},"2100-0.r"]"#,
        ] {
            ledger.read(&Event::new(event)).unwrap();
        }
        assert_eq!(ledger.deeds(), None, "the call goes on");
        assert!(ledger.read(&Event::new(r#"["room:user-left",{"peerId":"b"},"2200-0.r"]"#)).is_err());
        ledger.read(&Event::new(r#"["room:call-ended",{"roomId":"r"},"3000-0.r"]"#)).unwrap();
        let deeds = Deeds { calls: 1, joins: 3, participant_ms: 500 + 900 + 2000, messages: 1 };
        assert_eq!(ledger.deeds(), Some(deeds));
    }

    #[test]
    fn an_event_that_tells_no_time_is_an_error() {
        for event in [
            r#"["room:joined",{"peerId":"a"}]"#,
            r#"["room:user-joined",{"participant":{}},"1-0.r"]"#,
            r#"["room:call-ended",{},"x.r"]"#,
        ] {
            assert!(Ledger::default().read(&Event::new(event)).is_err(), "{event}");
        }
    }
}
