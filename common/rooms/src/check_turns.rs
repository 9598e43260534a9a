//! Decides in which partitions a node checks its registration and its subscription. Pure.

/// Rounds in which each partition is checked once.
const TURNS: usize = 8;

/// Returns, for each partition of a group, whether it is checked in a round: some on each server,
/// in turn. So a round costs a few checks, each server shows every round that it answers, and each
/// partition is checked within [`TURNS`] rounds. `lanes` has the server of each partition.
#[must_use]
pub fn checked_in(round: u64, lanes: &[usize]) -> Vec<bool> {
    let mut checked = vec![false; lanes.len()];
    for (index, lane) in lanes.iter().enumerate() {
        if lanes[..index].contains(lane) {
            continue;
        }
        let same: Vec<usize> = (index..lanes.len()).filter(|other| lanes[*other] == *lane).collect();
        let turns = same.len().min(TURNS);
        let turn = usize::try_from(round % turns as u64).unwrap_or(0);
        same.into_iter().skip(turn).step_by(turns).for_each(|index| checked[index] = true);
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_checks_some_partition_on_each_server_and_each_partition_has_its_turn() {
        let uneven = [vec![0; 5], vec![1; 11]].concat();
        for lanes in [vec![0; 16], vec![0; 8], uneven, vec![0, 1, 0, 2, 1, 0], vec![3]] {
            let servers: std::collections::BTreeSet<usize> = lanes.iter().copied().collect();
            let mut checks = vec![0; lanes.len()];
            for round in 0..TURNS as u64 {
                let checked = checked_in(round, &lanes);
                let found: Vec<usize> =
                    (0..lanes.len()).filter(|index| checked[*index]).map(|index| lanes[index]).collect();
                assert!(found.len() <= servers.len() + lanes.len() / TURNS);
                assert_eq!(found.into_iter().collect::<std::collections::BTreeSet<_>>(), servers);
                checks.iter_mut().zip(&checked).for_each(|(count, checked)| *count += u32::from(*checked));
            }
            assert!(checks.iter().all(|count| *count >= 1), "{lanes:?}: {checks:?}");
        }
    }
}
