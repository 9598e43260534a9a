//! The commands of a pipeline. Consecutive relays in it share a script call, which answers for each
//! of them, because a call has a cost of its own.

use redis::Value;

use super::request::Request;
use super::topology::Topology;

/// Maximum number of relays in one call. More save little, and Redis runs no other command
/// meanwhile.
const RELAYS_MAX: usize = 16;
/// Bytes above which a call gets no further relay.
const RELAY_BYTES_MAX: usize = 64 * 1024;

/// Commands of one request, or one command of several requests.
pub(super) enum Call {
    /// Number of commands of a request.
    Own(usize),
    /// Number of relays that share a command.
    Shared(usize),
}

/// Replies to one request.
pub(super) struct Replies {
    pub(super) values: Vec<Value>,
    /// No reply is missing.
    pub(super) is_complete: bool,
}

impl Call {
    /// Returns the number of replies of the server.
    pub(super) const fn replies(&self) -> usize {
        match self {
            Self::Own(commands) => *commands,
            Self::Shared(_) => 1,
        }
    }
}

/// Appends the commands of a pipeline. On a cluster the keys of one call must be in one slot, so
/// only relays of one partition share a call.
pub(super) fn write(batch: &mut [Request], topology: &Topology, packed: &mut Vec<u8>) -> Vec<Call> {
    let (mut calls, mut rest) = (Vec::with_capacity(batch.len()), batch);
    while let Some(first) = rest.first() {
        let (partition, mut bytes) = (first.partition, 0);
        let is_next = |request: &mut Request| {
            let fits = bytes < RELAY_BYTES_MAX && (request.partition == partition || !topology.is_cluster());
            bytes += request.size();
            fits && request.is_shareable_relay()
        };
        let relays = rest.iter_mut().take(RELAYS_MAX).map(is_next).take_while(|is_next| *is_next).count();
        let (written, others) = rest.split_at_mut(relays.max(1));
        calls.push(if relays > 1 {
            Request::write_relays(written, &topology.context, packed);
            Call::Shared(relays)
        } else {
            Call::Own(written.iter_mut().map(|request| request.write(&topology.context, packed)).sum())
        });
        rest = others;
    }
    calls
}

/// Returns the replies to each request of a pipeline, of which the last may be missing. An error of
/// a shared command is the reply to each of its requests.
pub(super) fn replies(calls: &[Call], answers: Vec<Value>) -> Vec<Replies> {
    let (mut answers, mut all) = (answers.into_iter(), Vec::with_capacity(calls.len()));
    for call in calls {
        match *call {
            Call::Own(commands) => {
                let values: Vec<Value> = answers.by_ref().take(commands).collect();
                all.push(Replies { is_complete: values.len() == commands, values });
            }
            Call::Shared(requests) => match answers.next() {
                Some(Value::Array(values)) if values.len() == requests => {
                    all.extend(values.into_iter().map(|value| Replies { values: vec![value], is_complete: true }));
                }
                answer => all.extend((0..requests).map(|_| {
                    let values: Vec<Value> = answer.iter().cloned().collect();
                    Replies { is_complete: !values.is_empty(), values }
                })),
            },
        }
    }
    all
}
