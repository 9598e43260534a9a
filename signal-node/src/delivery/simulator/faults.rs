//! Faults, and the cluster's reaction to them.

use super::store::P;
use super::world::{Ask, Node, ToServer, World};

impl World {
    pub(crate) fn fault(&mut self, node: usize) {
        let (alive, paused) = (self.nodes[node].alive, self.nodes[node].paused);
        match self.rng.below(100) {
            0..25 if alive && !paused => self.ask(node, None, Ask::Beat),
            25..33 if alive && !paused => {
                self.tally.add("paused");
                self.nodes[node].paused = true;
                self.nodes[node].on_wire = self.rng.below(4);
            }
            25..48 if alive && paused => {
                self.nodes[node].paused = false;
                self.ask(node, None, Ask::Beat);
            }
            48..52 if alive && self.nodes.iter().filter(|other| other.alive).count() > 1 => self.kill(node),
            52..58 if !alive => self.boot(node),
            58..70 => {
                // A paused node may be declared dead by mistake.
                let registered = self.store.registered();
                let suspects: Vec<_> = registered
                    .into_iter()
                    .filter(|(id, _)| !self.nodes.iter().any(|other| other.runs() && other.id == *id))
                    .collect();
                if let Some((id, count)) = self.rng.pick(&suspects) {
                    self.sweep(&id, &count);
                }
            }
            70..80 => self.sweep_some(),
            80..84 => {
                let due = self.store.deadlines();
                if let Some(member) = self.rng.pick(&due) {
                    self.tally.add("expired");
                    self.store.expire(&member);
                }
            }
            84..92 if alive && !paused && self.nodes[node].subscribed => self.lose_subscription(node),
            84..92 if alive && !paused => self.repair_subscription(node),
            92..96 if alive && !paused => self.cut_lane(node),
            96..98 if self.lossy => self.store.lose(),
            96.. => {
                let silent: Vec<usize> = self.sockets_of(node).filter(|s| self.sockets[*s].half_open).collect();
                if let Some(socket) = self.rng.pick(&silent) {
                    self.sockets[socket].half_open = false;
                    self.sockets[socket].up.push_back(ToServer::Eof);
                }
            }
            _ => {}
        }
    }

    /// Kills a node. Only Redis and the clients keep its state.
    fn kill(&mut self, node: usize) {
        self.tally.add("killed");
        for socket in self.sockets_of(node).collect::<Vec<_>>() {
            self.sockets[socket].server_open = false;
            self.sockets[socket].down.clear();
        }
        self.nodes[node] = Node::new(self.nodes[node].id.clone(), false);
    }

    /// Breaks a node's connection to Redis. Unanswered requests are sent again in order, before the
    /// rest.
    fn cut_lane(&mut self, node: usize) {
        self.tally.add("cut");
        while let Some((call, _)) = self.nodes[node].answers.pop_back() {
            self.nodes[node].lane.push_front(call);
        }
    }

    /// Declares a node dead, as an observer does.
    pub(crate) fn sweep(&mut self, node: &str, count: &str) {
        let sweep = format!("{node}:{}", self.fresh());
        if self.store.sweep_start(node, count, &sweep)[0] == "OK" {
            self.sweeps.push((node.to_owned(), sweep));
        }
    }

    /// Sweeps one seat of a dead node, or ends its sweep.
    pub(crate) fn sweep_some(&mut self) {
        if self.sweeps.is_empty() {
            return;
        }
        let index = self.rng.below(self.sweeps.len());
        let (node, sweep) = self.sweeps[index].clone();
        let key = self.store.keys.dead(P, &sweep);
        match self.store.members(&key).first() {
            Some(member) => self.store.sweep_one(member, &node, &sweep),
            None => drop(self.sweeps.remove(index)),
        }
    }
}
