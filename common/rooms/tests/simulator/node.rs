//! A node: its lane, its subscription, its sessions.

use switchboard_core::wire::envelope::{Audience, Envelope};
use switchboard_rooms::LogId;

use super::store::Entry;
use super::world::{Answer, Ask, Phase, Request, ToClient, World};

impl World {
    /// Executes the first request of a node's lane. The end of a session waits for the replies to
    /// its operations.
    pub(crate) fn execute(&mut self, node: usize) -> bool {
        let Some(call) = self.nodes[node].lane.front() else { return false };
        let ends = matches!(call.ask, Ask::Detach | Ask::Leave);
        let unanswered = self.nodes[node].answers.iter().any(|(other, _)| other.session == call.session);
        if ends && unanswered {
            return false;
        }
        let Some(mut call) = self.nodes[node].lane.pop_front() else { return false };
        let answer = self.done_by_redis(node, &mut call);
        self.nodes[node].answers.push_back((call, answer));
        true
    }

    fn done_by_redis(&mut self, node: usize, call: &mut Request) -> Answer {
        let id = self.nodes[node].id.clone();
        let Some(session) = call.session else {
            self.nodes[node].beats += 1;
            let (beats, first) = (self.nodes[node].beats, !self.nodes[node].registered);
            return Answer::Reply(self.store.beat(&id, beats, first));
        };
        let session = &mut self.sessions[session];
        let user = &self.clients[self.sockets[session.socket].client].user;
        let (room, handle) = (&session.room, format!("{:x}", session.handle));
        let seat = [&*session.peer, &*session.generation];
        Answer::Reply(match &mut call.ask {
            Ask::Join { pid, old } => {
                let old = old.as_deref().unwrap_or("-");
                self.store.join(room, user, pid, old, &id, &handle)
            }
            Ask::Attach { pid, offset, patient } => {
                let (reply, missed) = self.store.attach(room, [user, pid, &id, &handle], *offset, *patient);
                return Answer::Attached(reply, missed);
            }
            Ask::Send { to, event, number } => {
                // An operation gets its number when it is first sent, and keeps it.
                if *number == 0 {
                    session.operations += 1;
                    *number = session.operations;
                }
                self.store.relay(room, seat, *number, to.as_deref(), event)
            }
            Ask::Detach => self.store.detach(room, seat, &id),
            Ask::Leave => self.store.leave(room, seat, &id),
            Ask::Read { from } => return Answer::Log(self.store.catch_up(room, seat, *from)),
            Ask::Reseat => {
                let life = self.clients[self.sockets[session.socket].client].life;
                let join = life.map_or(session.seen, |life| self.lives[life].start);
                let who = [&**user, &*session.pid, &*id, &*handle];
                vec![self.store.reseat(room, who, seat, session.operations, join)]
            }
            Ask::Beat => unreachable!("a heartbeat has no session"),
        })
    }

    /// Handles a node's next answer.
    pub(crate) fn take_answer(&mut self, node: usize) -> bool {
        let Some((call, answer)) = self.nodes[node].answers.pop_front() else { return false };
        match (call.session, &call.ask, answer) {
            (None, _, Answer::Reply(reply)) => self.beaten(node, &reply),
            (Some(session), Ask::Join { .. }, Answer::Reply(reply)) if reply[0] == "ABSENT" => {
                let room = self.sessions[session].room.clone();
                self.store.open(&room);
                self.ask(node, Some(session), call.ask);
            }
            (Some(session), Ask::Join { pid, .. }, Answer::Reply(reply)) => {
                self.joined(node, session, &reply, pid);
            }
            (Some(session), Ask::Attach { pid, offset, .. }, Answer::Attached(reply, missed)) => {
                if reply[0] == "BUSY" && self.sessions[session].phase == Phase::Pending && self.rng.chance(500) {
                    let again = Ask::Attach { pid: pid.clone(), offset: *offset, patient: true };
                    self.ask(node, Some(session), again);
                } else if self.seated(node, session, &reply) {
                    self.resumed(node, session, &reply, missed);
                }
            }
            (Some(session), Ask::Send { event, .. }, Answer::Reply(reply)) => match &*reply[0] {
                "OK" | "DUP" => {
                    self.tally.add(if reply[0] == "OK" { "acknowledged" } else { "acknowledged again" });
                    self.sent.get_mut(event).unwrap().1 = true;
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
            (Some(session), Ask::Read { .. }, Answer::Log(log)) => self.caught_up(node, session, log),
            _ => {}
        }
        true
    }

    fn beaten(&mut self, node: usize, reply: &[String]) {
        let state = &mut self.nodes[node];
        if reply[0] == "SWEPT" {
            // The node registers again before it knows whether Redis lost its data.
            (state.registered, state.swept) = (false, true);
            self.ask(node, None, Ask::Beat);
            return;
        }
        let known = std::mem::replace(&mut state.data_epoch, reply[3].clone());
        state.registered = true;
        let swept = std::mem::take(&mut state.swept);
        let lost = !known.is_empty() && known != reply[3];
        for session in self.nodes[node].sessions.clone() {
            if !lost && swept {
                // The node was declared dead, so other nodes may take its seats. It continues
                // without them.
                self.close(node, session);
            } else if lost && self.rules.reseat && self.sessions[session].phase == Phase::Live {
                self.ask(node, Some(session), Ask::Reseat);
            }
        }
        if lost || swept {
            self.tally.add(if lost { "lost" } else { "swept" });
        }
    }

    /// Stores the seat that join or attach gave, if there is one.
    fn seated(&mut self, node: usize, session: usize, reply: &[String]) -> bool {
        match &*reply[0] {
            "OK" | "BACK" => {
                let session = &mut self.sessions[session];
                (session.peer, session.generation) = (reply[1].clone(), reply[2].clone());
                let peer = session.peer.clone();
                session.buffer.retain(|(_, except, _)| except.as_ref() != Some(&peer));
                true
            }
            "FENCED" => {
                // The next heartbeat decides about the node's other seats.
                self.tally.add("fenced");
                self.ask(node, None, Ask::Beat);
                self.forget(node, session);
                self.sockets[self.sessions[session].socket].server_open = false;
                false
            }
            _ => {
                self.tally.add("fresh");
                self.forget(node, session);
                self.send(session, ToClient::Fresh);
                false
            }
        }
    }

    fn joined(&mut self, node: usize, session: usize, reply: &[String], pid: &str) {
        if self.seated(node, session, reply) {
            let id = LogId::parse(&reply[3]).unwrap();
            self.send(session, ToClient::Joined { id, peer: reply[1].clone(), pid: pid.to_owned() });
            self.tally.add("joined");
            self.go_live(node, session, id);
        }
    }

    fn resumed(&mut self, node: usize, session: usize, reply: &[String], missed: Option<Vec<Entry>>) {
        let Some(missed) = missed else {
            // Trimmed since the script ran: the client starts afresh, and its join replaces the
            // seat.
            self.tally.add("trimmed");
            self.forget(node, session);
            self.ask(node, Some(session), Ask::Detach);
            self.send(session, ToClient::Fresh);
            return;
        };
        for entry in missed.into_iter().filter(|entry| entry.is_for(&reply[1])) {
            self.send(session, ToClient::Event { id: entry.id, event: entry.event });
        }
        self.send(session, ToClient::Resumed);
        self.tally.add("resumed");
        self.go_live(node, session, LogId::parse(&reply[3]).unwrap());
    }

    fn go_live(&mut self, node: usize, session: usize, seen: LogId) {
        let late = self.sessions[session].gap_count != self.nodes[node].gap_count;
        self.sessions[session].phase = Phase::Live;
        self.sessions[session].seen = seen;
        if self.sessions[session].doomed {
            self.close(node, session);
        } else if late && self.rules.gap_during_script {
            self.catch_up(node, session);
        } else {
            self.release(session);
        }
    }

    fn release(&mut self, session: usize) {
        for (id, _, event) in std::mem::take(&mut self.sessions[session].buffer) {
            self.deliver(session, id, event);
        }
    }

    fn deliver(&mut self, session: usize, id: LogId, event: String) {
        let state = &mut self.sessions[session];
        if id <= state.seen && self.rules.seen {
            return;
        }
        state.seen = state.seen.max(id);
        self.send(session, ToClient::Event { id, event });
    }

    pub(crate) fn send(&mut self, session: usize, message: ToClient) {
        let socket = &mut self.sockets[self.sessions[session].socket];
        if socket.server_open {
            socket.down.push_back(message);
        }
    }

    fn forget(&mut self, node: usize, session: usize) {
        self.sessions[session].phase = Phase::Dead;
        self.nodes[node].sessions.retain(|other| *other != session);
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

    /// Handles the next message of a node's subscription.
    pub(crate) fn take_message(&mut self, node: usize) -> bool {
        let Some(message) = self.nodes[node].inbox.pop_front() else { return false };
        let sessions = self.nodes[node].sessions.clone();
        match Envelope::parse(&message).expect("scripts publish envelopes") {
            Envelope::Canary { ms } => self.tick(node, LogId { ms: ms.saturating_sub(1), seq: 0 }),
            Envelope::Drop { handle, .. } | Envelope::Replaced { handle, .. } => {
                if let Some(session) = sessions.into_iter().find(|s| self.sessions[*s].handle == handle.0) {
                    self.close(node, session);
                }
            }
            // No client of the simulation sends ephemeral events.
            Envelope::RoomGone { .. }
            | Envelope::Ephemeral { .. }
            | Envelope::Admitted { .. }
            | Envelope::Probe { .. } => {}
            Envelope::Event { id, room, to, event, .. } => {
                let (id, event) = (LogId { ms: id.0, seq: id.1 }, event.to_owned());
                let (one, except) = match to {
                    Audience::One(handle) => (Some(handle.0), None),
                    Audience::Moderators => panic!("the simulation has no lobby"),
                    Audience::All { except } => (None, except.map(|peer| peer.as_str().to_owned())),
                };
                for session in sessions {
                    let state = &mut self.sessions[session];
                    let wanted = match one {
                        Some(handle) => state.handle == handle,
                        None => state.room == room && except.as_ref() != Some(&state.peer),
                    };
                    if !wanted {
                        continue;
                    }
                    if state.phase == Phase::Live && !state.reading_log {
                        self.deliver(session, id, event.clone());
                    } else if self.rules.buffer {
                        state.buffer.push((id, except.clone(), event.clone()));
                    }
                }
            }
        }
        true
    }

    /// Handles a canary: all events before it are delivered, so clients may move their offset
    /// there.
    fn tick(&mut self, node: usize, offset: LogId) {
        for session in self.nodes[node].sessions.clone() {
            let state = &self.sessions[session];
            if state.phase == Phase::Live && !state.reading_log && offset > state.seen {
                self.send(session, ToClient::Tick { offset });
                self.tally.add("ticked");
            }
        }
    }

    /// Handles a restored subscription: events published meanwhile are in the logs.
    pub(crate) fn resubscribe(&mut self, node: usize) {
        self.tally.add("gaps");
        self.nodes[node].subscribed = true;
        self.nodes[node].gap_count += 1;
        if !self.rules.catch_up {
            return;
        }
        for session in self.nodes[node].sessions.clone() {
            let state = &mut self.sessions[session];
            if state.reading_log {
                state.read_again = true;
            } else if state.phase == Phase::Live {
                self.catch_up(node, session);
            }
        }
    }

    fn catch_up(&mut self, node: usize, session: usize) {
        self.sessions[session].reading_log = true;
        let from = self.sessions[session].seen;
        self.ask(node, Some(session), Ask::Read { from });
    }

    fn caught_up(&mut self, node: usize, session: usize, log: Option<Vec<Entry>>) {
        let state = &mut self.sessions[session];
        state.reading_log = false;
        if state.phase == Phase::Live {
            match log {
                _ if std::mem::take(&mut state.read_again) => self.catch_up(node, session),
                Some(entries) => {
                    let peer = state.peer.clone();
                    for entry in entries.into_iter().filter(|entry| entry.is_for(&peer)) {
                        self.deliver(session, entry.id, entry.event);
                    }
                    self.release(session);
                }
                // The log is trimmed or the seat is not the session's any more: the client starts
                // afresh or resumes.
                None => self.close(node, session),
            }
        }
    }
}
