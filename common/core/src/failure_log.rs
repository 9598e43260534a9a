//! Decides which repeated failures are logged, so that each cause is logged once and none is hidden
//! by the lines of another.
//!
//! | failure | outcome |
//! |---|---|
//! | a new reason | logged |
//! | the same reason again | logged after [`REPEAT_INTERVAL`] |
//! | the same reason after a recovery | logged after [`FLAP_INTERVAL`] |
//! | more than [`REASONS_MAX`] reasons of one subject | not logged until an earlier one may be repeated |
//! | more than 1,024 subjects | a new one is not logged until an earlier one may be repeated |

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Time after which a failure that goes on is logged again.
pub const REPEAT_INTERVAL: Duration = Duration::from_secs(600);
/// Time after which a reason is logged again if the subject worked in between.
pub const FLAP_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of reasons of one subject that are remembered.
pub const REASONS_MAX: usize = 8;
/// Maximum number of subjects. Beyond it those are forgotten whose next failures are logged anyway.
/// If others were forgotten, failures of many subjects in turn would all be logged.
const SUBJECTS_MAX: usize = 1_024;

/// Failures of several subjects, such as the servers that a process connects to. Times are
/// durations since any fixed moment.
#[derive(Debug)]
pub struct FailureLog<K> {
    subjects: HashMap<K, Subject>,
}

#[derive(Debug, Default)]
struct Subject {
    /// Reasons, with the times of their lines.
    logged: Vec<(String, Duration)>,
    failing: bool,
}

impl Subject {
    /// Forgets the reasons that may be logged again.
    fn forget_lines(&mut self, now: Duration) {
        let interval = if self.failing { REPEAT_INTERVAL } else { FLAP_INTERVAL };
        self.logged.retain(|(_, at)| now.saturating_sub(*at) < interval);
    }
}

impl<K> Default for FailureLog<K> {
    fn default() -> Self {
        Self { subjects: HashMap::new() }
    }
}

impl<K: Eq + Hash> FailureLog<K> {
    /// Records a failure. Returns whether it is to be logged.
    pub fn failed(&mut self, subject: K, reason: &str, now: Duration) -> bool {
        if self.subjects.len() >= SUBJECTS_MAX && !self.subjects.contains_key(&subject) {
            self.subjects.retain(|_, subject| {
                subject.forget_lines(now);
                !subject.logged.is_empty()
            });
            if self.subjects.len() >= SUBJECTS_MAX {
                return false;
            }
        }
        let subject = self.subjects.entry(subject).or_default();
        subject.forget_lines(now);
        let Subject { logged, failing } = subject;
        *failing = true;
        if logged.len() >= REASONS_MAX || logged.iter().any(|(known, _)| known == reason) {
            return false;
        }
        logged.push((reason.to_owned(), now));
        true
    }

    /// Records that the subject works. Returns whether it failed before, so that its recovery is to
    /// be logged.
    pub fn recovered(&mut self, subject: &K) -> bool {
        self.subjects.get_mut(subject).is_some_and(|subject| std::mem::take(&mut subject.failing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_reason_is_logged_once_and_again_after_a_while() {
        let mut log = FailureLog::default();
        assert!(log.failed("a", "refused", SECOND));
        assert!(!log.failed("a", "refused", 2 * SECOND));
        assert!(log.failed("a", "timed out", 3 * SECOND), "another reason");
        assert!(log.failed("b", "refused", 3 * SECOND), "another subject");
        assert!(!log.failed("a", "refused", 600 * SECOND));
        assert!(log.failed("a", "refused", 601 * SECOND));
    }

    #[test]
    fn a_failure_after_a_recovery_is_news_and_one_that_comes_and_goes_is_not() {
        let mut log = FailureLog::default();
        assert!(!log.recovered(&"a"), "it never failed");
        assert!(log.failed("a", "refused", SECOND));
        assert!(log.recovered(&"a") && !log.recovered(&"a"));
        assert!(!log.failed("a", "refused", 2 * SECOND));
        assert!(log.recovered(&"a"));
        assert!(log.failed("a", "refused", 11 * SECOND));
    }

    #[test]
    fn failures_of_very_many_subjects_in_turn_are_each_logged_once() {
        let mut log = FailureLog::default();
        let mut round =
            |now: Duration| (0..2 * SUBJECTS_MAX).filter(|number| log.failed(*number, "refused", now)).count();
        assert_eq!(round(SECOND), SUBJECTS_MAX);
        assert_eq!((round(2 * SECOND), round(600 * SECOND)), (0, 0));
        assert_eq!(round(601 * SECOND), SUBJECTS_MAX, "all may be repeated");
    }

    #[test]
    fn a_subject_that_works_again_makes_room_for_another() {
        let mut log = FailureLog::default();
        assert!((0..SUBJECTS_MAX).all(|number| log.failed(number, "refused", SECOND)));
        assert!(!log.failed(SUBJECTS_MAX, "refused", 12 * SECOND));
        assert!(log.recovered(&7));
        assert!(log.failed(SUBJECTS_MAX, "refused", 12 * SECOND));
        assert!(!log.failed(6, "refused", 12 * SECOND), "the others are still known");
    }

    #[test]
    fn reasons_that_are_never_the_same_do_not_fill_the_log() {
        let mut log = FailureLog::default();
        let lines = (0..1000).filter(|number| log.failed("a", &number.to_string(), SECOND)).count();
        assert_eq!(lines, REASONS_MAX);
    }
}
