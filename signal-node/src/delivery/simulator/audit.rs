//! Rules that every run must keep, whatever faults it had.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use redis::cmd;
use switchboard_core::domain::RoomId;
use switchboard_rooms::seat::SeatText;

use super::Outcome;
use super::store::P;
use super::world::World;

impl World {
    /// Returns the violations of a settled run.
    pub(crate) fn audit(mut self) -> Outcome {
        let rooms: Vec<RoomId> = self.store.logs.keys().cloned().collect();
        for room in &rooms {
            self.audit_log(room);
            self.audit_lives(room);
            self.audit_seats(room);
            self.audit_order(room);
        }
        self.audit_lists(&rooms);
        if !self.lossy {
            self.audit_facts(&rooms);
        }
        Outcome { violations: self.violations, tally: self.tally, trace: self.trace }
    }

    /// Checks that every acknowledged event is logged, none twice, and that the events of one
    /// presence are in the order in which the client sent them.
    fn audit_log(&mut self, room: &RoomId) {
        let mut times: HashMap<&str, u32> = HashMap::new();
        let mut last: HashMap<&str, u64> = HashMap::new();
        for entry in &self.store.logs[room] {
            if !self.sent.contains_key(&entry.event) {
                continue;
            }
            *times.entry(&entry.event).or_default() += 1;
            let (start, number) = entry.event.rsplit_once(',').unwrap();
            let (_, life) = start.rsplit_once(',').unwrap();
            let number = number.parse().unwrap();
            if last.insert(life, number).is_some_and(|before| before >= number) {
                self.violations.push(format!("{} was logged out of order", entry.event));
            }
        }
        for (event, (client, acknowledged)) in self.sent.iter().filter(|(_, (c, _))| self.clients[*c].room == *room) {
            match times.get(event.as_str()) {
                None if *acknowledged => {
                    self.violations.push(format!("{event} of {client} was acknowledged and is not logged"))
                }
                Some(times) if *times > 1 => self.violations.push(format!("{event} was logged {times} times")),
                _ => {}
            }
        }
    }

    /// Checks that each client received exactly the log's events for it, from its join to its end.
    fn audit_lives(&mut self, room: &RoomId) {
        for life in self.lives.iter().filter(|life| self.clients[life.client].room == *room) {
            let log = &self.store.logs[room];
            let wanted = log.iter().filter(|entry| entry.id > life.start && entry.is_for(&life.peer));
            let wanted: Vec<_> = wanted.map(|entry| (entry.id, &*entry.event)).collect();
            let got: Vec<_> = life.got.iter().map(|(id, event)| (*id, &**event)).collect();
            if self.lossy {
                // Events that Redis lost cannot be delivered. All others come once and in order.
                let mut rest = wanted.iter();
                if let Some(unexpected) = got.iter().find(|event| !rest.any(|wanted| wanted == *event)) {
                    self.violations.push(format!("client {} got {unexpected:?} out of order, or twice", life.client));
                }
                continue;
            }
            let same = wanted.iter().zip(&got).take_while(|(wanted, got)| wanted == got).count();
            if same < got.len() || (!life.over && same < wanted.len()) {
                let (client, wanted, got) = (life.client, wanted.get(same), got.get(same));
                self.violations.push(format!("client {client} should have got {wanted:?} and got {got:?}"));
            }
        }
    }

    /// Checks that the seats are those of the present clients, each on its node, and the counts.
    fn audit_seats(&mut self, room: &RoomId) {
        let fields: BTreeMap<String, String> = self.store.query(cmd("HGETALL").arg(self.store.keys.room(P, room)));
        let of_kind = |kind: &str| -> BTreeSet<String> {
            fields.keys().filter_map(|field| field.strip_prefix(kind)).map(str::to_owned).collect()
        };
        let seats = of_kind("s:");
        let living = |life: &&super::world::Life| !life.over && self.clients[life.client].room == *room;
        let living: BTreeSet<String> = self.lives.iter().filter(living).map(|life| life.peer.clone()).collect();
        if seats != living {
            self.violations.push(format!("{room} has the seats {seats:?} for {living:?}"));
        }
        for kind in ["i:", "v:"] {
            if of_kind(kind) != seats {
                self.violations.push(format!("{room} has {kind} for {:?}, seats {seats:?}", of_kind(kind)));
            }
        }
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for peer in &seats {
            let Some(node) = SeatText::parse(&fields[&format!("s:{peer}")]).unwrap().node else {
                self.violations.push(format!("{peer} in {room} has no socket"));
                continue;
            };
            *counts.entry(node).or_default() += 1;
        }
        let mut stored: Vec<_> = fields.get("nodes").map_or("", |nodes| nodes).split_whitespace().collect();
        stored.sort_unstable();
        let counted: Vec<_> = counts.iter().map(|(node, count)| format!("{node}:{count}")).collect();
        if stored != counted {
            self.violations.push(format!("{room} counts {stored:?} for {counted:?}"));
        }
        if fields["n"] != seats.len().to_string() {
            self.violations.push(format!("{room} counts {} seats of {}", fields["n"], seats.len()));
        }
    }

    /// Checks that the order of succession has exactly the seats, by role and arrival.
    fn audit_order(&mut self, room: &RoomId) {
        let fields: BTreeMap<String, String> = self.store.query(cmd("HGETALL").arg(self.store.keys.room(P, room)));
        let seats = fields.iter().filter_map(|(field, seat)| Some((field.strip_prefix("s:")?, seat)));
        let seats = seats.map(|(peer, seat)| (SeatText::parse(seat).unwrap(), peer.to_owned()));
        let mut wanted: Vec<_> = seats.map(|(seat, peer)| (Reverse(seat.role), seat.join, peer)).collect();
        wanted.sort();
        let wanted: Vec<String> = wanted.into_iter().map(|(.., peer)| peer).collect();
        let order: Vec<String> = self.store.query(cmd("ZRANGE").arg(self.store.keys.order(P, room)).arg(0).arg(-1));
        if order != wanted {
            self.violations.push(format!("{room} has the order {order:?} for {wanted:?}"));
        }
    }

    /// Checks that the nodes' sets name exactly the seats, and that no sweep or deadline is left.
    fn audit_lists(&mut self, rooms: &[RoomId]) {
        let mut seated: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for room in rooms {
            let fields: BTreeMap<String, String> = self.store.query(cmd("HGETALL").arg(self.store.keys.room(P, room)));
            for (peer, seat) in fields.iter().filter_map(|(field, seat)| Some((field.strip_prefix("s:")?, seat))) {
                let seat = SeatText::parse(seat).unwrap();
                let node = seat.node.unwrap_or("-").to_owned();
                seated.entry(node).or_default().insert(format!("{room} {peer} {}", seat.generation));
            }
        }
        let keys: Vec<String> = self.store.query(cmd("KEYS").arg("*"));
        let start = self.store.keys.on(P, "");
        let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for key in &keys {
            if let Some(node) = key.strip_prefix(&start) {
                listed.insert(node.to_owned(), self.store.members(key).into_iter().collect());
            } else if key.contains(":dead:") || key.ends_with(":sweeps") {
                self.violations.push(format!("{key} is left"));
            }
        }
        if listed != seated {
            self.violations.push(format!("nodes list {listed:?} for {seated:?}"));
        }
        let mut living: Vec<String> = self.nodes.iter().filter(|node| node.alive).map(|node| node.id.clone()).collect();
        living.sort_unstable();
        for nodes in [self.store.heartbeats(), self.store.registrations()] {
            let listed: Vec<String> = nodes.into_keys().collect();
            if listed != living {
                self.violations.push(format!("the nodes {listed:?} are listed, and {living:?} live"));
            }
        }
        let due = self.store.deadlines();
        if !due.is_empty() {
            self.violations.push(format!("deadlines are left: {due:?}"));
        }
    }

    /// Checks that the outbox has one `joined` and one `left` fact for each presence, with the
    /// right counts.
    fn audit_facts(&mut self, rooms: &[RoomId]) {
        type Facts = Vec<(String, HashMap<String, String>)>;
        let facts: Facts = self.store.query(cmd("XRANGE").arg(self.store.keys.outbox(P)).arg("-").arg("+"));
        for room in rooms {
            let mut open: BTreeSet<(String, String)> = BTreeSet::new();
            let mut begun = BTreeSet::new();
            for (id, fact) in facts.iter().filter(|(_, fact)| fact["r"] == room.as_str()) {
                let presence = (fact["p"].clone(), fact["j"].clone());
                let right = match &*fact["k"] {
                    "joined" => begun.insert(presence.clone()) && open.insert(presence),
                    "left" => open.remove(&presence),
                    _ => continue,
                };
                if !right || fact["n"] != open.len().to_string() {
                    self.violations
                        .push(format!("the fact {id} of {room} makes no sense: {fact:?}, there are {}", open.len()));
                }
            }
            let fields: BTreeMap<String, String> = self.store.query(cmd("HGETALL").arg(self.store.keys.room(P, room)));
            let seats = fields.iter().filter_map(|(field, seat)| Some((field.strip_prefix("s:")?, seat)));
            let present = seats.map(|(peer, seat)| (peer.to_owned(), seat.split(' ').nth(5).unwrap().to_owned()));
            let present: BTreeSet<_> = present.collect();
            if present != open {
                self.violations.push(format!("facts leave {open:?} in {room}, where {present:?} are"));
            }
        }
    }
}
