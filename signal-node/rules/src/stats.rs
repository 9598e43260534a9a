//! Statistics of a room.

use switchboard_core::domain::{Refusal, Role};

use super::effect::Effect;
use super::session::SessionView;

/// `webrtc:get-stats`: every participant sees the connection states. Host and moderators also see
/// the statistics of the call.
pub(super) fn get(session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let seat = session.seated()?;
    Ok(Effect::Stats { with_call: seat.role >= Role::Moderator })
}
