//! The end of a run: no more faults, and all pending work is done.

use super::world::{Ask, CLIENTS, NODES, ToServer, World};

impl World {
    /// Ends all faults and runs until no work is pending.
    pub(crate) fn settle(&mut self) {
        for node in 0..NODES {
            self.nodes[node].paused = false;
            if self.nodes[node].alive {
                self.ask(node, None, Ask::Beat);
                // In two steps.
                self.repair_subscription(node);
                self.repair_subscription(node);
            }
        }
        let mut quiet = 0;
        for _ in 0..500 {
            if self.settle_round() {
                quiet = 0;
                continue;
            }
            for member in self.store.deadlines() {
                self.store.expire(&member);
            }
            self.collect();
            quiet += 1;
            if quiet == 3 {
                return;
            }
        }
        self.violations.push("the cluster did not settle".to_owned());
    }

    /// Does all pending work once. Returns whether there was any.
    fn settle_round(&mut self) -> bool {
        let mut busy = false;
        for node in (0..NODES).filter(|node| self.nodes[*node].alive).collect::<Vec<_>>() {
            while self.take_message(node) {
                busy = true;
            }
            while self.execute(node) {
                self.collect();
                busy = true;
            }
            while self.take_answer(node) {
                busy = true;
            }
        }
        for socket in 0..self.sockets.len() {
            if !self.sockets[socket].server_open {
                continue;
            }
            if std::mem::take(&mut self.sockets[socket].half_open) {
                self.sockets[socket].up.push_back(ToServer::Eof);
            }
            while self.sockets[socket].server_open && !self.sockets[socket].up.is_empty() {
                self.server_receives(socket);
                busy = true;
            }
        }
        for client in 0..CLIENTS {
            if self.clients[client].socket.is_none() {
                busy |= self.dial(client);
            }
            while self.client_receives(client) {
                busy = true;
            }
            busy |= self.client_notices(client);
        }
        for (node, beat) in self.store.heartbeats() {
            if !self.nodes.iter().any(|other| other.alive && other.id == node) {
                self.sweep(&node, &beat);
                busy = true;
            }
        }
        self.sweep_strays();
        self.adopt_sweeps();
        while !self.sweeps.is_empty() {
            self.sweep_some();
            busy = true;
        }
        self.collect();
        busy
    }
}
