//! Rooms that are known to be large, so that a join that may be refused does not read them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;
use switchboard_core::domain::RoomId;

use crate::values::items;

/// Fields of a room's hash from which on it is large: those of about 50 seats. A smaller room is
/// read in the transaction of the join, which is exact: no participant is announced twice.
const LARGE_FROM: usize = 350;
/// How long a room that was large counts as large.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// Maximum number of rooms that are known. More are read by each join.
const KNOWN_MAX: usize = 1024;

/// Rooms that were large when this process last read them, with the time of that.
#[derive(Debug, Default)]
pub(super) struct LargeRooms(Mutex<HashMap<RoomId, Instant>>);

impl LargeRooms {
    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the room was large a short time ago.
    pub(super) fn contains(&self, room: &RoomId) -> bool {
        self.rooms().get(room).is_some_and(|read| read.elapsed() < KNOWN_FOR)
    }

    /// Remembers a room whose hash was read, if it is large.
    pub(super) fn saw(&self, room: &RoomId, hash: &Value) {
        if fields(hash) < LARGE_FROM {
            return;
        }
        let mut rooms = self.rooms();
        if rooms.len() >= KNOWN_MAX {
            rooms.retain(|_, read| read.elapsed() < KNOWN_FOR);
        }
        if rooms.len() < KNOWN_MAX || rooms.contains_key(room) {
            rooms.insert(room.clone(), Instant::now());
        }
    }
}

/// Returns the number of fields of a hash.
fn fields(hash: &Value) -> usize {
    items(Some(hash)).map_or(0, |items| items.len() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(fields: usize) -> Value {
        Value::Array(vec![Value::Nil; 2 * fields])
    }

    fn room(number: usize) -> RoomId {
        RoomId::parse(&format!("R{number}")).unwrap()
    }

    #[test]
    fn only_large_rooms_are_remembered_and_no_more_than_the_bound() {
        let rooms = LargeRooms::default();
        rooms.saw(&room(0), &hash(LARGE_FROM - 1));
        assert!(!rooms.contains(&room(0)));
        for number in 0..=KNOWN_MAX {
            rooms.saw(&room(number), &hash(LARGE_FROM));
        }
        assert!(rooms.contains(&room(0)) && rooms.contains(&room(KNOWN_MAX - 1)));
        assert!(!rooms.contains(&room(KNOWN_MAX)));
    }
}
