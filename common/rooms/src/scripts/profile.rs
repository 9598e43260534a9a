//! profile: a user changed their name or picture.

use switchboard_core::domain::{PublicUser, Timestamp};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::participant_event::profile_changed_template;
use switchboard_core::wire::server_event::user_joined_template;

use super::{Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::StoreError;

/// Arguments of `profile.lua`.
#[derive(Debug)]
pub struct ProfileScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// The user from now on.
    pub user: &'a PublicUser,
    /// Time of the change.
    pub changed_at: Timestamp,
}

impl ScriptArguments for ProfileScript<'_> {
    const SCRIPT: Script = Script::Profile;
    /// Whether this is the latest change that the room knows.
    type Reply = bool;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write_keys(to);
        self.scope.write_arguments(to);
        to.text(self.user.id.as_str());
        to.number(u64::try_from(self.changed_at.0).unwrap_or(0));
        to.text(&serde_json::json!(self.user).to_string());
        to.event(EventKind::ProfileChanged, profile_changed_template(self.user).as_bytes());
        to.event(EventKind::UserJoined, user_joined_template(self.user).as_bytes());
    }

    fn parse(reply: &Reply) -> Result<bool, StoreError> {
        match reply.status() {
            "OK" => Ok(true),
            "STALE" => Ok(false),
            _ => Err(reply.unknown()),
        }
    }
}
