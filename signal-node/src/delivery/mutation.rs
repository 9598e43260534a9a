//! Rules of delivery by name. The tests switch them off, to prove that the simulator notices. In a
//! program all of them hold, and the checks cost nothing.

/// A rule of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A session gets only events that are newer than its position.
    Newer,
    /// Events that overtake the reply of a session's script are buffered.
    Overtaking,
    /// A session whose script was sent before a gap reads the log.
    GapDuringScript,
    /// No session becomes live while the subscription is lost.
    LostSubscription,
    /// A gap begins where the first of several began, not at the last.
    GapBegins,
    /// Events stay buffered when another gap began during the read of the log.
    GapWhileReading,
}

/// Returns whether a rule holds.
#[cfg(not(test))]
pub(super) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(test)]
pub(super) use switch::{holds, without};

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        static OFF: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Returns whether a rule holds in this thread.
    pub(in crate::delivery) fn holds(rule: Rule) -> bool {
        OFF.get() != Some(rule)
    }

    /// Runs with a rule switched off in this thread.
    pub(in crate::delivery) fn without<T>(rule: Option<Rule>, run: impl FnOnce() -> T) -> T {
        let before = OFF.replace(rule);
        let result = run();
        OFF.set(before);
        result
    }
}
