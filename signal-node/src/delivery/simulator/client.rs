//! Actions of clients, and what the transport of a node sees of them.

use switchboard_socketio::send_queue::{SendQueue, SendQueueLimits};

use super::store::P;
use super::world::{Ask, Life, Phase, Place, Session, Socket, ToClient, ToServer, World};

impl World {
    /// Opens a client's socket to a random node.
    pub(crate) fn dial(&mut self, client: usize) -> bool {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].runs()).collect();
        let Some(node) = self.rng.pick(&up) else { return false };
        let state = &mut self.clients[client];
        let connect = ToServer::Connect { pid: state.pid.clone(), offset: state.offset };
        state.socket = Some(self.sockets.len());
        state.place = Place::Joining;
        self.sockets.push(Socket {
            client,
            node,
            server_open: true,
            client_open: true,
            half_open: false,
            up: [connect].into(),
            down: [].into(),
            session: None,
        });
        true
    }

    /// Handles the next message of a client's socket.
    pub(crate) fn client_receives(&mut self, client: usize) -> bool {
        let Some(socket) = self.clients[client].socket else { return false };
        let Some(message) = self.sockets[socket].down.pop_front() else { return false };
        let state = &mut self.clients[client];
        match message {
            ToClient::Fresh => {
                if let Some(pid) = state.pid.take() {
                    state.old_pid = Some(pid);
                }
                self.end_life(client);
                self.join(client, socket);
            }
            ToClient::Joined { id, peer, pid } => {
                (state.pid, state.old_pid, state.offset, state.place) = (Some(pid), None, id, Place::In);
                state.life = Some(self.lives.len());
                self.lives.push(Life { client, peer, start: id, got: Vec::new(), over: false });
            }
            ToClient::Resumed => state.place = Place::In,
            ToClient::Event { id, event } => {
                if let Some(life) = state.life {
                    state.offset = id;
                    self.lives[life].got.push((id, event));
                    self.tally.add("delivered");
                }
            }
            ToClient::Tick { offset } => {
                if state.life.is_some() {
                    state.offset = offset;
                }
            }
            ToClient::Ack => {}
        }
        true
    }

    fn join(&mut self, client: usize, socket: usize) {
        let pid = format!("pid-{}", self.fresh());
        let old = self.clients[client].old_pid.clone();
        self.clients[client].place = Place::Joining;
        self.sockets[socket].up.push_back(ToServer::Join { pid, old });
    }

    fn end_life(&mut self, client: usize) {
        if let Some(life) = self.clients[client].life.take() {
            self.lives[life].over = true;
        }
    }

    /// Lets a client notice that the server closed its socket.
    pub(crate) fn client_notices(&mut self, client: usize) -> bool {
        let Some(socket) = self.clients[client].socket else { return false };
        let socket = &mut self.sockets[socket];
        if socket.server_open || !socket.down.is_empty() {
            return false;
        }
        socket.client_open = false;
        self.clients[client].socket = None;
        true
    }

    /// Runs one random action of a client.
    pub(crate) fn client_acts(&mut self, client: usize) {
        let Some(socket) = self.clients[client].socket else {
            if self.rng.chance(600) {
                self.dial(client);
            }
            return;
        };
        match (self.clients[client].place, self.rng.below(1000)) {
            (Place::In, 0..910) => self.client_sends(client, socket),
            (Place::In, 910..935) => {
                self.end_life(client);
                self.clients[client].pid = None;
                self.clients[client].place = Place::Out;
                self.sockets[socket].up.push_back(ToServer::Leave);
            }
            (Place::Out, 0..500) => self.join(client, socket),
            (Place::In | Place::Joining, 935..) => self.client_loses(client, socket),
            _ => {}
        }
    }

    fn client_sends(&mut self, client: usize, socket: usize) {
        let others: Vec<String> = (0..self.clients.len())
            .filter(|other| *other != client && self.clients[*other].room == self.clients[client].room)
            .filter_map(|other| Some(self.lives[self.clients[other].life?].peer.clone()))
            .collect();
        let to = if self.rng.chance(600) { self.rng.pick(&others) } else { None };
        let Some(life) = self.clients[client].life else { return };
        // As candidates are: several at once for one peer.
        let count = if to.is_some() && self.rng.chance(200) { 4 } else { 1 };
        for _ in 0..count {
            self.clients[client].sent += 1;
            let event = format!(r#""e{}",{life},{}"#, self.fresh(), self.clients[client].sent);
            self.sent.insert(event.clone(), (client, false));
            self.sockets[socket].up.push_back(ToServer::Send { to: to.clone(), event });
        }
    }

    /// Breaks a socket. The server learns it soon, or late.
    fn client_loses(&mut self, client: usize, socket: usize) {
        let state = &mut self.sockets[socket];
        state.client_open = false;
        state.down.clear();
        self.clients[client].socket = None;
        if self.rng.chance(700) {
            self.sockets[socket].up.push_back(ToServer::Eof);
        } else {
            self.sockets[socket].half_open = true;
        }
        if self.rng.chance(700) {
            self.dial(client);
        }
    }

    /// Handles the next message of a node's socket.
    pub(crate) fn server_receives(&mut self, socket: usize) {
        let Some(message) = self.sockets[socket].up.pop_front() else { return };
        let (node, session) = (self.sockets[socket].node, self.sockets[socket].session);
        match message {
            ToServer::Connect { pid: Some(pid), offset } => {
                let patient = self.rng.chance(500);
                self.open_session(node, socket, Ask::Attach { pid, offset, patient });
            }
            ToServer::Connect { pid: None, .. } => self.sockets[socket].down.push_back(ToClient::Fresh),
            ToServer::Join { pid, old } => self.open_session(node, socket, Ask::Join { pid, old }),
            ToServer::Send { to, event } => {
                if let Some(session) = session.filter(|session| self.sessions[*session].phase == Phase::Live) {
                    self.ask(node, Some(session), Ask::Send { to, event, number: 0 });
                }
            }
            ToServer::Leave => {
                if let Some(session) = session {
                    self.leave(node, session);
                }
            }
            ToServer::Eof => {
                self.sockets[socket].server_open = false;
                if let Some(session) = session {
                    self.close(node, session);
                }
            }
        }
    }

    /// Registers a session before its script runs, so that it misses no event.
    fn open_session(&mut self, node: usize, socket: usize, ask: Ask) {
        let (send_queue, queue) = SendQueue::detached(SendQueueLimits { bytes: 1 << 30, messages: 1 << 20 });
        let room = self.clients[self.sockets[socket].client].room.clone();
        let session = Session {
            link: self.nodes[node].hub.register(P, room, send_queue),
            queue,
            socket,
            seat: None,
            phase: Phase::Pending,
            doomed: false,
        };
        self.sockets[socket].session = Some(self.sessions.len());
        self.nodes[node].sessions.push(self.sessions.len());
        self.ask(node, Some(self.sessions.len()), ask);
        self.sessions.push(session);
    }
}
