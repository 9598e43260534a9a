//! One session in a room: what reaches its client, in which order, and what this node keeps of its seat.
//!
//! A link buffers while its script, or a reading of the log, is on the way; it waits in the lobby, where nothing that is for all reaches
//! it; or it is live.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchboard_core::domain::{
    ConnectionState, DisconnectReason, MediaChange, PeerId, RoomId, RoomMeta, SessionHandle,
};
use switchboard_core::wire::envelope;
use switchboard_core::wire::news::News;
use switchboard_rooms::{LogEntry, LogId, Seat, SeatCopy};

use super::{close, packet};
use switchboard_socketio::send_queue::{Message, SendQueue};

/// Messages that a session may buffer while its script is on the way or its log is read. More is a room that talks faster than
/// Redis answers: the client then resumes from the log.
const BUFFER: usize = 4096;

/// A session in a room: the receiving end.
#[derive(Debug)]
pub struct Link {
    /// Its name in the seat.
    pub handle: SessionHandle,
    /// The room.
    pub room: RoomId,
    /// The way to the client.
    pub outbox: SendQueue,
    state: Mutex<Delivery>,
}

/// What a script gave a session, and what Redis would have to be told if it forgot.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The seat.
    pub seat: Arc<Seat>,
    /// How the seat looks.
    pub copy: SeatCopy,
    /// The room's call.
    pub meta: Arc<RoomMeta>,
}

#[derive(Debug)]
struct Delivery {
    holding: Option<Box<Holding>>,
    /// The position of the last event delivered.
    seen: LogId,
    /// What arrives while a script or a log read is on the way; `None` when live.
    buffer: Option<Vec<Arrival>>,
    /// The last position before the gap for which it buffers.
    before_gap: LogId,
    /// The subscription epoch up to which nothing is missing.
    epoch: u64,
    /// Let in from the lobby at this position, and not yet told what it finds: until then it buffers.
    admitted: Option<LogId>,
    /// The room is gone, or the session was sent away: it is in no room any more.
    gone: bool,
    /// The client was told so: nothing of the room is for it from then on.
    dismissed: bool,
}

/// Something from the room's log.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) id: LogId,
    pub(super) reach: Reach,
    pub(super) what: What,
}

/// Whom it is for.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    /// This session.
    Own,
    /// Everybody in the room, but the peer named.
    All { except: Option<PeerId> },
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// An event for the client, and what it changes in the copies.
    Event { message: Message, news: Option<Arc<News>> },
    /// The session is let in from the lobby; the join id that it has from now on.
    Admitted { join: LogId },
}

/// Where delivery begins.
#[derive(Debug)]
pub enum Start {
    /// After this position, once this was sent.
    Seen(LogId, Option<Message>),
    /// After this position, where it was let in from the lobby: what it finds is still to be read.
    Admitted(LogId),
}

/// A session that may have missed something: read its room's log after `from` and give it to [`Link::caught_up`].
#[derive(Debug)]
pub struct CatchUp {
    /// The session.
    pub link: Arc<Link>,
    /// The last position that is surely delivered.
    pub from: LogId,
    /// The subscription epoch that this mends; a later gap is mended by its own.
    pub epoch: u64,
}

/// What somebody who is let in from the lobby is told, and what its node keeps of it.
#[derive(Debug)]
pub struct Welcome {
    /// `room:joined`.
    pub message: Message,
    /// How its seat looks from now on.
    pub copy: SeatCopy,
    /// The room's call.
    pub meta: Arc<RoomMeta>,
}

impl Arrival {
    /// An entry of the log that is for this session.
    pub(super) fn of(entry: &LogEntry, room: &RoomId) -> Self {
        let what = match admission(entry) {
            Some(join) => What::Admitted { join },
            None => {
                let event = entry.text();
                What::Event { message: packet(entry.id, room, &event), news: News::of(&event).map(Arc::new) }
            }
        };
        Self { id: entry.id, reach: Reach::Own, what }
    }
}

/// The join id in an entry that lets the reader in from the lobby.
#[must_use]
pub fn admission(entry: &LogEntry) -> Option<LogId> {
    let join = entry.event.strip_prefix(envelope::ADMITTED.as_bytes())?;
    LogId::parse(std::str::from_utf8(join).ok()?)
}

impl Link {
    pub(super) fn new(handle: SessionHandle, room: RoomId, outbox: SendQueue, epoch: u64) -> Self {
        let state = Delivery {
            holding: None,
            seen: LogId::default(),
            buffer: Some(Vec::new()),
            before_gap: LogId::default(),
            epoch,
            admitted: None,
            gone: false,
            dismissed: false,
        };
        Self { handle, room, outbox, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, Delivery> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seat, once a script has given one.
    #[must_use]
    pub fn seat(&self) -> Option<Arc<Seat>> {
        self.lock().holding.as_ref().map(|holding| holding.seat.clone())
    }

    /// What Redis is to be told if it forgot the seat; nothing of somebody who was sent away, who must not be put back.
    #[must_use]
    pub fn held(&self) -> Option<Holding> {
        let state = self.lock();
        state.holding.as_deref().filter(|_| !state.gone).cloned()
    }

    /// Looks at the copies without making others.
    pub fn look<T>(&self, at: impl FnOnce(&Holding) -> T) -> Option<T> {
        self.lock().holding.as_deref().map(at)
    }

    /// Where it was let in from the lobby, if it has not been told yet.
    #[must_use]
    pub fn admitted(&self) -> Option<LogId> {
        self.lock().admitted
    }

    /// Keeps the copy of the seat true to its media, once Redis has taken the change.
    pub fn media_changed(&self, change: MediaChange) {
        if let Some(holding) = &mut self.lock().holding {
            holding.copy.media = change.applied_to(holding.copy.media);
        }
    }

    /// Whether the session is in no room any more: the room ended, or it was sent away.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// The session is in no room any more.
    pub(super) fn set_gone(&self) {
        self.lock().gone = true;
    }

    /// Closes the session's transport, with a goodbye only when the client shall stay away.
    pub fn close(&self, reason: DisconnectReason) {
        close(&self.outbox, reason);
    }

    /// Takes what a script gave, and goes on from `start` with what was buffered; unless the subscription had a gap meanwhile, or has one,
    /// or there is more to tell: then the log is to be read first.
    pub(super) fn go_live(
        self: &Arc<Self>,
        holding: Holding,
        start: Start,
        (epoch, interrupted): (u64, bool),
    ) -> Option<CatchUp> {
        let mut state = self.lock();
        state.holding = Some(Box::new(holding));
        let (seen, first, admitted) = match start {
            Start::Seen(seen, first) => (seen, first, None),
            Start::Admitted(at) => (at, None, Some(at)),
        };
        (state.seen, state.before_gap, state.admitted) = (seen, seen, admitted);
        if let Some(message) = first {
            self.send(message);
        }
        let across_a_gap = std::mem::replace(&mut state.epoch, epoch) != epoch;
        if interrupted {
            return None;
        }
        if across_a_gap || admitted.is_some() {
            return Some(CatchUp { link: Arc::clone(self), from: seen, epoch });
        }
        self.flush(&mut state)
    }

    /// Whether everything up to this position was delivered, and the client does not know that yet.
    pub(super) fn is_behind(&self, position: LogId) -> bool {
        let state = self.lock();
        state.buffer.is_none() && state.holding.is_some() && position > state.seen
    }

    pub(super) fn deliver(self: &Arc<Self>, arrival: Arrival) -> Option<CatchUp> {
        let mut state = self.lock();
        if let Some(buffer) = &mut state.buffer {
            if buffer.len() == BUFFER {
                drop(state);
                metrics::counter!("switchboard_delivery_buffer_overflows_total").increment(1);
                self.close(DisconnectReason::Fenced);
                return None;
            }
            buffer.push(arrival);
            return None;
        }
        self.pass(&mut state, arrival)
    }

    /// Sends what is worth nothing later: only to who is live and out of the lobby, and not to its sender.
    pub(super) fn hint(&self, from: &PeerId, message: &Message) {
        let state = self.lock();
        let seated = state
            .holding
            .as_ref()
            .is_some_and(|holding| holding.copy.state != ConnectionState::Waiting && holding.seat.peer != *from);
        if seated && !state.gone && state.buffer.is_none() {
            self.send(message.clone());
        }
    }

    /// Sends an event unless the session has it already, is its sender, or waits in the lobby and it is for all. Whoever is let in has to
    /// be told what it finds first, which is to be read.
    fn pass(self: &Arc<Self>, state: &mut Delivery, arrival: Arrival) -> Option<CatchUp> {
        if arrival.id <= state.seen || state.dismissed {
            return None;
        }
        let holding = state.holding.as_deref_mut()?;
        if let Reach::All { except } = &arrival.reach {
            if holding.copy.state == ConnectionState::Waiting {
                return None;
            }
            if except.as_ref() == Some(&holding.seat.peer) {
                state.seen = arrival.id;
                return None;
            }
        }
        state.seen = arrival.id;
        match arrival.what {
            What::Event { message, news } => {
                match news.as_deref() {
                    // Before it is sent: a client that answers at once is in no room already.
                    Some(News::Farewell) => (state.gone, state.dismissed) = (true, true),
                    Some(news) => holding.learn(news),
                    None => {}
                }
                self.send(message);
                None
            }
            What::Admitted { join } => {
                holding.copy.state = ConnectionState::Connected;
                holding.copy.join_id = join;
                state.admitted = Some(arrival.id);
                state.before_gap = arrival.id;
                state.buffer.get_or_insert_default();
                Some(CatchUp { link: Arc::clone(self), from: arrival.id, epoch: state.epoch })
            }
        }
    }

    fn send(&self, message: Message) {
        // Overflow closes the socket by itself, and a closed one resumes from the log: nothing is lost by going on.
        let _closing = self.outbox.send(message);
    }

    fn flush(self: &Arc<Self>, state: &mut Delivery) -> Option<CatchUp> {
        let mut again = None;
        for arrival in state.buffer.take().unwrap_or_default() {
            match &mut state.buffer {
                // Let in by one of those before: the rest comes after what it is told of the room.
                Some(buffer) => buffer.push(arrival),
                None => again = self.pass(state, arrival),
            }
        }
        again
    }

    /// Back to buffering, unless a script is still on the way: then `go_live` finds out. Everything up to `floor` was
    /// delivered, but to a session that buffers already: its position is where its own gap began.
    pub(super) fn open_gap(self: &Arc<Self>, epoch: u64, floor: LogId) -> Option<CatchUp> {
        let mut state = self.lock();
        state.holding.as_ref().filter(|_| !state.dismissed)?;
        state.epoch = epoch;
        if state.buffer.is_none() {
            state.before_gap = state.seen.max(floor);
            state.buffer = Some(Vec::new());
        }
        Some(CatchUp { link: Arc::clone(self), from: state.before_gap, epoch })
    }

    /// Delivers what the log has after a gap, then what arrived meanwhile, unless there was another gap by then: what is
    /// buffered may have a hole, which that gap's own reading fills. Somebody who was let in is welcomed first; when that is not at hand,
    /// what is returned is to be read.
    pub fn caught_up(self: &Arc<Self>, epoch: u64, welcome: Option<Welcome>, missed: &[LogEntry]) -> Option<CatchUp> {
        let mut state = self.lock();
        if let Some(from) = state.admitted {
            let Some(Welcome { message, copy, meta }) = welcome else {
                return Some(CatchUp { link: Arc::clone(self), from, epoch });
            };
            state.admitted = None;
            if let Some(holding) = state.holding.as_deref_mut() {
                (holding.copy, holding.meta) = (copy, meta);
            }
            self.send(message);
        }
        for entry in missed {
            let again = self.pass(&mut state, Arrival::of(entry, &self.room));
            if again.is_some() {
                return again;
            }
        }
        if state.epoch == epoch { self.flush(&mut state) } else { None }
    }
}

impl Holding {
    /// Keeps the copies true to what the room was told.
    fn learn(&mut self, news: &News) {
        match news {
            News::Role(changed) if changed.peer_id == self.seat.peer => self.copy.role = changed.role,
            News::Muted(muted) if muted.peer_id == self.seat.peer => self.copy.media = muted.media_state,
            News::Updated(updated) if updated.version > self.meta.version => {
                let meta = Arc::make_mut(&mut self.meta);
                meta.name.clone_from(&updated.name);
                meta.settings = updated.settings.clone();
                meta.host = updated.owner_id.clone();
                (meta.max_participants, meta.locked) = (updated.max_participants, updated.locked);
                meta.version = updated.version;
            }
            News::Role(_) | News::Muted(_) | News::Updated(_) | News::Farewell => {}
        }
    }
}
