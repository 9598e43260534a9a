//! Scripts: their sources, and for each one a struct that names its arguments and an enum or struct
//! that holds its reply.
//!
//! | file | scripts |
//! |---|---|
//! | `alive` | alive |
//! | `app` | enter_app, count_app |
//! | `attach` | attach |
//! | `departure` | detach, leave |
//! | `end` | end |
//! | `ephemeral` | ephemeral |
//! | `expire` | expire |
//! | `join` | join |
//! | `lease` | acquire_lease, release_lease, trim_outbox |
//! | `moderation` | admit, deny, role, permissions, mute, lower_hand, kick, update |
//! | `node` | beat, check_node, declare_dead, leave_ring, sweep_start, sweep_one, deregister_node |
//! | `open` | open, reserve, reopen |
//! | `operation` | relay, bcast, media, hand, chat |
//! | `profile` | profile |
//! | `rate` | spend, guess |
//! | `reseat` | reseat |
//! | `revoke` | revoke |
//! | `server_event` | server_event |
//! | `scope` | the keys and arguments that many scripts begin with |
//! | `reply` | reads values from a script's reply |
//! | `writer` | writes a script's command |
//!
//! The table at the head of each Lua file lists `KEYS`, `ARGV` and replies. The `write` method of
//! its struct follows that table line by line; no other code knows an argument's number.

mod alive;
mod app;
mod attach;
mod departure;
mod end;
mod ephemeral;
mod expire;
mod join;
mod lease;
mod moderation;
mod node;
mod open;
mod operation;
mod profile;
mod rate;
mod relays;
mod reply;
mod reseat;
mod revoke;
mod scope;
mod server_event;
mod writer;

use sha1::{Digest, Sha1};

use crate::StoreError;

pub use alive::AliveScript;
pub use app::{CountAppScript, EnterAppScript, REPORTED_ROOMS_MAX};
pub use attach::{AttachReply, AttachScript, AttachedSeat};
pub use departure::{DetachScript, LeaveScript};
pub use end::{EndCaller, EndScript};
pub use ephemeral::EphemeralScript;
pub use expire::{DeadlineReply, ExpireScript};
pub use join::{JoinReply, JoinScript};
pub use lease::{AcquireLeaseScript, LeaseReply, ReleaseLeaseScript, TrimOutboxScript};
pub use moderation::{
    AdmitScript, DenyScript, KickScript, LowerHandScript, ModerationScope, MuteScript, PermissionsScript, RoleScript,
    UpdateScript,
};
pub use node::{
    BeatScript, CheckNodeScript, DeathReply, DeclareDeadScript, DeregisterNodeScript, DeregisterReply, LeaveRingScript,
    SweepOneScript, SweepStartScript,
};
pub use open::{OpenReply, OpenScript, ReopenScript, ReserveScript};
pub(crate) use operation::operation_reply;
pub use operation::{BroadcastScript, ChatScript, HandScript, MediaScript, OperationScope, RelayScript};
pub use profile::ProfileScript;
pub use rate::{GuessBounds, GuessReply, GuessScript, GuessStep, SpendScript};
pub use relays::RelaysScript;
pub use reply::{GivenSeat, Reply};
pub use reseat::ReseatScript;
pub use revoke::RevokeScript;
pub use scope::{RoomScope, SeatScope, log_bounds};
pub use server_event::ServerEventScript;
pub use writer::ScriptWriter;

/// A script's arguments and reply.
pub trait ScriptArguments {
    /// Script that takes these arguments.
    const SCRIPT: Script;
    /// Reply of the script.
    type Reply;

    /// Writes keys, then arguments, in the order of the table at the head of the script's file.
    fn write(&self, to: &mut ScriptWriter<'_>);

    /// Reads the reply.
    ///
    /// # Errors
    /// `Unexpected`, if the reply is none that the head of the script's file lists.
    fn parse(reply: &Reply) -> Result<Self::Reply, StoreError>;
}

/// Appends the command of a script to `out`. `hash` is the SHA-1 of the script's source.
pub fn write_command<S: ScriptArguments>(out: &mut Vec<u8>, hash: &str, arguments: &S) {
    let mut writer = ScriptWriter::begin(out, hash);
    arguments.write(&mut writer);
    writer.finish();
}

/// Lists the scripts, each with the files of its source. The last file is its own.
macro_rules! scripts {
    ($($(#[$doc:meta])* $script:ident $name:literal [$($file:literal)*];)*) => {
        /// A script.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Script { $($(#[$doc])* $script,)* }

        impl Script {
            /// Every script.
            pub const ALL: &[Self] = &[$(Self::$script,)*];

            /// Returns the name, as metrics show it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$script => $name,)* }
            }

            /// Returns the Lua source.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self {
                    $(Self::$script => concat!($(include_str!(concat!("../lua/", $file, ".lua"))),*),)*
                }
            }
        }
    };
}

scripts! {
    /// Creates a room.
    Open "open" ["shared/prelude" "shared/seats" "shared/seating" "scripts/open"];
    /// Lets an ended call take place once more.
    Reopen "reopen" ["shared/prelude" "shared/seats" "shared/seating" "scripts/reopen"];
    /// Keeps a room id for a call.
    Reserve "reserve" ["scripts/reserve"];
    /// Takes a seat.
    Join "join" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/departure" "shared/profile" "shared/media_state" "shared/permissions" "scripts/join"];
    /// Changes the profile of a user's seats.
    Profile "profile" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/profile" "scripts/profile"];
    /// Sends an event to one peer, or several events to one peer each.
    Relay "relay" ["scripts/relay_fast_path" "shared/prelude" "shared/seats" "shared/operation" "shared/receiver" "scripts/relay"];
    /// Sends an event to everyone else.
    Bcast "bcast" ["shared/prelude" "shared/seats" "shared/operation" "scripts/bcast"];
    /// Switches the sender's media.
    Media "media" ["shared/prelude" "shared/seats" "shared/operation" "shared/required_settings" "shared/media_state" "scripts/media"];
    /// Raises or lowers the sender's hand.
    Hand "hand" ["shared/prelude" "shared/seats" "shared/operation" "scripts/hand"];
    /// Sends a chat message.
    Chat "chat" ["shared/prelude" "shared/seats" "shared/operation" "shared/receiver" "shared/required_settings" "scripts/chat"];
    /// Sends an event that is in no log.
    Ephemeral "ephemeral" ["shared/prelude" "shared/seats" "shared/required_settings" "scripts/ephemeral"];
    /// Sends an event of an app's backend.
    ServerEvent "server_event" ["shared/prelude" "shared/seats" "scripts/server_event"];
    /// Records that a seat's client is alive.
    Alive "alive" ["shared/prelude" "shared/seats" "scripts/alive"];
    /// Resumes a seat.
    Attach "attach" ["shared/prelude" "shared/seats" "shared/seating" "scripts/attach"];
    /// Keeps a seat without its socket.
    Detach "detach" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/departure" "scripts/detach"];
    /// Gives up a seat.
    Leave "leave" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/departure" "scripts/leave"];
    /// Ends a call.
    End "end" ["shared/prelude" "shared/seats" "shared/seating" "shared/end_call" "scripts/end"];
    /// Handles one deadline.
    Expire "expire" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/departure" "shared/lobby" "shared/end_call" "scripts/expire"];
    /// Puts back a lost seat.
    Reseat "reseat" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "scripts/reseat"];
    /// Admits participants from the lobby.
    Admit "admit" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/lobby" "shared/moderation" "scripts/admit"];
    /// Refuses a participant in the lobby.
    Deny "deny" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/departure" "shared/moderation" "scripts/deny"];
    /// Gives a user a role.
    Role "role" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/moderation" "scripts/role"];
    /// Changes what a user may do.
    Permissions "permissions" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/moderation" "shared/media_state" "shared/permissions" "scripts/permissions"];
    /// Switches off a participant's medium.
    Mute "mute" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/moderation" "shared/media_state" "scripts/mute"];
    /// Lowers a participant's hand.
    LowerHand "lower_hand" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/moderation" "scripts/lower_hand"];
    /// Removes a user.
    Kick "kick" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/departure" "shared/moderation" "scripts/kick"];
    /// Changes the call.
    Update "update" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/departure" "shared/lobby" "shared/moderation" "scripts/update"];
    /// Counts a node's heartbeat.
    Beat "beat" ["scripts/beat"];
    /// Registers a node in a partition, or checks that it is registered.
    CheckNode "check_node" ["scripts/check_node"];
    /// Declares a node dead.
    DeclareDead "declare_dead" ["scripts/declare_dead"];
    /// Removes a node from a ring.
    LeaveRing "leave_ring" ["scripts/leave_ring"];
    /// Removes a dead node from a partition.
    SweepStart "sweep_start" ["scripts/sweep_start"];
    /// Sweeps one seat of a dead node.
    SweepOne "sweep_one" ["shared/prelude" "shared/seats" "shared/seating" "shared/roles" "shared/departure" "scripts/sweep_one"];
    /// Removes a node that holds no seat.
    DeregisterNode "deregister_node" ["scripts/deregister_node"];
    /// Takes or renews the lease of an outbox.
    AcquireLease "acquire_lease" ["scripts/acquire_lease"];
    /// Gives up the lease of an outbox.
    ReleaseLease "release_lease" ["scripts/release_lease"];
    /// Drops facts that are stored durably.
    TrimOutbox "trim_outbox" ["scripts/trim_outbox"];
    /// Revokes a sign-in.
    Revoke "revoke" ["scripts/revoke"];
    /// Takes one request from a rate.
    Spend "spend" ["scripts/spend"];
    /// Counts wrong guesses of a secret.
    Guess "guess" ["scripts/guess"];
    /// Counts participants of an app.
    EnterApp "enter_app" ["scripts/enter_app"];
    /// Returns the participants and rooms of an app.
    CountApp "count_app" ["scripts/count_app"];
}

/// The names under which Redis knows the scripts: the SHA-1 of each source.
#[derive(Debug)]
pub struct Hashes(Vec<String>);

impl Hashes {
    /// Computes them.
    #[must_use]
    pub fn compute() -> Self {
        Self(Script::ALL.iter().map(|script| hex::encode(Sha1::digest(script.source()))).collect())
    }

    /// Returns the hash of a script, as `EVALSHA` takes it.
    #[must_use]
    pub fn of(&self, script: Script) -> &str {
        &self.0[script as usize]
    }
}
