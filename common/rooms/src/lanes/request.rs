//! A request to Redis as it waits in a queue: its commands, and the callbacks for its replies.

use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use redis::{Cmd, Value};

use crate::conn::resp::Decoder;
use crate::context::Context;
use crate::model::OperationNumber;
use crate::scripts::ScriptArguments;
use crate::{Op, OpKind, Partition, Seat, StoreError};

/// Called once at the end of a request: with the replies to its commands, or with the reason why
/// there are none.
pub(crate) type OnAnswer = Box<dyn FnOnce(Result<Vec<Value>, StoreError>) + Send>;
/// Called when a request took effect after its caller was refused for waiting too long.
pub(crate) type OnLateAnswer = Box<dyn FnOnce(Vec<Value>) + Send>;

/// Commands as they go over the wire.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    packed: Vec<u8>,
    count: usize,
}

impl Commands {
    /// Makes the commands of a request that runs one script.
    pub(crate) fn script<S: ScriptArguments>(context: &Context, arguments: &S) -> Self {
        let mut commands = Self { packed: Vec::with_capacity(1024), count: 0 };
        commands.push_script(context, arguments);
        commands
    }

    /// Appends a command.
    pub(crate) fn push(&mut self, command: &Cmd) {
        command.write_packed_command(&mut self.packed);
        self.count += 1;
    }

    /// Returns the arguments of each command. The first is the name.
    fn arguments(&self) -> Vec<Vec<Bytes>> {
        let (mut decoder, mut input) = (Decoder::default(), BytesMut::from(&self.packed[..]));
        let next = || match decoder.next(&mut input) {
            Ok(Some(Value::Array(arguments))) => Some(arguments),
            _ => None,
        };
        let bytes = |argument| match argument {
            Value::BulkString(bytes) => Some(Bytes::from(bytes)),
            _ => None,
        };
        std::iter::from_fn(next).map(|command| command.into_iter().filter_map(bytes).collect()).collect()
    }

    /// Appends a script.
    pub(crate) fn push_script<S: ScriptArguments>(&mut self, context: &Context, arguments: &S) {
        context.write(arguments, &mut self.packed);
        self.count += 1;
    }
}

impl<'a> FromIterator<&'a Cmd> for Commands {
    fn from_iter<T: IntoIterator<Item = &'a Cmd>>(list: T) -> Self {
        let mut commands = Self::default();
        list.into_iter().for_each(|command| commands.push(command));
        commands
    }
}

/// Content of a request.
pub(crate) enum Payload {
    /// Commands that may run twice: a generation, counter or name in them makes the second run a
    /// repetition.
    Commands(Commands),
    /// A numbered operation.
    Operation {
        /// Seat of the sender.
        seat: Arc<Seat>,
        /// Operation.
        op: Box<Op>,
        /// Number; `None` until the operation is written for the first time. A request that is
        /// refused before that must leave no missing number.
        number: Option<OperationNumber>,
    },
}

/// State of a request on its way.
struct Progress {
    since: Instant,
    /// The request was sent at least once. Its outcome is unknown until Redis answers, so it is
    /// sent again and never dropped.
    written: bool,
}

/// A request.
pub(crate) struct Request {
    pub(crate) partition: Partition,
    pub(crate) name: &'static str,
    payload: Payload,
    /// The request waits for earlier operations of this seat, because it would make their
    /// repetition stale.
    barrier: Option<Arc<Seat>>,
    /// The request is sent however long it waits. Otherwise the seat stays taken without a session.
    kept: bool,
    /// Alive while a caller waits for the answer of a read; `None` for a request that takes effect.
    caller: Option<Weak<()>>,
    answer: Option<OnAnswer>,
    late: Option<OnLateAnswer>,
    progress: Progress,
}

impl Request {
    pub(crate) fn new(partition: Partition, name: &'static str, payload: Payload, answer: OnAnswer) -> Self {
        let progress = Progress { since: Instant::now(), written: false };
        Self {
            partition,
            name,
            payload,
            barrier: None,
            kept: false,
            caller: None,
            answer: Some(answer),
            late: None,
            progress,
        }
    }

    /// Makes the request wait for the seat's operations, and never drops it.
    #[must_use]
    pub(crate) fn giving_up(mut self, seat: &Arc<Seat>) -> Self {
        self.kept = true;
        self.after_operations_of(seat)
    }

    /// Makes the request wait for the seat's operations.
    #[must_use]
    pub(crate) fn after_operations_of(mut self, seat: &Arc<Seat>) -> Self {
        self.barrier = Some(seat.clone());
        self
    }

    /// Makes the request a read, which is dropped before it is sent if its caller is dropped.
    #[must_use]
    pub(crate) fn read_for(mut self, caller: &Arc<()>) -> Self {
        self.caller = Some(Arc::downgrade(caller));
        self
    }

    /// Returns the arguments of each command, if any executor can execute the request: in any order
    /// with others, and perhaps twice. `None` for a request that needs the order of lanes, or an
    /// answer after its caller was refused: those of seats.
    pub(crate) fn arguments(&self) -> Option<Vec<Vec<Bytes>>> {
        match &self.payload {
            Payload::Commands(commands) if self.barrier.is_none() && !self.kept && self.late.is_none() => {
                Some(commands.arguments())
            }
            Payload::Commands(_) | Payload::Operation { .. } => None,
        }
    }

    /// Returns whether the request is a read for which nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.strong_count() == 0)
    }

    /// Counts the request as dropped.
    pub(crate) fn count_abandoned(&self) {
        metrics::counter!("switchboard_redis_calls_total", "script" => self.name, "outcome" => "abandoned")
            .increment(1);
    }

    /// Sets the callback for a reply that comes after the caller was refused.
    #[must_use]
    pub(crate) fn on_late_answer(mut self, late: OnLateAnswer) -> Self {
        self.late = Some(late);
        self
    }

    /// Returns whether the request gives up a seat: it is sent until it takes effect, and no queue
    /// is too full for it.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Returns whether the request may be dropped when it is late: it has had no effect.
    pub(super) fn can_be_dropped(&self) -> bool {
        !self.kept && !self.progress.written
    }

    /// Returns whether the request has been waiting since before `moment`.
    pub(super) fn older_than(&self, moment: Instant) -> bool {
        self.progress.since < moment
    }

    /// Takes the callback, to refuse the caller. The request itself may stay in the queue.
    pub(super) fn refuse(&mut self) -> Option<OnAnswer> {
        self.answer.take()
    }

    /// Returns the seat whose operation the request is.
    pub(super) fn operation_seat(&self) -> Option<&Arc<Seat>> {
        match &self.payload {
            Payload::Operation { seat, .. } => Some(seat),
            Payload::Commands(_) => None,
        }
    }

    /// Returns whether the request must not be in one pipeline with `earlier` requests.
    pub(super) fn must_follow(&self, earlier: &[Self]) -> bool {
        let is_operation_of =
            |request: &Self, seat| request.operation_seat().is_some_and(|other| Arc::ptr_eq(seat, other));
        self.barrier.as_ref().is_some_and(|seat| earlier.iter().any(|request| is_operation_of(request, seat)))
    }

    /// Returns the approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        match &self.payload {
            Payload::Operation { op, .. } => op.event.len() + 200,
            Payload::Commands(commands) => commands.packed.len(),
        }
    }

    /// Numbers the request's operation, and returns whether it may share a call with other relays:
    /// it is a relay that has no id of its client and does not trim the log. The request is written
    /// next in either case.
    pub(super) fn is_shareable_relay(&mut self) -> bool {
        let bytes = self.size();
        match &mut self.payload {
            Payload::Operation { seat, op, number } if matches!(op.kind, OpKind::Relay { .. }) => {
                let number = *number.get_or_insert_with(|| seat.next_operation(bytes));
                op.dedupe.is_none() && number.bytes_to_trim.is_none()
            }
            _ => false,
        }
    }

    /// Appends one command for several relays as it goes over the wire.
    pub(super) fn write_relays(relays: &mut [Self], context: &Context, packed: &mut Vec<u8>) {
        for relay in &mut *relays {
            relay.progress.written = true;
        }
        let operations = relays.iter().filter_map(|relay| match &relay.payload {
            Payload::Operation { seat, op, number } => Some((&**seat, &**op, (*number)?)),
            Payload::Commands(_) => None,
        });
        context.write_relays(operations, packed);
    }

    /// Appends the commands as they go over the wire. Returns their number.
    pub(super) fn write(&mut self, context: &Context, packed: &mut Vec<u8>) -> usize {
        let bytes = self.size();
        self.progress.written = true;
        match &mut self.payload {
            Payload::Commands(commands) => {
                packed.extend_from_slice(&commands.packed);
                commands.count
            }
            Payload::Operation { seat, op, number } => {
                let number = *number.get_or_insert_with(|| seat.next_operation(bytes));
                context.write_operation(seat, op, number, packed);
                1
            }
        }
    }

    /// Calls the callback for the outcome.
    pub(crate) fn finish(self, result: Result<Vec<Value>, StoreError>) {
        match (self.answer, self.late, result) {
            (Some(answer), _, result) => answer(result),
            (None, Some(late), Ok(values)) => late(values),
            (None, _, _) => {}
        }
    }
}
