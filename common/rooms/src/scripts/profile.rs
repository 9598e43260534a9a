//! profile: changes the name, the picture or the app's data of a user.

use serde::Serialize;
use switchboard_core::domain::UserId;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::participant_event::profile_changed_template;
use switchboard_core::wire::server_event::changed_user_joined_template;

use super::{Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::{ProfileUpdate, StoreError};

/// Arguments of `profile.lua`.
#[derive(Debug)]
pub struct ProfileScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// User.
    pub user: &'a UserId,
    /// Fields that change.
    pub update: &'a ProfileUpdate,
}

impl ScriptArguments for ProfileScript<'_> {
    const SCRIPT: Script = Script::Profile;
    /// Whether this is the latest change that the room knows.
    type Reply = bool;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write_keys(to);
        self.scope.write_arguments(to);
        let ProfileUpdate { name, avatar, metadata, stored_at } = self.update;
        to.text(self.user.as_str());
        match stored_at {
            Some(at) => to.number(u64::try_from(at.0).unwrap_or(0)),
            None => to.optional(None),
        }
        to.optional(json(name.as_ref()).as_deref());
        to.optional(json(avatar.as_ref()).as_deref());
        to.optional(json(metadata.as_ref()).as_deref());
        to.event(EventKind::ProfileChanged, profile_changed_template().as_bytes());
        to.event(EventKind::UserJoined, changed_user_joined_template().as_bytes());
    }

    fn parse(reply: &Reply) -> Result<bool, StoreError> {
        match reply.status() {
            "OK" => Ok(true),
            "STALE" => Ok(false),
            _ => Err(reply.unknown()),
        }
    }
}

/// Returns the new value of a field as JSON; `None` if the field stays.
fn json(value: Option<&impl Serialize>) -> Option<String> {
    value.map(|value| serde_json::json!(value).to_string())
}
