//! A call to Redis as it waits in a lane: what to send, and whom to tell.

use std::sync::Arc;
use std::time::Instant;

use redis::{Cmd, Value};

use super::context::Context;
use super::{Op, Partition, Seat, StoreError};

/// Told once of a call's end: the answers to its commands, or that there is none.
pub(super) type Answer = Box<dyn FnOnce(Result<Vec<Value>, StoreError>) + Send>;
/// Told when a call that was refused for taking too long took effect after all.
pub(super) type Late = Box<dyn FnOnce(Vec<Value>) + Send>;

/// What a call sends.
pub(super) enum Request {
    /// Commands whose repetition does no harm: a generation, a counter or a name in them makes sure.
    Fixed(Vec<Cmd>),
    /// A numbered operation; 0: not numbered yet.
    Op {
        /// Whose.
        seat: Arc<Seat>,
        /// What.
        op: Box<Op>,
        /// Its number, given when it is first written: a call that is refused before must leave no hole.
        number: u64,
    },
}

/// How far a call has come.
struct Progress {
    since: Instant,
    /// It was sent at least once: its outcome is unknown until Redis answers, so it must be sent again rather than dropped.
    written: bool,
}

/// A call.
pub(super) struct Call {
    pub(super) partition: Partition,
    pub(super) name: &'static str,
    request: Request,
    /// Waits until earlier operations of this seat are answered, since it would make their repetition stale.
    barrier: Option<Arc<Seat>>,
    /// Sent however long it takes: a seat that is not given up is a ghost.
    kept: bool,
    answer: Option<Answer>,
    late: Option<Late>,
    progress: Progress,
}

impl Call {
    pub(super) fn new(partition: Partition, name: &'static str, request: Request, answer: Answer) -> Self {
        let progress = Progress { since: Instant::now(), written: false };
        Self { partition, name, request, barrier: None, kept: false, answer: Some(answer), late: None, progress }
    }

    /// Makes it wait for the seat's operations, and never be dropped.
    #[must_use]
    pub(super) fn ending(mut self, seat: &Arc<Seat>) -> Self {
        self.kept = true;
        self.after_ops_of(seat)
    }

    /// Makes it wait for the seat's operations.
    #[must_use]
    pub(super) fn after_ops_of(mut self, seat: &Arc<Seat>) -> Self {
        self.barrier = Some(seat.clone());
        self
    }

    /// Has `late` told when it takes effect after it was refused.
    #[must_use]
    pub(super) fn or_late(mut self, late: Late) -> Self {
        self.late = Some(late);
        self
    }

    /// Whether a full queue refuses it.
    pub(super) fn can_be_refused(&self) -> bool {
        !self.kept
    }

    /// Whether it may be dropped when it is too late: it has had no effect, and need have none.
    pub(super) fn can_be_dropped(&self) -> bool {
        !self.kept && !self.progress.written
    }

    /// Whether it is waiting since before `moment`.
    pub(super) fn older_than(&self, moment: Instant) -> bool {
        self.progress.since < moment
    }

    /// Takes its answer, to refuse it; it may stay in the queue.
    pub(super) fn refuse(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    /// The seat whose operation it is.
    pub(super) fn op_seat(&self) -> Option<&Arc<Seat>> {
        match &self.request {
            Request::Op { seat, .. } => Some(seat),
            Request::Fixed(_) => None,
        }
    }

    /// Whether it must not be in one pipeline with `earlier`.
    pub(super) fn must_follow(&self, earlier: &[Self]) -> bool {
        self.barrier
            .as_ref()
            .is_some_and(|seat| earlier.iter().any(|call| call.op_seat().is_some_and(|other| Arc::ptr_eq(seat, other))))
    }

    /// About how many bytes it is.
    pub(super) fn size(&self) -> usize {
        match &self.request {
            Request::Op { op, .. } => op.event.len() + 200,
            Request::Fixed(commands) => commands.len() * 1_000,
        }
    }

    /// Appends its commands as they go over the wire; says how many.
    pub(super) fn write(&mut self, context: &Context, packed: &mut Vec<u8>) -> usize {
        self.progress.written = true;
        match &mut self.request {
            Request::Fixed(commands) => {
                commands.iter().for_each(|command| command.write_packed_command(packed));
                commands.len()
            }
            Request::Op { seat, op, number } => {
                if *number == 0 {
                    *number = seat.op.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                }
                context.op(self.partition, seat, op, *number, packed);
                1
            }
        }
    }

    /// Tells the outcome.
    pub(super) fn finish(self, result: Result<Vec<Value>, StoreError>) {
        match (self.answer, self.late, result) {
            (Some(answer), _, result) => answer(result),
            (None, Some(late), Ok(values)) => late(values),
            (None, _, _) => {}
        }
    }
}
