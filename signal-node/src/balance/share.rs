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
/// Steps for which a node that gave up moves nobody.
const REST_STEPS: u32 = 600;

/// A node's knowledge of its share.
#[derive(Debug)]
pub(super) struct Share {
    /// The node moves sessions unasked.
    automatic: bool,
    /// An operator asked the nodes to move sessions down to the mean.
    asked: bool,
    mean: usize,
    /// Moving since this number of sessions; `None` while the load is near the mean.
    from: Option<usize>,
    /// Sessions moved since then.
    moved: usize,
    /// Steps until the node may move sessions again.
    resting: u32,
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
        Self { automatic, asked: false, mean: 0, from: None, moved: 0, resting: 0 }
    }

    /// Takes an operator's request to move sessions at once, also for a small difference, and after
    /// the node gave up.
    pub(super) fn ask(&mut self) {
        (self.asked, self.from, self.moved, self.resting) = (true, None, 0, 0);
    }

    /// Advises a node with this number of sessions, given those of the other nodes.
    pub(super) fn advise(&mut self, own: usize, others: impl Iterator<Item = usize>) -> Advice {
        let (nodes, total) = others.fold((1, own), |(nodes, total), sessions| (nodes + 1, total + sessions));
        self.mean = total.div_ceil(nodes);
        if self.resting > 0 {
            self.resting -= 1;
            return Advice::Stay;
        }
        let goes_on = self.asked || self.from.is_some();
        let limit = self.mean * if goes_on { END_PERCENT } else { BEGIN_PERCENT } / 100;
        let is_near = own <= limit || (!goes_on && self.above(own) < EXCESS_MIN);
        if is_near || !(self.automatic || self.asked) {
            (self.asked, self.from, self.moved) = (false, None, 0);
            return Advice::Stay;
        }
        let from = *self.from.get_or_insert(own);
        // A balancer that gives each client any node moves at least every fifth to another one,
        // unless there are very many nodes above their share.
        if self.moved >= TRIAL_MIN.max(from / 2) && own + self.moved / 10 > from {
            (self.asked, self.from, self.moved, self.resting) = (false, None, 0, REST_STEPS);
            return Advice::GiveUp;
        }
        Advice::Move((own / STEP_DIVISOR).clamp(1, self.above(own)))
    }

    /// Counts moved sessions.
    pub(super) fn moved(&mut self, count: usize) {
        self.moved += count;
    }

    /// Begins anew, because the loads are not known.
    pub(super) fn rest(&mut self) {
        (self.from, self.moved) = (None, 0);
    }

    /// Returns by how many sessions the node is above the mean.
    pub(super) fn above(&self, own: usize) -> usize {
        own.saturating_sub(self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `steps` steps of all nodes; each moved session goes to the node that `next` chooses.
    /// Returns the number of moved sessions.
    fn play(loads: &mut [usize], steps: usize, mut next: impl FnMut(usize, &[usize]) -> usize) -> usize {
        let mut shares: Vec<Share> = loads.iter().map(|_| Share::new(true)).collect();
        let mut moved = 0;
        for _ in 0..steps {
            let seen = loads.to_vec();
            for (node, share) in shares.iter_mut().enumerate() {
                let others = seen.iter().enumerate().filter(|(other, _)| *other != node).map(|(_, load)| *load);
                if let Advice::Move(count) = share.advise(loads[node], others) {
                    share.moved(count);
                    moved += count;
                    for _ in 0..count {
                        loads[node] -= 1;
                        loads[next(node, loads)] += 1;
                    }
                }
            }
        }
        moved
    }

    fn assert_balanced(loads: &[usize]) {
        let mean = loads.iter().sum::<usize>() / loads.len();
        assert!(loads.iter().all(|load| load.abs_diff(mean) * 5 <= mean), "{loads:?}");
    }

    #[test]
    fn three_nodes_that_become_six_share_their_sessions_within_three_minutes() {
        let mut loads = [1000, 1000, 1000, 0, 0, 0];
        let mut turn = 0;
        play(&mut loads, 180, |_, loads| {
            turn += 1;
            turn % loads.len()
        });
        assert_balanced(&loads);
        // A balancer that knows the least loaded node needs fewer moves.
        let mut loads = [1000, 1000, 1000, 0, 0, 0];
        let moved = play(&mut loads, 180, |_, loads| (0..6).min_by_key(|node| loads[*node]).unwrap_or(0));
        assert_balanced(&loads);
        assert!(moved <= 1500, "{moved}");
    }

    #[test]
    fn a_balanced_cluster_keeps_still() {
        for mut loads in [vec![100, 110, 95], vec![0, 0, 5], vec![9, 0], vec![1000], vec![0, 0], vec![1190, 800, 1000]]
        {
            assert_eq!(play(&mut loads, 100, |node, _| node), 0, "{loads:?}");
        }
    }

    #[test]
    fn a_node_gives_up_when_those_that_it_moved_come_back() {
        let mut share = Share::new(true);
        let mut moved = 0;
        loop {
            match share.advise(1000, [0].into_iter()) {
                Advice::Move(count) => {
                    share.moved(count);
                    moved += count;
                }
                Advice::GiveUp => break,
                Advice::Stay => panic!("the node is above its share"),
            }
        }
        assert!(moved <= 520, "{moved}");
        for _ in 0..REST_STEPS {
            assert_eq!(share.advise(1000, [0].into_iter()), Advice::Stay);
        }
        assert!(matches!(share.advise(1000, [0].into_iter()), Advice::Move(_)));
    }

    #[test]
    fn an_operator_asks_once_for_an_even_load() {
        let mut share = Share::new(false);
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
}
