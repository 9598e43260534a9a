//! Faults, and the cluster's reaction to them.

use super::store::P;
use super::world::{Ask, Node, Sweep, ToServer, World};

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
                let heartbeats = self.store.heartbeats();
                let suspects: Vec<_> = heartbeats
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

    /// Declares a node dead, as a node that watches it does.
    pub(crate) fn sweep(&mut self, node: &str, beat: &str) {
        // Read before, because the node registers again only after it was declared dead.
        let registration = self.store.registrations().remove(node);
        if self.store.declare_dead(node, beat) {
            let name = format!("{node}:{}", self.fresh());
            self.sweeps.push(Sweep { node: node.to_owned(), name, registration });
        }
    }

    /// Does one step of a sweep: removes the registration, sweeps one seat, or ends the sweep. The
    /// node that sweeps may die before any of them.
    pub(crate) fn sweep_some(&mut self) {
        if self.sweeps.is_empty() {
            return;
        }
        let index = self.rng.below(self.sweeps.len());
        if self.rng.chance(50) {
            self.tally.add("abandoned");
            self.sweeps.remove(index);
            return;
        }
        let Sweep { node, name, registration } = &mut self.sweeps[index];
        let (node, name) = (node.clone(), name.clone());
        if let Some(registration) = registration.take() {
            return self.store.sweep_start(&node, &registration, &name);
        }
        let key = self.store.keys.dead(P, &name);
        match self.store.members(&key).first() {
            Some(member) => self.store.sweep_one(member, &node, &name),
            None => {
                self.store.leave_ring(&node);
                self.sweeps.remove(index);
            }
        }
    }

    /// Sweeps the dead nodes that are registered and on no ring, as the maintainer of the partition
    /// does: Redis lost its data between the two steps of their registration.
    pub(crate) fn sweep_strays(&mut self) {
        let heartbeats = self.store.heartbeats();
        for (node, registration) in self.store.registrations() {
            let lives = self.nodes.iter().any(|other| other.alive && other.id == node);
            if !lives && !heartbeats.contains_key(&node) {
                self.tally.add("stray");
                let name = format!("{node}:{}", self.fresh());
                self.store.sweep_start(&node, &registration, &name);
                self.sweeps.push(Sweep { node, name, registration: None });
            }
        }
    }

    /// Continues the sweeps whose nodes died, as every sweep and the maintainer of the partition
    /// do.
    pub(crate) fn adopt_sweeps(&mut self) {
        let key = self.store.keys.sweeps(P);
        for name in self.store.members(&key) {
            if !self.sweeps.iter().any(|sweep| sweep.name == name) {
                let node = name.split(':').next().unwrap_or_default().to_owned();
                self.sweeps.push(Sweep { node, name, registration: None });
            }
        }
    }
}
