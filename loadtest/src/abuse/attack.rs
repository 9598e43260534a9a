//! What an attack is, where it takes place, and what it achieved.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

use super::attacks::{accounts, connections, controls, lobbies, reads, rooms, sockets};
use crate::client::api::Account;

/// One stranger: it attacks until it is dropped.
pub(crate) type Stranger = BoxFuture<'static, ()>;

/// An attack by strangers.
pub(crate) struct Attack {
    /// Name on the command line and in the report.
    pub(crate) name: &'static str,
    /// One sentence: what the strangers do.
    pub(crate) sentence: &'static str,
    /// Prepares the attack. Strangers start to attack only when they are polled.
    pub(crate) prepare: for<'a> fn(&'a Stage, &'a Tally) -> BoxFuture<'a, anyhow::Result<Prepared>>,
}

/// A table row of [`ATTACKS`].
macro_rules! attack {
    ($name:literal, $prepare:path, $sentence:literal) => {
        Attack { name: $name, sentence: $sentence, prepare: |stage, tally| Box::pin($prepare(stage, tally)) }
    };
}

/// All attacks.
pub(crate) const ATTACKS: &[Attack] = &[
    attack!("handshakes", sockets::handshakes, "Opens long-polling sessions as fast as possible and stays silent."),
    attack!("history", rooms::history, "Asks a full chat history for messages before one that does not exist."),
    attack!(
        "lobby",
        lobbies::lobby,
        "Guests join and leave the lobby of a large room whose host leaves and comes back."
    ),
    attack!("joins", rooms::joins, "Joins and leaves a room as a new guest on one connection."),
    attack!("frames", sockets::frames, "Sends WebSocket pings, Engine.IO noops and empty continuation frames."),
    attack!("turn", reads::turn, "Asks for TURN credentials on sockets in no room."),
    attack!("names", accounts::names, "Creates rooms with the names that deleted calls get."),
    attack!("door", lobbies::door, "Guests of a lobby stay when the call gets a passcode, and come without it."),
    attack!("passcode", accounts::passcode, "Guesses a passcode from seven addresses while people who know it join."),
    attack!("signin", accounts::sign_in, "Tries wrong passwords for the e-mail of a user who signs in."),
    attack!("signins", accounts::sign_ins, "Signs in to one account again and again, and ends all sign-ins."),
    attack!("slowread", reads::slow_read, "Asks for large responses over REST and reads none."),
    attack!("unread", reads::unread, "Sends events on 50 sockets each at their full rate, and reads no answer."),
    attack!("roomlog", rooms::roomlog, "Six sockets relay the largest allowed events in one room."),
    attack!("emptycalls", reads::empty_calls, "Joins empty calls over REST alone."),
    attack!("depth", sockets::depth, "Sends JSON of 16,000 levels to sockets and to REST."),
    attack!("handover", sockets::handover, "Sends requests of long-polling sessions to the other node."),
    attack!("register", accounts::register, "Registers accounts as fast as possible."),
    attack!("reads", reads::reads, "Reads calls, deep pages and searches as fast as possible."),
    attack!("slowloris", connections::slowloris, "Begins requests on all ports and never ends them."),
    attack!("connections", connections::bare, "Opens TCP connections on all ports and sends nothing."),
    attack!("churn", sockets::churn, "Opens sockets, connects and drops them."),
    attack!("tokens", sockets::tokens, "Connects with malformed and very long tokens."),
    attack!("typing", rooms::typing, "Sends typing notices to a room of strangers."),
    attack!("media", rooms::media, "Changes its media state with every event."),
    attack!("figures", rooms::figures, "Asks for the figures of a room again and again."),
    attack!("resume", rooms::resume, "Resumes a session from the start of the log again and again."),
    attack!("otherslog", rooms::others_log, "Resumes a session while others fill the log with events for each other."),
    attack!("ghosts", rooms::ghosts, "Takes seats and lets the connections end without leaving."),
    attack!("refresh", accounts::refresh, "Refreshes sign-ins with tokens that are not valid."),
    attack!("payloads", sockets::payloads, "Sends 4,096 packets in each long-polling request."),
    attack!("unfinished", sockets::unfinished, "Holds sockets with a large message whose end never comes."),
    attack!("sockets", sockets::sockets, "Holds sockets that are in no room."),
    attack!("commands", rooms::commands, "Sends commands that only a host may send."),
    attack!("crowd", rooms::crowd, "Broadcasts into one large room as fast as possible."),
    attack!("compute", controls::compute, "Computes and sends nothing: a control."),
    attack!("exchange", controls::exchange, "Sends nothing to the servers, but much to itself: a control."),
    attack!("crowdjoins", rooms::crowd_joins, "Joins and leaves one large room as a new guest on one connection."),
];

/// Result of preparing an attack.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) strangers: Vec<Stranger>,
    /// What honest people do with the attacked object, before and during the attack.
    pub(crate) honest: Option<HonestAction>,
}

/// Performs an action of an honest client once. An error says how it was refused or failed.
pub(crate) type Action = Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// An action of an honest client, repeated in the quiet time and during the attack.
pub(crate) struct HonestAction {
    /// Repetitions in each of the two windows.
    pub(crate) times: u32,
    /// The action.
    pub(crate) act: Action,
}

/// Where an attack takes place.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// `host:port` of each node, for clients.
    pub(crate) nodes: Vec<String>,
    /// `host:port` of the api, for clients.
    pub(crate) api: String,
    /// `host:port` of the probes and metrics of every process.
    pub(crate) admin: Vec<String>,
    /// Number of strangers. Each has one address and may have many connections.
    pub(crate) strangers: usize,
    /// Length of the attack.
    pub(crate) window: Duration,
    /// Number of the attack. It selects the addresses, so that no attack spends the budgets of
    /// another one.
    pub(crate) number: u8,
}

impl Stage {
    /// Source address of a stranger.
    pub(crate) fn stranger(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 100 + self.number, low_byte(index))
    }

    /// Source address of a person who has to do with the attacked object.
    pub(crate) fn honest(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 50 + self.number, low_byte(index))
    }

    /// `host:port` of the node for a connection, round robin.
    pub(crate) fn node(&self, connection: usize) -> String {
        self.nodes[connection % self.nodes.len()].clone()
    }

    /// Registers an account of an honest person.
    pub(crate) async fn honest_account(&self, index: usize) -> anyhow::Result<Account> {
        let account = Account::register_from(&format!("http://{}", self.api), Some(self.honest(index))).await;
        account.context("cannot register an honest account")
    }

    /// Registers an account of a stranger.
    pub(crate) async fn stranger_account(&self, index: usize) -> anyhow::Result<Account> {
        let account = Account::register_from(&format!("http://{}", self.api), Some(self.stranger(index))).await;
        account.context("cannot register the account of a stranger")
    }

    /// Starts `connections` tasks for each stranger. `work` gets the number of the connection and
    /// its source address.
    pub(crate) fn each<F>(&self, connections: usize, work: impl Fn(usize, Ipv4Addr) -> F) -> Vec<Stranger>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let all = 0..self.strangers * connections;
        all.map(|number| -> Stranger { Box::pin(work(number, self.stranger(number % self.strangers))) }).collect()
    }
}

/// Last byte of an address: 1 to 250.
fn low_byte(index: usize) -> u8 {
    u8::try_from(index % 250 + 1).unwrap_or(1)
}

/// A call with its ids.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) room: String,
}

impl Call {
    /// Creates a call with these fields.
    pub(crate) async fn create(account: &Account, fields: &Value) -> anyhow::Result<Self> {
        let data = account.send(reqwest::Method::POST, "/api/video-calls", fields).await?;
        let text = |name: &str| data[name].as_str().map(str::to_owned).context("the new call has no ids");
        Ok(Self { id: text("id")?, room: text("roomId")? })
    }
}

/// What an attack achieved.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Achieved {
    /// Requests, events, frames or connections that were sent.
    pub(crate) attempts: u64,
    /// Outcomes of attempts: `ok`, or a refusal.
    pub(crate) outcomes: BTreeMap<String, u64>,
    /// Things that must be impossible, each with its number.
    pub(crate) breaches: BTreeMap<String, u64>,
}

/// Counts what the strangers of an attack achieve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<Achieved>>);

/// Outcome of an attempt that the server performed.
pub(crate) const OK: &str = "ok";

impl Tally {
    /// Counts an attempt with its outcome.
    pub(crate) fn count(&self, outcome: &str) {
        self.add(1, outcome);
    }

    /// Counts several attempts with the same outcome.
    pub(crate) fn add(&self, attempts: u64, outcome: &str) {
        let mut achieved = self.lock();
        achieved.attempts += attempts;
        match achieved.outcomes.get_mut(outcome) {
            Some(count) => *count += attempts,
            None => drop(achieved.outcomes.insert(outcome.to_owned(), attempts)),
        }
    }

    /// Counts an event that must be impossible.
    pub(crate) fn breach(&self, text: &str) {
        *self.lock().breaches.entry(text.to_owned()).or_default() += 1;
    }

    /// Whether anything was attempted, and each of these outcomes was there.
    pub(crate) fn has_attempts(&self, outcomes: &[&str]) -> bool {
        let achieved = self.lock();
        achieved.attempts > 0 && outcomes.iter().all(|outcome| achieved.outcomes.contains_key(*outcome))
    }

    /// Returns everything that was counted, and starts again at zero.
    pub(crate) fn take(&self) -> Achieved {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Achieved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn attacks_have_unique_names_and_a_sentence() {
        let names: BTreeSet<_> = ATTACKS.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), ATTACKS.len());
        assert!(ATTACKS.iter().all(|attack| attack.sentence.ends_with('.')));
        // Each attack has addresses of its own.
        assert!(ATTACKS.len() <= 50);
    }

    #[test]
    fn outcomes_are_counted_until_they_are_taken() {
        let tally = Tally::default();
        tally.count(OK);
        tally.add(2, "429");
        tally.breach("seated");
        let achieved = tally.take();
        assert_eq!((achieved.attempts, achieved.outcomes["429"], achieved.breaches["seated"]), (3, 2, 1));
        assert_eq!(tally.take().attempts, 0);
    }
}
