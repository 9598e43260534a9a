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
/// Time between two reads of a missing record.
const READ_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of reads of a missing record.
const READS_MAX: usize = 10;

/// Reads a call of an app by its id.
///
/// # Errors
/// `CALL_NOT_FOUND`, or MongoDB failed.
pub(crate) async fn by_id(app: &App, owner: &AppId, id: &CallId) -> ApiResult<CallRecord> {
    for _ in 0..READS_MAX {
        if let Some(call) = app.records.call(owner, id).await? {
            return Ok(call);
        }
        if !is_new(app, id) {
            break;
        }
        sleep(READ_INTERVAL).await;
    }
    Err(Code::CallNotFound.into())
}

/// Reads the call of a room.
///
/// # Errors
/// `CALL_NOT_FOUND`, or MongoDB failed.
pub(crate) async fn by_room_id(app: &App, room: &RoomId) -> ApiResult<CallRecord> {
    for read in 0..READS_MAX {
        if let Some(call) = app.records.call_by_room_with_profiles(room).await? {
            return Ok(call);
        }
        if read == 0 && !matches!(app.rooms.peek(room).await, Ok(RoomPeek::Open { .. })) {
            break;
        }
        sleep(READ_INTERVAL).await;
    }
    Err(Code::CallNotFound.into())
}

/// Returns whether the id was made a moment ago: it begins with the time in seconds.
fn is_new(app: &App, id: &CallId) -> bool {
    let made_at = id.as_str().get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    (u64::try_from(app.now().0).unwrap_or(0) / 1000).abs_diff(made_at) <= NEW_MAX.as_secs()
}
