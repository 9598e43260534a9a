//! join: takes a seat in the call or in the lobby.

use switchboard_core::domain::{CallPermissions, Role};
use switchboard_core::wire::participant_event::profile_changed_template;
use switchboard_core::wire::{EventKind, LogId};

use super::moderation::permission_events;
use super::{GivenSeat, Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::{Join, StoreError, TokenGrant};

/// Time for which a room keeps the newest grant of a user, in ms: longer than a user token is good.
const GRANT_LIFETIME_MS: u64 = 25 * 3600 * 1000;

/// Arguments of `join.lua`.
#[derive(Debug)]
pub struct JoinScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Node that serves the seat.
    pub node: &'a str,
    /// The request.
    pub join: &'a Join,
    /// Participant, a template.
    pub participant: String,
    /// Participant in the lobby, a template.
    pub waiting_participant: String,
    /// `room:user-joined`, a template.
    pub joined_event: String,
    /// Media as JSON.
    pub media: String,
    /// Details of the `joined` fact as JSON.
    pub joined_details: String,
    /// Number of places in the lobby.
    pub lobby_places: u32,
    /// Maximum number of seats of one user.
    pub devices_max: u32,
    /// `participant:connection-changed` to connected, a template.
    pub back_event: String,
    /// Time of the first attempt, as a `PROBING` reply gave it.
    pub first_try: Option<&'a str>,
    /// Time that a socket has to show that its client is alive, in ms; 0 if every socket counts as
    /// alive.
    pub probe_ms: u64,
    /// Whether the script only answers, and gives no seat.
    pub only_asks: bool,
}

/// Reply of `join.lua`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinReply {
    /// The session has a seat in the call; the id is the join id.
    Seated(GivenSeat),
    /// The session took over the user's own seat, which had lost its socket.
    Back {
        /// Seat with its new generation, and the log id after which delivery starts.
        given: GivenSeat,
        /// Join id of the seat.
        join: LogId,
    },
    /// The session waits in the lobby; its view of the log begins at the id.
    Waiting(GivenSeat),
    /// A seat, or a place in the lobby, would be given.
    Possible,
    /// It is not known yet whether an earlier socket of the user is alive. Holds the time of the
    /// first attempt.
    Probing(String),
    /// Every seat, or every place in the lobby, is taken.
    Full,
    /// The user has as many seats as one user may have.
    TooManyDevices,
    /// The room is locked.
    Locked,
    /// The user, or the address of a guest, is banned.
    Banned,
    /// The proof is older than a removal.
    Removed,
    /// The call has ended.
    Ended,
    /// The room is not in Redis.
    Absent,
    /// Metadata, the role or permissions given in the room, or the newest grant are not those that
    /// admission saw.
    Changed,
    /// The node is not registered.
    Fenced,
}

impl ScriptArguments for JoinScript<'_> {
    const SCRIPT: Script = Script::Join;
    type Reply = JoinReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let (keys, partition) = (self.scope.room.keys, self.scope.room.partition);
        let join = self.join;
        self.scope.write_keys(to);
        to.key(&[&keys.nodes(partition)]);
        to.key(&[&keys.on(partition, self.node)]);
        to.key(&[&keys.grants(partition, self.scope.room.room)]);
        self.scope.write_arguments(to);
        to.text(join.user.as_str());
        to.text(&join.pid);
        to.text(self.node);
        to.text(&join.handle.to_string());
        to.text(join.role.as_str());
        to.number(join.meta_version);
        to.optional(join.old_pid.as_deref());
        to.flag(join.waits);
        to.text(&self.participant);
        to.event(EventKind::UserJoined, self.joined_event.as_bytes());
        to.text(&self.media);
        to.text(&self.joined_details);
        to.optional(join.given.map(|role| role.as_str()));
        to.number(join.proof.issued_ms);
        to.optional(join.proof.address.as_deref());
        to.number(u64::from(self.lobby_places));
        to.text(&self.waiting_participant);
        to.number(u64::from(self.devices_max));
        to.event(EventKind::ConnectionChanged, self.back_event.as_bytes());
        to.optional(self.first_try);
        to.number(self.probe_ms);
        to.flag(self.only_asks);
        to.event(EventKind::ProfileChanged, profile_changed_template().as_bytes());
        to.flag(join.grant.is_some_and(|grant| grant.role == Role::Host));
        to.optional(join.given_permissions.map(CallPermissions::to_json).as_deref());
        to.optional(join.grant.as_ref().map(TokenGrant::to_string).as_deref());
        to.number(GRANT_LIFETIME_MS);
        to.optional(join.grant.map(|_| permission_events(None)).as_deref());
    }

    fn parse(reply: &Reply) -> Result<JoinReply, StoreError> {
        Ok(match (reply.status(), reply.given_seat()?) {
            ("OK", Some(seat)) => JoinReply::Seated(seat),
            ("BACK", Some(given)) => JoinReply::Back { given, join: reply.id(4)? },
            ("WAITING", Some(seat)) => JoinReply::Waiting(seat),
            ("MAY", _) => JoinReply::Possible,
            ("PROBING", _) => JoinReply::Probing(reply.text(1)?.to_owned()),
            ("FULL", _) => JoinReply::Full,
            ("DEVICES", _) => JoinReply::TooManyDevices,
            ("LOCKED", _) => JoinReply::Locked,
            ("BANNED", _) => JoinReply::Banned,
            ("REMOVED", _) => JoinReply::Removed,
            ("ENDED", _) => JoinReply::Ended,
            ("ABSENT", _) => JoinReply::Absent,
            ("CHANGED", _) => JoinReply::Changed,
            ("FENCED", _) => JoinReply::Fenced,
            _ => return Err(reply.unknown()),
        })
    }
}
