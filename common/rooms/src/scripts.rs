//! The scripts: their sources, and the names that Redis knows them by. What each takes and answers stands at the top of its file.

use std::fmt::Write as _;

use sha1::{Digest, Sha1};

/// Lists the scripts, each with the files it is put together from, the last one being its own.
macro_rules! scripts {
    ($($(#[$doc:meta])* $script:ident $name:literal [$($file:literal)*];)*) => {
        /// A script.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Script { $($(#[$doc])* $script,)* }

        impl Script {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$script,)*];

            /// Its name, for metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$script => $name,)* }
            }

            /// What Redis runs.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self { $(Self::$script => concat!($(include_str!(concat!("lua/", $file, ".lua"))),*),)* }
            }
        }
    };
}

scripts! {
    /// Makes a room or updates its meta.
    Open "open" ["prelude" "seats" "open"];
    /// Takes a seat.
    Join "join" ["prelude" "seats" "people" "parting" "join"];
    /// One peer to another.
    Relay "relay" ["prelude" "relay_usual" "turn" "reach" "relay"];
    /// One peer to everybody else.
    Bcast "bcast" ["prelude" "turn" "bcast"];
    /// Changes the sender's media and tells everybody else.
    Media "media" ["prelude" "turn" "settings" "media_state" "media"];
    /// Somebody says something.
    Chat "chat" ["prelude" "turn" "reach" "settings" "chat"];
    /// An event that is in no log.
    Hint "hint" ["prelude" "settings" "hint"];
    /// Resumes a seat.
    Attach "attach" ["prelude" "seats" "attach"];
    /// A socket was lost.
    Detach "detach" ["prelude" "seats" "people" "parting" "detach"];
    /// Gives up a seat.
    Leave "leave" ["prelude" "seats" "people" "parting" "leave"];
    /// Ends a call.
    End "end" ["prelude" "seats" "ending" "end"];
    /// One deadline.
    Expire "expire" ["prelude" "seats" "people" "parting" "lobby" "ending" "expire"];
    /// Puts back a lost seat.
    Reseat "reseat" ["prelude" "seats" "reseat"];
    /// Lets people in from the lobby.
    Admit "admit" ["prelude" "seats" "people" "lobby" "command" "admit"];
    /// Turns somebody away from the lobby.
    Deny "deny" ["prelude" "seats" "people" "parting" "command" "deny"];
    /// Gives somebody a role.
    Role "role" ["prelude" "seats" "people" "command" "role"];
    /// Switches off a medium of somebody's.
    Mute "mute" ["prelude" "seats" "people" "command" "media_state" "mute"];
    /// Removes somebody.
    Kick "kick" ["prelude" "seats" "people" "parting" "command" "kick"];
    /// Changes the call.
    Update "update" ["prelude" "seats" "people" "lobby" "command" "update"];
    /// A node lives.
    Beat "beat" ["beat"];
    /// Declares a node dead.
    SweepStart "sweep_start" ["sweep_start"];
    /// One seat of a dead node.
    SweepOne "sweep_one" ["prelude" "seats" "people" "parting" "sweep_one"];
    /// A node goes.
    Retire "retire" ["retire"];
    /// The lease of an outbox.
    Own "own" ["own"];
    /// Gives that lease up.
    Disown "disown" ["disown"];
    /// Drops written facts.
    Ack "ack" ["ack"];
    /// Ends a sign-in.
    Revoke "revoke" ["revoke"];
    /// One request against a rate.
    Spend "spend" ["spend"];
    /// Gives it back.
    Refund "refund" ["refund"];
}

/// The names that Redis gives the scripts: the SHA-1 of their sources.
#[derive(Debug)]
pub struct Hashes(Vec<String>);

impl Hashes {
    /// Computes them.
    #[must_use]
    pub fn compute() -> Self {
        Self(Script::ALL.iter().map(|script| hex(&Sha1::digest(script.source()))).collect())
    }

    /// What EVALSHA takes.
    #[must_use]
    pub fn of(&self, script: Script) -> &str {
        &self.0[script as usize]
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
