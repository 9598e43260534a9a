//! Finds a call that a client names.
//!
//! A first join creates a call in Redis, and the recorder writes its record a moment later. A
//! client learns of the call by the join, and may ask for it before that.

use std::time::Duration;

use switchboard_core::domain::{AppId, CallId, Code, RoomId};
use switchboard_records::CallRecord;
use switchboard_rooms::RoomPeek;
use tokio::time::sleep;

use crate::app::App;
use crate::http::error::ApiResult;

/// Age up to which the record of a call may still be missing.
const NEW_MAX: Duration = Duration::from_secs(5);
/// Times before each further read of a missing record. They are few, because a stranger can make an
/// id up that looks new.
const PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(250), Duration::from_millis(500)];

/// Reads a call of an app by its id.
///
/// # Errors
/// `CALL_NOT_FOUND`, or MongoDB failed.
pub(crate) async fn by_id(app: &App, owner: &AppId, id: &CallId) -> ApiResult<CallRecord> {
    let mut pauses = PAUSES.into_iter().filter(|_| is_new(app, id));
    loop {
        if let Some(call) = app.records.call(owner, id).await? {
            return Ok(call);
        }
        sleep(pauses.next().ok_or(Code::CallNotFound)?).await;
    }
}

/// Reads the call of a room.
///
/// # Errors
/// `CALL_NOT_FOUND`, or MongoDB failed.
pub(crate) async fn by_room_id(app: &App, room: &RoomId) -> ApiResult<CallRecord> {
    if let Some(call) = app.records.call_by_room_with_profiles(room).await? {
        return Ok(call);
    }
    if matches!(app.rooms.peek(room).await, Ok(RoomPeek::Open { .. })) {
        for pause in PAUSES {
            sleep(pause).await;
            if let Some(call) = app.records.call_by_room_with_profiles(room).await? {
                return Ok(call);
            }
        }
    }
    Err(Code::CallNotFound.into())
}

/// Returns whether the id was made a moment ago: it begins with the time in seconds.
fn is_new(app: &App, id: &CallId) -> bool {
    let made_at = id.as_str().get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    (u64::try_from(app.now().0).unwrap_or(0) / 1000).abs_diff(made_at) <= NEW_MAX.as_secs()
}
