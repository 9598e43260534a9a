//! Decides how many sessions a node moves to others. Pure: no clock, no I/O.

/// Sessions above the mean that a node has at least before it moves any.
const EXCESS_MIN: usize = 10;
/// A node begins to move sessions above this part of the mean, in percent.
const BEGIN_PERCENT: usize = 120;
/// A node ends to move sessions at this part of the mean, in percent.
const END_PERCENT: usize = 105;
/// Part of its sessions that a node moves in a step, as a divisor.
const STEP_DIVISOR: usize = 100;
/// Sessions that a node moves before it judges whether that helps.
const TRIAL_MIN: usize = 40;
/// A node gives up if this part of the moved clients comes back to it, in percent. A load balancer
/// that gives each client any node sends at least every fifth to another one.
const RETURNED_PERCENT: usize = 80;
/// Steps for which a node that gave up moves nobody.
const REST_STEPS: u32 = 600;

/// A node's knowledge of its share.
#[derive(Debug)]
pub(super) struct Share {
    /// The node moves sessions unasked.
    automatic: bool,
    /// An operator asked the nodes to move sessions down to the mean.
    asked: bool,
    /// Sessions that the node told the others in its last two exchanges.
    told: [usize; 2],
    /// Sessions above the mean.
    above: usize,
    /// `None` while the load is near the mean.
    moving: Option<Moving>,
    /// Steps until the node may move sessions again.
    resting: u32,
}

/// What a node did since its load was near the mean.
#[derive(Clone, Copy, Debug, Default)]
struct Moving {
    /// Sessions moved.
    moved: usize,
    /// Clients of them that came back to this node.
    returned: usize,
}

/// What a node does in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Nothing.
    Stay,
    /// Move this number of sessions.
    Move(usize),
    /// Nothing for a long time, because those that were moved came back.
    GiveUp,
}

impl Share {
    /// Creates the knowledge of a node that moves sessions unasked, or only when it is asked.
    pub(super) const fn new(automatic: bool) -> Self {
        Self { automatic, asked: false, told: [0; 2], above: 0, moving: None, resting: 0 }
    }

    /// Takes an operator's request to move sessions at once, also for a small difference, and after
    /// the node gave up.
    pub(super) fn ask(&mut self) {
        (self.asked, self.moving, self.resting) = (true, None, 0);
    }

    /// Takes the number of sessions that the node told the others in an exchange.
    pub(super) fn told(&mut self, own: usize) {
        self.told = [self.told[1], own];
    }

    /// Advises a node with this number of sessions, given those of the other nodes.
    pub(super) fn advise(&mut self, own: usize, others: impl Iterator<Item = usize>) -> Advice {
        // The others told their loads up to one exchange ago. While many clients join or leave, a
        // later load of this node would seem to be above those. So the least since then counts.
        let own = self.told.into_iter().fold(own, usize::min);
        let (nodes, total) = others.fold((1, own), |(nodes, total), sessions| (nodes + 1, total + sessions));
        let mean = total.div_ceil(nodes);
        self.above = own.saturating_sub(mean);
        if self.resting > 0 {
            self.resting -= 1;
            return Advice::Stay;
        }
        let goes_on = self.asked || self.moving.is_some();
        let limit = mean * if goes_on { END_PERCENT } else { BEGIN_PERCENT } / 100;
        let is_near = own <= limit || (!goes_on && self.above < EXCESS_MIN);
        if is_near || !(self.automatic || self.asked) {
            (self.asked, self.moving) = (false, None);
            return Advice::Stay;
        }
        // Not the load is judged: it depends on who joins and leaves meanwhile, and on how many of
        // the new nodes have told theirs.
        let Moving { moved, returned } = *self.moving.get_or_insert_default();
        if moved >= TRIAL_MIN && returned * 100 >= moved * RETURNED_PERCENT {
            (self.asked, self.moving, self.resting) = (false, None, REST_STEPS);
            return Advice::GiveUp;
        }
        Advice::Move((own / STEP_DIVISOR).clamp(1, self.above))
    }

    /// Counts moved sessions.
    pub(super) fn moved(&mut self, count: usize) {
        if let Some(moving) = &mut self.moving {
            moving.moved += count;
        }
    }

    /// Counts moved clients that came back to this node.
    pub(super) fn returned(&mut self, count: usize) {
        if let Some(moving) = &mut self.moving {
            moving.returned += count;
        }
    }

    /// Begins anew, because the loads are not known.
    pub(super) fn rest(&mut self) {
        (self.told, self.moving) = ([0; 2], None);
    }

    /// Returns by how many sessions the node is above the mean.
    pub(super) const fn above(&self) -> usize {
        self.above
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps between two exchanges, as in a small cluster.
    const EXCHANGE_STEPS: usize = 5;

    /// A cluster whose nodes know what the others told them.
    struct Nodes {
        loads: Vec<usize>,
        shares: Vec<Share>,
        /// Load that each node told.
        told: Vec<usize>,
        /// What each node has read of `told`.
        known: Vec<Vec<usize>>,
        moved: usize,
        given_up: usize,
    }

    impl Nodes {
        /// Creates nodes that have exchanged their loads.
        fn new(loads: &[usize]) -> Self {
            let shares = loads.iter().map(|load| Share { told: [*load; 2], ..Share::new(true) }).collect();
            let (told, known) = (loads.to_vec(), vec![loads.to_vec(); loads.len()]);
            Self { loads: told.clone(), shares, told, known, moved: 0, given_up: 0 }
        }

        /// Starts nodes without sessions.
        fn add(&mut self, count: usize) {
            for _ in 0..count {
                self.loads.push(0);
                self.shares.push(Share::new(true));
                self.told.push(0);
                self.known.push(Vec::new());
            }
        }

        /// Plays steps of all nodes. In each, `joins` clients join. Each of them, and each moved
        /// session, goes to the node that `next` chooses, given the one it was moved from.
        fn play(&mut self, steps: usize, joins: usize, mut next: impl FnMut(Option<usize>, &[usize]) -> usize) {
            for step in 0..steps {
                for _ in 0..joins {
                    let to = next(None, &self.loads);
                    self.loads[to] += 1;
                }
                for node in 0..self.loads.len() {
                    let own = self.loads[node];
                    if (step + node) % EXCHANGE_STEPS == 0 {
                        self.told[node] = own;
                        self.shares[node].told(own);
                        self.known[node].clone_from(&self.told);
                    }
                    let others = self.known[node].iter().enumerate().filter(|(other, _)| *other != node);
                    let advice = self.shares[node].advise(own, others.map(|(_, load)| *load));
                    self.given_up += usize::from(advice == Advice::GiveUp);
                    let Advice::Move(count) = advice else { continue };
                    self.shares[node].moved(count);
                    self.moved += count;
                    for _ in 0..count {
                        self.loads[node] -= 1;
                        let to = next(Some(node), &self.loads);
                        self.loads[to] += 1;
                        self.shares[node].returned(usize::from(to == node));
                    }
                }
            }
        }

        fn assert_balanced(&self) {
            let mean = self.loads.iter().sum::<usize>() / self.loads.len();
            assert!(self.loads.iter().all(|load| load.abs_diff(mean) * 5 <= mean), "{:?}", self.loads);
        }
    }

    /// A load balancer that takes the nodes in turn.
    fn in_turn() -> impl FnMut(Option<usize>, &[usize]) -> usize {
        let mut turn = 0;
        move |_, loads| {
            turn += 1;
            turn % loads.len()
        }
    }

    /// A load balancer that knows the least loaded node.
    fn least_loaded(_: Option<usize>, loads: &[usize]) -> usize {
        (0..loads.len()).min_by_key(|node| loads[*node]).unwrap_or(0)
    }

    #[test]
    fn three_nodes_that_become_six_share_their_sessions_within_three_minutes() {
        let mut nodes = Nodes::new(&[1000, 1000, 1000, 0, 0, 0]);
        nodes.play(180, 0, in_turn());
        nodes.assert_balanced();
        let mut nodes = Nodes::new(&[1000, 1000, 1000, 0, 0, 0]);
        nodes.play(180, 0, least_loaded);
        nodes.assert_balanced();
        assert!(nodes.moved <= 1500, "{}", nodes.moved);
    }

    #[test]
    fn clients_that_join_are_not_taken_for_those_that_come_back() {
        for joins in [6, 30, 60, 300] {
            let mut nodes = Nodes::new(&[1000, 1000, 1000, 0, 0, 0]);
            nodes.play(180, joins, in_turn());
            assert_eq!(nodes.given_up, 0, "{joins} joins in each step");
            nodes.assert_balanced();
        }
    }

    #[test]
    fn nodes_that_start_one_after_the_other_and_calls_that_end_elsewhere_are_no_reason_to_give_up() {
        // The first of the new nodes tells its load seconds before the others.
        let mut nodes = Nodes::new(&[1000, 1000, 1000, 0]);
        nodes.play(15, 0, in_turn());
        nodes.add(2);
        nodes.play(180, 0, in_turn());
        assert_eq!(nodes.given_up, 0);
        nodes.assert_balanced();
        // The mean falls as fast as the node moves clients, so that its excess stays.
        let mut nodes = Nodes::new(&[1000, 600, 600]);
        for _ in 0..6 {
            nodes.play(EXCHANGE_STEPS, 0, in_turn());
            nodes.loads[1] = nodes.loads[1].saturating_sub(75);
            nodes.loads[2] = nodes.loads[2].saturating_sub(75);
        }
        nodes.play(180, 0, in_turn());
        assert_eq!(nodes.given_up, 0);
        nodes.assert_balanced();
    }

    #[test]
    fn nobody_is_moved_while_many_join_all_nodes() {
        for (joins, nodes) in [(3, 3), (60, 3), (200, 3), (1000, 3), (50, 2), (600, 6)] {
            let mut nodes = Nodes::new(&vec![0; nodes]);
            nodes.play(60, joins, in_turn());
            assert_eq!(nodes.moved, 0, "{joins} joins in each step, {:?}", nodes.loads);
        }
    }

    #[test]
    fn a_balanced_cluster_keeps_still() {
        for loads in [vec![100, 110, 95], vec![0, 0, 5], vec![9, 0], vec![1000], vec![0, 0], vec![1190, 800, 1000]] {
            let mut nodes = Nodes::new(&loads);
            nodes.play(100, 0, |node, _| node.unwrap_or(0));
            assert_eq!(nodes.moved, 0, "{loads:?}");
        }
    }

    #[test]
    fn a_node_gives_up_when_those_that_it_moved_come_back() {
        for joins in [0, 10] {
            let mut nodes = Nodes::new(&[1000, 0]);
            // Clients stick to their node, and those who join find the first one only.
            nodes.play(REST_STEPS as usize, joins, |node, _| node.unwrap_or(0));
            assert!(nodes.given_up == 1 && nodes.moved <= 2 * TRIAL_MIN, "{} moved, {joins} joins", nodes.moved);
        }
        let mut share = Share { resting: REST_STEPS, told: [1000; 2], ..Share::new(true) };
        for _ in 0..REST_STEPS {
            assert_eq!(share.advise(1000, [0].into_iter()), Advice::Stay);
        }
        assert!(matches!(share.advise(1000, [0].into_iter()), Advice::Move(_)));
    }

    #[test]
    fn an_operator_asks_once_for_an_even_load() {
        let mut share = Share { told: [1000; 2], ..Share::new(false) };
        assert_eq!(share.advise(1000, [0].into_iter()), Advice::Stay);
        share.ask();
        // Too little for a node that acts unasked.
        let mut loads = [117, 100];
        while let Advice::Move(count) = share.advise(loads[0], [loads[1]].into_iter()) {
            loads = [loads[0] - count, loads[1] + count];
        }
        assert_eq!(loads, [114, 103]);
        assert_eq!(share.advise(1000, [0].into_iter()), Advice::Stay);
    }

    #[test]
    fn a_node_waits_for_two_exchanges_before_it_moves_anybody() {
        let mut share = Share::new(true);
        share.told(1000);
        assert_eq!(share.advise(1000, [0].into_iter()), Advice::Stay);
        share.told(1000);
        assert!(matches!(share.advise(1000, [0].into_iter()), Advice::Move(_)));
        share.rest();
        assert_eq!(share.advise(1000, [0].into_iter()), Advice::Stay, "the loads are not known");
    }
}
