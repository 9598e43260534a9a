//! Redis' answers to values.

use std::collections::HashMap;

use bytes::Bytes;
use redis::Value;

use super::{LogEntry, LogId, RoomMeta, RoomStats, Snapshot, Stay, StoreError};
use switchboard_core::domain::{
    CallId, ConnectionState, Generation, MediaState, Participant, PeerId, Role, Timestamp, UserId,
};

/// An answer that makes no sense, named by what was expected.
pub(super) fn unexpected(what: &str) -> StoreError {
    StoreError::Unexpected(what.to_owned())
}

/// A script's reply: a word, and what belongs to it.
#[derive(Debug)]
pub(super) struct Words(Vec<Value>);

impl Words {
    /// The reply of a call of one command, or the last of several.
    pub(super) fn of(values: Vec<Value>) -> Result<Self, StoreError> {
        match values.into_iter().next_back() {
            Some(Value::Array(words)) if !words.is_empty() => Ok(Self(words)),
            _ => Err(unexpected("a script's reply")),
        }
    }

    /// The word.
    pub(super) fn word(&self) -> &str {
        self.text(0).unwrap_or_default()
    }

    /// What to answer when the word is none of those known.
    pub(super) fn unknown(&self) -> StoreError {
        StoreError::Unexpected(format!("the word {:?}", self.word()))
    }

    pub(super) fn text(&self, index: usize) -> Result<&str, StoreError> {
        self.0.get(index).and_then(text).ok_or_else(|| unexpected("a text"))
    }

    pub(super) fn id(&self, index: usize) -> Result<LogId, StoreError> {
        LogId::parse(self.text(index)?).ok_or_else(|| unexpected("a log id"))
    }

    pub(super) fn peer(&self, index: usize) -> Result<PeerId, StoreError> {
        PeerId::parse(self.text(index)?).map_err(|_| unexpected("a peer"))
    }

    /// The peers from `start` on.
    pub(super) fn peers_from(&self, start: usize) -> Result<Vec<PeerId>, StoreError> {
        (start..self.0.len()).map(|index| self.peer(index)).collect()
    }

    pub(super) fn number(&self, index: usize) -> Result<u64, StoreError> {
        match self.0.get(index) {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            Some(value) => text(value).and_then(|text| text.parse().ok()),
            None => None,
        }
        .ok_or_else(|| unexpected("a number"))
    }

    /// A hash within the reply.
    pub(super) fn pairs(&self, index: usize) -> Result<HashMap<&str, &str>, StoreError> {
        self.0.get(index).map(pairs).ok_or_else(|| unexpected("a hash"))
    }
}

/// A string of an answer.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// The items of an answer.
pub(super) fn items(value: Option<&Value>) -> Result<&[Value], StoreError> {
    match value {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(unexpected("an array")),
    }
}

/// A hash; what is no text is left out.
pub(super) fn pairs(value: &Value) -> HashMap<&str, &str> {
    let Value::Array(items) = value else { return HashMap::new() };
    items.as_chunks::<2>().0.iter().filter_map(|[key, value]| Some((text(key)?, text(value)?))).collect()
}

/// `TIME`, in milliseconds.
pub(super) fn time_ms(value: Option<&Value>) -> Result<u64, StoreError> {
    let [seconds, micros] = items(value)? else { return Err(unexpected("a time")) };
    let number = |value| text(value).and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| unexpected("a time"));
    Ok(number(seconds)? * 1000 + number(micros)? / 1000)
}

/// An entry of a stream: id and fields.
pub(super) type Entry<'a> = (LogId, HashMap<&'a str, &'a str>);

/// A stream's entries.
pub(super) fn entries(value: Option<&Value>) -> Result<Vec<Entry<'_>>, StoreError> {
    fn entry(value: &Value) -> Option<Entry<'_>> {
        let Value::Array(parts) = value else { return None };
        Some((LogId::parse(text(parts.first()?)?)?, pairs(parts.get(1)?)))
    }
    items(value)?.iter().map(|value| entry(value).ok_or_else(|| unexpected("a stream's entry"))).collect()
}

/// The entries of a room's log that are for `peer`. `joined`: its join id, before which nothing that is for all was for it; `None` while
/// it is in the lobby.
pub(super) fn log_entries(
    value: Option<&Value>,
    peer: &PeerId,
    joined: Option<LogId>,
) -> Result<Vec<LogEntry>, StoreError> {
    let mine = |id: LogId, fields: &HashMap<&str, &str>| match fields.get("t") {
        Some(&"*") => joined.is_some_and(|joined| id > joined) && fields.get("x") != Some(&peer.as_str()),
        to => to == Some(&peer.as_str()),
    };
    Ok(entries(value)?
        .into_iter()
        .filter(|(id, fields)| mine(*id, fields))
        .filter_map(|(id, fields)| Some(LogEntry { id, event: Bytes::copy_from_slice(fields.get("d")?.as_bytes()) }))
        .collect())
}

/// A seat as the room's hash has it; `lua/prelude.lua` says how.
pub(super) struct StoredSeat<'a> {
    state: ConnectionState,
    pub(super) generation: Generation,
    node: Option<&'a str>,
    role: Role,
    join: LogId,
}

impl<'a> StoredSeat<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let state = ConnectionState::parse(words.next()?)?;
        let generation = words.next()?.parse().ok()?;
        let node = words.next().filter(|node| *node != "-");
        let _handle = words.next()?;
        let (role, join) = (Role::parse(words.next()?)?, LogId::parse(words.next()?)?);
        Some(Self { state, generation, node, role, join })
    }

    /// Since when what is for all is for it; `None` while it is in the lobby.
    pub(super) fn joined(&self) -> Option<LogId> {
        (self.state != ConnectionState::Waiting).then_some(self.join)
    }
}

/// The meta of a room, as field `m` has it.
pub(super) fn meta(json: &str) -> Result<RoomMeta, StoreError> {
    serde_json::from_str(json).map_err(|_| unexpected("a room's meta"))
}

/// A whole room; `None` when it is not open.
pub(super) fn snapshot(hash: &Value) -> Result<Option<Snapshot>, StoreError> {
    let fields = pairs(hash);
    if fields.get("st") != Some(&"open") {
        return Ok(None);
    }
    let field = |name: &str| fields.get(name).copied().ok_or_else(|| unexpected("a room's field"));
    Ok(Some(Snapshot {
        meta: meta(field("m")?)?,
        host: UserId::parse(field("host")?).map_err(|_| unexpected("a host"))?,
        locked: field("lock")? == "1",
        seats: seats(&fields)?.into_iter().map(|(_, participant)| participant).collect(),
    }))
}

/// A room in figures; `None` when it is not open.
pub(super) fn stats(hash: &Value, taken_ms: u64) -> Result<Option<RoomStats>, StoreError> {
    let fields = pairs(hash);
    if fields.get("st") != Some(&"open") {
        return Ok(None);
    }
    let field = |name: &str| fields.get(name).copied().ok_or_else(|| unexpected("a room's field"));
    let number = |name: &str| fields.get(name).map_or(Ok(0), |n| n.parse().map_err(|_| unexpected("a number")));
    Ok(Some(RoomStats {
        call: CallId::parse(field("c")?).map_err(|_| unexpected("a call"))?,
        opened_at: timestamp(number("born")?),
        taken_at: timestamp(taken_ms),
        peak: u32::try_from(number("peak")?).unwrap_or(u32::MAX),
        messages: number("said")?,
        stays: seats(&fields)?
            .into_iter()
            .map(|(join, participant)| Stay { participant, since: timestamp(join.ms) })
            .collect(),
    }))
}

fn timestamp(ms: u64) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// The seats of a room's hash with their join ids, oldest first.
fn seats(fields: &HashMap<&str, &str>) -> Result<Vec<(LogId, Participant)>, StoreError> {
    let mut seats = Vec::new();
    for (name, value) in fields {
        let Some(peer) = name.strip_prefix("s:") else { continue };
        let seat = StoredSeat::parse(value).ok_or_else(|| unexpected("a seat"))?;
        let public = fields.get(format!("i:{peer}").as_str()).ok_or_else(|| unexpected("a room's field"))?;
        let mut participant: Participant = serde_json::from_str(public).map_err(|_| unexpected("a participant"))?;
        participant.role = seat.role;
        participant.connection_state = seat.state;
        participant.is_connected = seat.state == ConnectionState::Connected;
        if let Some(node) = seat.node {
            participant.node = Some(node.to_owned());
        }
        if let Some(media) = fields.get(format!("v:{peer}").as_str()) {
            participant.media_state =
                serde_json::from_str::<MediaState>(media).map_err(|_| unexpected("a media state"))?;
        }
        seats.push((seat.join, participant));
    }
    seats.sort_by(|a, b| (a.0, &a.1.peer_id).cmp(&(b.0, &b.1.peer_id)));
    Ok(seats)
}
