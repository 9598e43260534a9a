//! Makes a failing schedule short. Pure.

/// Maximum number of runs, so that a failed test ends.
const RUNS_MAX: usize = 400;

/// Returns a part of the steps, in order, that still fails: leaves out long stretches first, then
/// shorter ones (Zeller, Hildebrandt: "Simplifying and Isolating Failure-Inducing Input").
pub(super) fn shrink(steps: &[u64], mut fails: impl FnMut(&[u64]) -> bool) -> Vec<u64> {
    let (mut kept, mut runs) = (steps.to_vec(), 0);
    let mut length = kept.len() / 2;
    while length > 0 {
        let mut at = 0;
        while at < kept.len() {
            if runs == RUNS_MAX {
                return kept;
            }
            runs += 1;
            let end = (at + length).min(kept.len());
            let rest = [&kept[..at], &kept[end..]].concat();
            if fails(&rest) {
                kept = rest;
            } else {
                at = end;
            }
        }
        length /= 2;
    }
    kept
}

#[test]
fn a_schedule_shrinks_to_the_steps_that_matter() {
    let steps: Vec<u64> = (0..1000).collect();
    let needed = [3, 500, 998];
    let short = shrink(&steps, |steps| needed.iter().all(|step| steps.contains(step)));
    assert_eq!(short, needed);
    assert!(shrink(&steps, |_| true).is_empty());
    assert_eq!(shrink(&steps, |rest| rest.len() == steps.len()), steps);
}
