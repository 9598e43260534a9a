//! The metric of hand-overs.

/// Outcome of a hand-over. It is counted when this is dropped, so that a cancelled hand-over counts
/// too.
pub(crate) struct HandoverOutcome(pub(crate) &'static str);

impl Drop for HandoverOutcome {
    fn drop(&mut self) {
        metrics::counter!("switchboard_handovers_total", "outcome" => self.0).increment(1);
    }
}
