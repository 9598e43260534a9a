//! Rooms in figures: who may see which.

use switchboard_core::domain::{Refusal, Role};

use super::effect::Effect;
use super::session::SessionView;

/// `webrtc:get-stats`: everybody sees who is connected how; who runs the call sees the call as well.
pub(super) fn get(session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let place = session.seated()?;
    Ok(Effect::Stats { of_the_call: place.role >= Role::Moderator })
}
