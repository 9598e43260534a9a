//! A node: its lane, the tasks of its dispatcher, and the delivery that ships.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use switchboard_core::domain::{Generation, PeerId};
use switchboard_rooms::{CaughtUp, LogContent, LogEntry, LogId, RoomLog, Seat};
use switchboard_socketio::send_queue::{Frame, Message};

use super::store::{P, Relay, replica, trims_log};
use super::world::{Answer, Ask, Phase, Request, ToClient, World};
use crate::delivery::catch_up::{AfterRead, apply};
use crate::delivery::{CatchUpRequest, DeliveryStart};

/// Maximum number of relays that share a call here.
const RELAYS_MAX: usize = 4;

impl World {
    /// Executes the first request of a node's lane. The end of a session waits for the replies to
    /// its operations.
    pub(crate) fn execute(&mut self, node: usize) -> bool {
        if self.execute_relays(node) {
            return true;
        }
        let Some(call) = self.nodes[node].lane.front() else { return false };
        let ends = matches!(call.ask, Ask::Detach | Ask::Leave);
        let unanswered = self.nodes[node].answers.iter().any(|(other, _)| other.session == call.session);
        if ends && unanswered {
            return false;
        }
        let Some(mut call) = self.nodes[node].lane.pop_front() else { return false };
        let answer = self.done_by_redis(node, &mut call);
        self.note(format!("redis does {:?} of session {:?} on node {node}: {answer:?}", call.ask, call.session));
        self.nodes[node].answers.push_back((call, answer));
        true
    }

    /// Executes the relays at the head of a node's lane in one call, if there are several.
    fn execute_relays(&mut self, node: usize) -> bool {
        let (mut calls, mut relays) = (Vec::new(), Vec::new());
        while let Some(call) = self.nodes[node].lane.front_mut() {
            let seat = call.session.and_then(|session| self.sessions[session].seat.clone());
            let (Some(seat), Ask::Send { to: Some(to), event, number }) = (seat, &mut call.ask) else { break };
            let own = if *number == 0 { seat.op.load(Ordering::Relaxed) + 1 } else { *number };
            if trims_log(seat.generation, own) || relays.len() == RELAYS_MAX {
                break;
            }
            seat.op.fetch_max(own, Ordering::Relaxed);
            *number = own;
            relays.push(Relay { number: own, to: PeerId::parse(to).unwrap(), event: event.clone(), seat });
            calls.extend(self.nodes[node].lane.pop_front());
        }
        if relays.len() < 2 {
            for call in calls {
                self.nodes[node].lane.push_front(call);
            }
            return false;
        }
        let shared = self.store.shared_entries;
        let replies = self.store.relays(&relays);
        if self.store.shared_entries > shared {
            self.tally.add("shared entries");
        }
        for (call, reply) in calls.into_iter().zip(replies) {
            self.note(format!("redis does {:?} of session {:?} on node {node}: {reply:?}", call.ask, call.session));
            self.nodes[node].answers.push_back((call, Answer::Reply(reply)));
        }
        self.tally.add("shared calls");
        true
    }

    fn done_by_redis(&mut self, node: usize, call: &mut Request) -> Answer {
        let id = self.nodes[node].id.clone();
        let Some(session) = call.session else {
            let node = &mut self.nodes[node];
            if matches!(call.ask, Ask::Check) {
                return Answer::Reply(self.store.check_node(&id, &node.registration, !node.registered));
            }
            node.beats += 1;
            return Answer::Reply(self.store.beat(&id, node.beats, !node.on_ring));
        };
        let session = &self.sessions[session];
        let user = &self.clients[self.sockets[session.socket].client].user;
        let (room, handle) = (&session.link.room, session.link.handle.to_string());
        let seat = session.seat.clone();
        Answer::Reply(match (&mut call.ask, seat) {
            (Ask::Join { pid, old }, _) => {
                let old = old.as_deref().unwrap_or("-");
                self.store.join(room, user, pid, old, &id, &handle)
            }
            (Ask::Attach { pid, offset, patient }, _) => {
                let (reply, missed) = self.store.attach(room, [user, pid, &id, &handle], *offset, *patient);
                return Answer::Attached(reply, missed);
            }
            (Ask::Send { to, event, number }, Some(seat)) => {
                // An operation gets its number when it is first sent, and keeps it.
                if *number == 0 {
                    *number = seat.op.fetch_add(1, Ordering::Relaxed) + 1;
                }
                self.store.relay(&seat, *number, to.as_deref(), event)
            }
            (Ask::Detach, Some(seat)) => self.store.detach(&seat, &id),
            (Ask::Leave, Some(seat)) => self.store.leave(&seat, &id),
            (Ask::Read(request), Some(seat)) => return Answer::Log(self.store.catch_up(&seat, request.from)),
            (Ask::Reseat, _) => match session.link.restorable_replica() {
                Some(replica) => vec![self.store.reseat(&id, &replica)],
                None => vec!["GONE".to_owned()],
            },
            (ask, seat) => unreachable!("{ask:?} with {seat:?}"),
        })
    }

    /// Handles a node's next answer.
    pub(crate) fn take_answer(&mut self, node: usize) -> bool {
        let Some((call, answer)) = self.nodes[node].answers.pop_front() else { return false };
        self.note(format!("node {node} takes the answer to {:?} of session {:?}", call.ask, call.session));
        match (call.session, call.ask, answer) {
            (None, Ask::Check, Answer::Reply(reply)) => self.checked(node, &reply),
            (None, _, Answer::Reply(reply)) => self.beaten(node, &reply),
            (Some(session), ask @ Ask::Join { .. }, Answer::Reply(reply)) if reply[0] == "ABSENT" => {
                let room = self.sessions[session].link.room.clone();
                self.store.open(&room);
                self.ask(node, Some(session), ask);
            }
            (Some(session), Ask::Join { pid, .. }, Answer::Reply(reply)) => {
                self.joined(node, session, &reply, &pid);
            }
            (Some(session), Ask::Attach { pid, offset, .. }, Answer::Attached(reply, missed)) => {
                if reply[0] == "BUSY" && self.sessions[session].phase == Phase::Pending && self.rng.chance(500) {
                    self.ask(node, Some(session), Ask::Attach { pid, offset, patient: true });
                } else if let Some(seat) = self.seated(node, session, &reply) {
                    self.resumed(node, session, (seat, &pid), &reply, missed);
                }
            }
            (Some(session), Ask::Send { event, .. }, Answer::Reply(reply)) => match &*reply[0] {
                "OK" | "DUP" => {
                    self.tally.add(if reply[0] == "OK" { "acknowledged" } else { "acknowledged again" });
                    self.sent.get_mut(&event).unwrap().1 = true;
                    self.send(session, ToClient::Ack);
                }
                "STALE" => self.close(node, session),
                "GAP" => self.violations.push(format!("an operation was lost before {event}")),
                _ => {}
            },
            (Some(session), Ask::Reseat, Answer::Reply(reply)) => {
                self.tally.add(if reply[0] == "OK" { "reseated" } else { "gone" });
                if reply[0] != "OK" {
                    self.close(node, session);
                }
            }
            (Some(session), Ask::Read(request), Answer::Log(log)) => self.caught_up(node, session, request, log),
            _ => {}
        }
        true
    }

    fn beaten(&mut self, node: usize, reply: &[String]) {
        if reply[0] == "SWEPT" {
            return self.register_again(node);
        }
        self.nodes[node].on_ring = true;
        self.ask(node, None, Ask::Check);
    }

    /// Registers a node again, before it knows whether Redis lost its data: on the ring, then in
    /// the partition.
    fn register_again(&mut self, node: usize) {
        let registration = format!("r{}", self.fresh());
        let state = &mut self.nodes[node];
        (state.on_ring, state.registered, state.swept) = (false, false, true);
        state.registration = registration;
        self.ask(node, None, Ask::Beat);
    }

    fn checked(&mut self, node: usize, reply: &[String]) {
        if reply[0] == "SWEPT" {
            return self.register_again(node);
        }
        let state = &mut self.nodes[node];
        let known = std::mem::replace(&mut state.data_epoch, reply[3].clone());
        state.registered = true;
        let swept = std::mem::take(&mut state.swept);
        let lost = !known.is_empty() && known != reply[3];
        let suspects = state.hub.take_suspects(P);
        for session in state.sessions.clone() {
            let is_live = self.sessions[session].phase == Phase::Live;
            let suspected = suspects.iter().any(|link| Arc::ptr_eq(link, &self.sessions[session].link));
            if !lost && swept {
                // The node was declared dead, so other nodes may take its seats. It continues
                // without them.
                self.close(node, session);
            } else if is_live && self.rules.reseat && (lost || suspected) {
                self.ask(node, Some(session), Ask::Reseat);
            }
        }
        if lost || swept {
            self.tally.add(if lost { "lost" } else { "swept" });
        }
    }

    /// Returns the seat that join or attach gave, if there is one.
    fn seated(&mut self, node: usize, session: usize, reply: &[String]) -> Option<Arc<Seat>> {
        match &*reply[0] {
            "OK" | "BACK" => {
                let (peer, generation) = (PeerId::parse(&reply[1]).unwrap(), reply[2].parse::<Generation>().unwrap());
                let session = &mut self.sessions[session];
                let seat = Seat::new(session.link.room.clone(), peer, generation, session.link.handle);
                return session.seat.insert(Arc::new(seat)).clone().into();
            }
            "FENCED" => {
                // The next heartbeat decides about the node's other seats.
                self.tally.add("fenced");
                self.ask(node, None, Ask::Beat);
                self.forget(node, session);
                self.sockets[self.sessions[session].socket].server_open = false;
            }
            _ => {
                self.tally.add("fresh");
                self.forget(node, session);
                self.send(session, ToClient::Fresh);
            }
        }
        None
    }

    fn joined(&mut self, node: usize, session: usize, reply: &[String], pid: &str) {
        if let Some(seat) = self.seated(node, session, reply) {
            let id = LogId::parse(&reply[3]).unwrap();
            let (peer, room) = (&seat.peer, &seat.room);
            let joined = Message::packet(format!(r#"42["room:joined","{peer}","{pid}","{id}.{room}"]"#));
            self.tally.add("joined");
            self.go_live(node, session, (seat, pid, id), DeliveryStart::After(id, Some(joined)));
        }
    }

    fn resumed(
        &mut self,
        node: usize,
        session: usize,
        (seat, pid): (Arc<Seat>, &str),
        reply: &[String],
        missed: Option<Vec<LogEntry>>,
    ) {
        let join = LogId::parse(&reply[9]).unwrap();
        let last = LogId::parse(&reply[3]).unwrap();
        let Some(missed) = missed else {
            // Trimmed since the script ran: the client starts afresh, and its join replaces the
            // seat.
            self.tally.add("trimmed");
            self.forget(node, session);
            self.ask(node, Some(session), Ask::Detach);
            self.send(session, ToClient::Fresh);
            return;
        };
        let start = DeliveryStart::After(RoomLog::resumed_at(last, &missed), None);
        for LogEntry { id, content } in missed {
            let LogContent::Event { event, .. } = content else { panic!("the simulation has no lobby") };
            self.send(session, ToClient::Event { id, event: event.into() });
        }
        self.send(session, ToClient::Resumed);
        self.tally.add("resumed");
        self.go_live(node, session, (seat, pid, join), start);
    }

    fn go_live(
        &mut self,
        node: usize,
        session: usize,
        (seat, pid, join): (Arc<Seat>, &str, LogId),
        start: DeliveryStart,
    ) {
        let state = &mut self.sessions[session];
        state.phase = Phase::Live;
        let user = &self.clients[self.sockets[state.socket].client].user;
        let read = self.nodes[node].hub.go_live(P, &state.link, replica(seat, user, pid, join), start);
        self.read(node, read);
        if self.sessions[session].doomed {
            self.close(node, session);
        }
    }

    /// Passes on what delivery has sent to the client of a session.
    fn flush(&mut self, session: usize) {
        let session = &self.sessions[session];
        let frames = session.queue.take();
        let socket = &mut self.sockets[session.socket];
        for frame in frames.into_iter().filter(|_| socket.server_open) {
            let Frame::Text(text) = frame else { panic!("no event is binary") };
            socket.down.extend(ToClient::parse(&text));
        }
    }

    /// Sends a message that does not come from delivery, after all that do.
    pub(crate) fn send(&mut self, session: usize, message: ToClient) {
        self.flush(session);
        let socket = &mut self.sockets[self.sessions[session].socket];
        if socket.server_open {
            socket.down.push_back(message);
        }
    }

    /// Does what a node's transport does after each step of delivery: sends the messages, and ends
    /// the sessions whose sockets delivery has ended.
    pub(crate) fn transport(&mut self, node: usize) {
        for session in self.nodes[node].sessions.clone() {
            self.flush(session);
            if self.sessions[session].queue.is_ending() {
                self.close(node, session);
            }
        }
    }

    fn forget(&mut self, node: usize, session: usize) {
        self.flush(session);
        self.sessions[session].phase = Phase::Dead;
        self.nodes[node].sessions.retain(|other| *other != session);
        self.nodes[node].hub.unregister(P, &self.sessions[session].link);
    }

    /// Ends a session that lost its seat or its socket, after its script has answered.
    pub(crate) fn close(&mut self, node: usize, session: usize) {
        match self.sessions[session].phase {
            Phase::Dead => {}
            Phase::Pending => self.sessions[session].doomed = true,
            Phase::Live => {
                self.forget(node, session);
                self.sockets[self.sessions[session].socket].server_open = false;
                // Also if stale, because it removes the seat from the node's set.
                self.ask(node, Some(session), Ask::Detach);
            }
        }
    }

    /// Ends a session whose client left.
    pub(crate) fn leave(&mut self, node: usize, session: usize) {
        if self.sessions[session].phase == Phase::Live {
            self.forget(node, session);
            self.ask(node, Some(session), Ask::Leave);
        }
    }

    /// Asks for the read that delivery wants, and lets the transport work.
    pub(crate) fn read(&mut self, node: usize, request: Option<CatchUpRequest>) {
        if let Some(request) = request {
            let sessions = &self.nodes[node].sessions;
            let session = sessions.iter().find(|s| Arc::ptr_eq(&self.sessions[**s].link, &request.link)).copied();
            // A session that has ended needs nothing.
            if session.is_some() {
                self.ask(node, session, Ask::Read(request));
            }
        }
        self.transport(node);
    }

    fn caught_up(&mut self, node: usize, session: usize, request: CatchUpRequest, log: CaughtUp) {
        if self.sessions[session].phase != Phase::Live {
            return;
        }
        match apply(&self.nodes[node].hub, P, request, None, log) {
            AfterRead::Done => self.read(node, None),
            AfterRead::Next(request) => self.read(node, Some(request)),
            // A heartbeat decides about the session before the same read is due again.
            AfterRead::Later(request) => {
                self.ask(node, None, Ask::Beat);
                self.read(node, Some(request));
            }
        }
    }
}

impl ToClient {
    /// Reads a packet that delivery has sent.
    fn parse(packet: &str) -> Option<Self> {
        let event = packet.strip_prefix("42[")?.strip_suffix(']')?;
        let (event, offset) = event.rsplit_once(",\"")?;
        let id = LogId::parse(offset.trim_end_matches('"').split_once('.')?.0)?;
        let Some(joined) = event.strip_prefix(r#""room:joined","#) else {
            return Some(Self::Event { id, event: event.to_owned() });
        };
        let (peer, pid) = joined.trim_matches('"').split_once(r#"",""#)?;
        Some(Self::Joined { id, peer: peer.to_owned(), pid: pid.to_owned() })
    }
}
