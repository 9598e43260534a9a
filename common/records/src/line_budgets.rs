//! Bounds on the lines that a call has in its log and in its recorded chat. The recorder counts a
//! line before it writes it. Beyond the bounds a fact still changes the records of the call and of
//! its participants, but it has no line.
//!
//! The call's record keeps the counts in `recorded`:
//!
//! | field | content |
//! |---|---|
//! | `chatLines`, `chatBytes`, `chatDropped` | messages with a line, their bytes; messages without |
//! | `eventLines`, `eventBytes`, `eventDropped` | the same for the log |
//! | `last` | position of the last counted fact, so that a repeated fact is not counted again |

use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use super::bson::number;
use super::{CallChange, CallFact};

/// Bytes of a line besides its texts, with its entries in the indexes; about.
const LINE_BYTES: u64 = 400;
/// Sums in `recorded`.
const SUMS: [&str; 6] = ["chatLines", "chatBytes", "chatDropped", "eventLines", "eventBytes", "eventDropped"];

/// Most lines of one call in one collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineBudget {
    /// Maximum number of lines.
    pub lines: u64,
    /// Maximum size of all lines, in bytes.
    pub bytes: u64,
}

/// Most lines of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineBudgets {
    /// Recorded chat messages.
    pub chat: LineBudget,
    /// Lines in the log.
    pub events: LineBudget,
}

impl Default for LineBudgets {
    fn default() -> Self {
        let budget = LineBudget { lines: 20_000, bytes: 8 << 20 };
        Self { chat: budget, events: budget }
    }
}

/// Lines that a call has, as its record counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordedLines {
    /// Recorded chat messages.
    #[serde(deserialize_with = "number")]
    pub chat_lines: u64,
    /// Bytes of recorded chat messages.
    #[serde(deserialize_with = "number")]
    pub chat_bytes: u64,
    /// Chat messages beyond the budget.
    #[serde(deserialize_with = "number")]
    pub chat_dropped: u64,
    /// Lines in the log.
    #[serde(deserialize_with = "number")]
    pub event_lines: u64,
    /// Bytes of lines in the log.
    #[serde(deserialize_with = "number")]
    pub event_bytes: u64,
    /// Facts beyond the budget of the log.
    #[serde(deserialize_with = "number")]
    pub event_dropped: u64,
    /// Position of the last counted fact.
    pub last: String,
}

/// Counts the lines of one batch of facts.
pub(super) struct LineMeter {
    budgets: LineBudgets,
    calls: HashMap<String, Tally>,
}

#[derive(Default)]
struct Tally {
    recorded: RecordedLines,
    /// Position and sums of each fact of the batch.
    counted: Vec<Document>,
    last: String,
}

impl LineMeter {
    /// Creates the meter of a batch. `recorded` are the counts of its calls before it.
    pub(super) fn new(budgets: LineBudgets, recorded: impl Iterator<Item = (String, RecordedLines)>) -> Self {
        let calls = recorded.map(|(call, recorded)| (call, Tally { recorded, ..Tally::default() })).collect();
        Self { budgets, calls }
    }

    /// Counts a fact. Returns whether it gets a line: it has none yet, and the budget has place.
    /// Facts of one call must come in their order.
    pub(super) fn count(&mut self, fact: &CallFact) -> bool {
        let tally = self.calls.entry(fact.call.as_str().to_owned()).or_default();
        if fact.order <= tally.recorded.last {
            return false;
        }
        let bytes = LINE_BYTES + text_bytes(&fact.change);
        let RecordedLines { chat_lines, chat_bytes, event_lines, event_bytes, .. } = &mut tally.recorded;
        let (names, budget, lines, sum) = match fact.change {
            CallChange::Chat(_) => (&SUMS[..3], self.budgets.chat, chat_lines, chat_bytes),
            _ => (&SUMS[3..], self.budgets.events, event_lines, event_bytes),
        };
        let fits = *lines < budget.lines && *sum + bytes <= budget.bytes;
        let mut counted = doc! { "order": &fact.order };
        if fits {
            (*lines, *sum) = (*lines + 1, *sum + bytes);
            counted.extend(doc! { names[0]: 1_i64, names[1]: i64::try_from(bytes).unwrap_or(i64::MAX) });
        } else {
            counted.insert(names[2], 1_i64);
            let kind = if matches!(fact.change, CallChange::Chat(_)) { "chat" } else { "event" };
            metrics::counter!("switchboard_lines_dropped_total", "kind" => kind).increment(1);
        }
        tally.counted.push(counted);
        if fact.order > tally.last {
            tally.last.clone_from(&fact.order);
        }
        fits
    }

    /// Returns the stage of an update pipeline that adds the counted facts to a call's record, for
    /// each call with counted facts, by the call's id. Repeating the stage changes nothing.
    pub(super) fn stages(self) -> impl Iterator<Item = (String, Document)> {
        let counted = self.calls.into_iter().filter(|(_, tally)| !tally.counted.is_empty());
        counted.map(|(call, Tally { counted, last, .. })| {
            let mut sums = doc! { "last": { "$max": ["$recorded.last", &last] } };
            for name in SUMS {
                let before = doc! { "$ifNull": [format!("$recorded.{name}"), 0_i64] };
                sums.insert(name, doc! { "$add": [before, { "$sum": format!("$$fresh.{name}") }] });
            }
            // A fact that another recorder has counted meanwhile is not counted again.
            let fresh = doc! { "$filter": {
                "input": { "$literal": counted },
                "cond": { "$gt": ["$$this.order", { "$ifNull": ["$recorded.last", ""] }] },
            } };
            (call, doc! { "$set": { "recorded": { "$let": { "vars": { "fresh": fresh }, "in": sums } } } })
        })
    }
}

/// Returns the bytes of the texts that clients chose.
fn text_bytes(change: &CallChange) -> u64 {
    let bytes = match change {
        CallChange::Chat(chat) => chat.message.len() + chat.name.len() + chat.id.len(),
        CallChange::Joined { name, .. } => name.len(),
        CallChange::Left { reason, .. } | CallChange::Ended { reason } => reason.len(),
        _ => 0,
    };
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
