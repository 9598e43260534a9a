//! Reads replies of Redis: texts, hashes, streams, and the hash of a room.

use std::collections::HashMap;

use redis::Value;
use switchboard_core::domain::{
    Action, CallId, CallPermissions, ConnectionState, MediaState, Participant, PeerId, Role, RoomMeta, Timestamp,
    UserId,
};
use switchboard_core::wire::envelope::MODERATORS;
use switchboard_core::wire::replica_update::ReplicaUpdate;
use switchboard_core::wire::{EventKind, LogId};

use crate::seat::SeatText;
use crate::{LogContent, LogEntry, RoomStats, SeatStats, Snapshot, StoreError};

/// Returns the text of a reply.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// Returns the items of a reply.
pub(crate) fn items(value: Option<&Value>) -> Result<&[Value], StoreError> {
    match value {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(StoreError::expected("an array")),
    }
}

/// Reads a hash. Fields that are not text are left out.
pub(crate) fn pairs(value: &Value) -> HashMap<&str, &str> {
    let Value::Array(items) = value else { return HashMap::new() };
    items.as_chunks::<2>().0.iter().filter_map(|[key, value]| Some((text(key)?, text(value)?))).collect()
}

/// Reads the reply to `TIME` in ms.
pub(crate) fn time_ms(value: Option<&Value>) -> Result<u64, StoreError> {
    let expected = || StoreError::expected("a time");
    let [seconds, micros] = items(value)? else { return Err(expected()) };
    let number = |value| text(value).and_then(|text| text.parse::<u64>().ok()).ok_or_else(expected);
    Ok(number(seconds)? * 1000 + number(micros)? / 1000)
}

/// Entry of a stream: id and fields.
pub(crate) type Entry<'a> = (LogId, HashMap<&'a str, &'a str>);

/// Reads the entries of a stream.
pub(crate) fn entries(value: Option<&Value>) -> Result<Vec<Entry<'_>>, StoreError> {
    fn entry(value: &Value) -> Option<Entry<'_>> {
        let Value::Array(parts) = value else { return None };
        Some((LogId::parse(text(parts.first()?)?)?, pairs(parts.get(1)?)))
    }
    items(value)?.iter().map(|value| entry(value).ok_or_else(|| StoreError::expected("a stream entry"))).collect()
}

/// A seat for which a room's log is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogReader<'a> {
    /// Peer id.
    pub(crate) peer: &'a PeerId,
    /// Log id after which broadcasts are for this peer; `None` in the lobby.
    pub(crate) broadcasts_from: Option<LogId>,
    /// Role after the last entry.
    pub(crate) role: Role,
}

impl LogReader<'_> {
    /// Whether an entry with these fields is for the seat, if moderators' entries are.
    fn gets(&self, id: LogId, fields: &HashMap<&str, &str>) -> bool {
        let peer = self.peer.as_str();
        match fields.get("t") {
            Some(&("*" | MODERATORS)) => {
                self.broadcasts_from.is_some_and(|from| id > from) && fields.get("x") != Some(&peer)
            }
            to => to == Some(&peer),
        }
    }
}

/// Reads the entries of a room's log, in pages, that are for a seat.
pub(crate) fn log_entries(pages: &[Value], reader: LogReader<'_>) -> Result<Vec<LogEntry>, StoreError> {
    let mut log = SeatLog::new(reader);
    pages.iter().try_for_each(|page| log.add(page))?;
    Ok(log.entries())
}

/// The part of a room's log that is for a seat, while its pages are read.
///
/// Events for moderators are for the seat while it is one. The role before its first change in the
/// log is unknown, and is taken to see the lobby if the role after that change does. So an event is
/// at worst delivered to a participant who became a moderator meanwhile, and never missed by one
/// who still is.
pub(crate) struct SeatLog<'a> {
    reader: LogReader<'a>,
    /// Each entry, and whether it is for moderators only.
    found: Vec<(bool, LogEntry)>,
    /// Bytes of the events.
    bytes: usize,
}

impl<'a> SeatLog<'a> {
    /// Creates a log without pages.
    pub(crate) const fn new(reader: LogReader<'a>) -> Self {
        Self { reader, found: Vec::new(), bytes: 0 }
    }

    /// Adds a page, which follows those that were added before.
    pub(crate) fn add(&mut self, page: &Value) -> Result<(), StoreError> {
        for (id, fields) in entries(Some(page))? {
            if !self.reader.gets(id, &fields) {
                continue;
            }
            let for_moderators = fields.get("t") == Some(&MODERATORS);
            for (id, content) in fields.get("d").map(|text| LogContent::parse(id, text)).unwrap_or_default() {
                let entry = LogEntry { id, content };
                self.bytes += entry.event().len();
                self.found.push((for_moderators, entry));
            }
        }
        Ok(())
    }

    /// Returns the bytes of the events that may be for the seat.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the entries that are for the seat.
    pub(crate) fn entries(self) -> Vec<LogEntry> {
        let Self { reader, found, .. } = self;
        if !found.iter().any(|(for_moderators, _)| *for_moderators) {
            return found.into_iter().map(|(_, entry)| entry).collect();
        }
        let mut role = found.iter().find_map(|(_, entry)| own_role(entry, reader.peer)).unwrap_or(reader.role);
        let mut kept = Vec::with_capacity(found.len());
        for (for_moderators, entry) in found {
            role = own_role(&entry, reader.peer).unwrap_or(role);
            if !for_moderators || role.may(Action::Admit) {
                kept.push(entry);
            }
        }
        kept
    }
}

/// Returns the role that an entry gives to this peer.
fn own_role(entry: &LogEntry, peer: &PeerId) -> Option<Role> {
    match &entry.content {
        LogContent::Event { kind: kind @ EventKind::RoleChanged, event } => match ReplicaUpdate::read(*kind, event)? {
            ReplicaUpdate::Role(changed) if changed.peer_id == *peer => Some(changed.role),
            _ => None,
        },
        _ => None,
    }
}

/// Reads the metadata of a room, field `m`.
pub(crate) fn room_meta(json: &str) -> Result<RoomMeta, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::expected("a room's metadata"))
}

/// Reads the permissions given to a user, field `r:<uid>` of a room.
pub(crate) fn given_permissions(json: Option<&str>) -> Result<Option<CallPermissions>, StoreError> {
    json.map(serde_json::from_str).transpose().map_err(|_| StoreError::expected("permissions"))
}

/// Reads the hash of a room; `None` if the room is not open.
pub(crate) fn snapshot(hash: &Value) -> Result<Option<Snapshot>, StoreError> {
    let fields = pairs(hash);
    if fields.get("st") != Some(&"open") {
        return Ok(None);
    }
    Ok(Some(Snapshot {
        meta: room_meta(field(&fields, "m")?)?,
        host: UserId::parse(field(&fields, "host")?).map_err(|_| StoreError::expected("a host"))?,
        locked: field(&fields, "lock")? == "1",
        seats: seats(&fields)?.into_iter().map(|(_, participant)| participant).collect(),
    }))
}

/// Reads the figures of a room from its hash; `None` if the room is not open.
pub(crate) fn stats(hash: &Value, taken_ms: u64) -> Result<Option<RoomStats>, StoreError> {
    let fields = pairs(hash);
    if fields.get("st") != Some(&"open") {
        return Ok(None);
    }
    let number = |name: &str| {
        fields.get(name).map_or(Ok(0), |number| number.parse().map_err(|_| StoreError::expected("a number")))
    };
    Ok(Some(RoomStats {
        call: CallId::parse(field(&fields, "c")?).map_err(|_| StoreError::expected("a call id"))?,
        opened_at: timestamp(number("born")?),
        taken_at: timestamp(taken_ms),
        peak: u32::try_from(number("peak")?).unwrap_or(u32::MAX),
        messages: number("said")?,
        seats: seats(&fields)?
            .into_iter()
            .map(|(join, participant)| SeatStats { participant, since: timestamp(join.ms) })
            .collect(),
    }))
}

fn field<'a>(fields: &HashMap<&str, &'a str>, name: &str) -> Result<&'a str, StoreError> {
    fields.get(name).copied().ok_or_else(|| StoreError::expected("a field of the room"))
}

fn timestamp(ms: u64) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Reads the seats of a room's hash with their join ids, oldest first.
fn seats(fields: &HashMap<&str, &str>) -> Result<Vec<(LogId, Participant)>, StoreError> {
    let mut seats = Vec::new();
    for (name, value) in fields {
        let Some(peer) = name.strip_prefix("s:") else { continue };
        let seat = SeatText::parse(value).ok_or_else(|| StoreError::expected("a seat"))?;
        let public = field(fields, &format!("i:{peer}"))?;
        let mut participant: Participant =
            serde_json::from_str(public).map_err(|_| StoreError::expected("a participant"))?;
        participant.role = seat.role;
        participant.connection_state = seat.state;
        participant.is_connected = seat.state == ConnectionState::Connected;
        if let Some(node) = seat.node {
            participant.node = Some(node.to_owned());
        }
        if let Some(media) = fields.get(format!("v:{peer}").as_str()) {
            participant.media_state =
                serde_json::from_str::<MediaState>(media).map_err(|_| StoreError::expected("a media state"))?;
        }
        participant.hand_raised_at = fields.get(format!("h:{peer}").as_str()).map(|&time| time.to_owned());
        seats.push((seat.join, participant));
    }
    seats.sort_by(|a, b| (a.0, &a.1.peer_id).cmp(&(b.0, &b.1.peer_id)));
    Ok(seats)
}
