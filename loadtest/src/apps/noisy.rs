//! An app that asks for five times its limits, beside a quiet app on the same cluster.
//!
//! The quiet app's pairs relay offers, and its users join calls and leave, before and while the
//! noisy app connects, joins, sends events and asks by REST. The cluster has no limits for clients
//! and addresses, so that the limits of the app alone keep the noisy one in its bounds.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::abuse::attack::{Attack, OK, Prepared, Stage, Stranger, Tally};
use crate::abuse::connection::{Client, IdleClient, Rest, failure, outcome};
use crate::abuse::honest::{HonestFigures, HonestProfile};
use crate::abuse::report::AttackResult;
use crate::abuse::{Fleet, Target};
use crate::client::app::{AppClient, operator_variable};
use crate::client::route::Route;
use crate::scenario::{count, seconds};

/// Calls of the noisy app, and participants in them: its limits, which it has reached.
const CALLS: usize = 5;
const PARTICIPANTS: usize = 20;
/// Limits of its events and requests, each second.
const EVENTS: u32 = 100;
const REQUESTS: u32 = 20;
/// The noisy app asks for this many times its limits.
const FACTOR: u32 = 5;
/// Clients that try to join beyond the limits, and attempts of all of them in a second.
const JOINERS: usize = 8;
const JOINS: u32 = 20;
/// Clients that connect and go, and connections of all of them in a second.
const CONNECTORS: usize = 4;
const CONNECTS: u32 = 50;
/// Connections of REST requests.
const ASKERS: usize = 10;

/// Refusals by each limit of the noisy app. If one is missing, the app was not at its limits.
const REFUSALS: [&str; 3] = ["join APP_LIMIT_REACHED", "event RATE_LIMIT_EXCEEDED", "request 429 RATE_LIMIT_EXCEEDED"];

/// Command-line arguments of `noisy`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Length of the noise, and of the quiet time before it.
    #[arg(long, default_value = "20", value_parser = seconds, value_name = "SECONDS")]
    seconds: Duration,
    /// Pairs of clients of the quiet app.
    #[arg(long, default_value = "20", value_parser = count)]
    pairs: usize,
    /// Relays per second of each pair.
    #[arg(long, default_value_t = 4.0)]
    relays: f64,
    /// Joins per second of the quiet app.
    #[arg(long, default_value_t = 5.0)]
    joins: f64,
    /// Number of signal-nodes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=20))]
    nodes: u8,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

static NOISE: Attack = Attack {
    name: "noisy",
    sentence: "An app asks for five times its limits.",
    prepare: |stage, tally| Box::pin(prepare(stage, tally)),
};

/// Runs the quiet time and the noise. Returns the text to print, and whether the quiet app was not
/// hurt.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<(String, bool)> {
    let profile = HonestProfile { pairs: settings.pairs, relays: settings.relays, joins: settings.joins };
    let fleet = Fleet { nodes: settings.nodes, profile };
    let mut target = Target::start(fleet, Some(vec![operator_variable()])).await?;
    let mut result = target.attack(&NOISE, 1, (settings.seconds, 1), &REFUSALS).await?;
    // The memory of a process is not the question here.
    result.judge(f64::INFINITY);
    let missing = REFUSALS.iter().filter(|refusal| !result.achieved.outcomes.contains_key(**refusal));
    let missing: Vec<_> = missing.map(|refusal| format!("the noisy app was not at its limits: no {refusal}")).collect();
    result.violations.extend(missing);
    if !result.violations.is_empty() {
        target.print_logs();
    }
    target.stop().await?;
    let text = if settings.json { serde_json::to_string_pretty(&result)? } else { table(&result) };
    Ok((text, result.violations.is_empty()))
}

/// Seats the noisy app up to its limits. Returns the clients that ask for more.
async fn prepare(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let limits = json!({
        "maxConcurrentCalls": CALLS, "maxConcurrentParticipants": PARTICIPANTS,
        "maxEventsPerSecond": EVENTS, "maxRequestsPerSecond": REQUESTS,
    });
    let app = AppClient::create(&format!("http://{}", stage.api), "Noisy", &limits).await?;
    let tokens = app.tokens(PARTICIPANTS + JOINERS).await?;
    for number in 0..CALLS {
        app.create_call(&room(number), &json!({})).await?;
    }
    let mut noise: Vec<Stranger> = Vec::new();
    for (number, token) in tokens[..PARTICIPANTS].iter().enumerate() {
        let mut client = Client::open(Route::new(stage.stranger(number), &stage.node(number)), &auth(token)).await?;
        let joined = client.ask("room:join", &json!({ "roomId": room(number) })).await?;
        ensure!(outcome(&joined) == OK, "a participant of the noisy app was refused: {joined}");
        let period = Duration::from_secs(1) * u32::try_from(PARTICIPANTS)? / (FACTOR * EVENTS);
        noise.push(Box::pin(send_events(IdleClient::keep(client), period, tally.clone())));
    }
    for (number, token) in tokens[PARTICIPANTS..].iter().enumerate() {
        let (stage, token, tally) = (stage.clone(), token.clone(), tally.clone());
        let period = Duration::from_secs(1) * u32::try_from(JOINERS)? / JOINS;
        noise.push(Box::pin(repeat(period, tally, "join", async move || {
            let mut client =
                Client::open(Route::new(stage.stranger(number), &stage.node(number)), &auth(&token)).await?;
            client.ask("room:join", &json!({ "roomId": room(number) })).await.map(|reply| outcome(&reply))
        })));
    }
    for (number, token) in tokens[..CONNECTORS].iter().enumerate() {
        let (stage, token, tally) = (stage.clone(), token.clone(), tally.clone());
        let period = Duration::from_secs(1) * u32::try_from(CONNECTORS)? / CONNECTS;
        noise.push(Box::pin(repeat(period, tally, "connect", async move || {
            let route = stage.node(number);
            Client::open(Route::new(stage.stranger(number), &route), &auth(&token)).await.map(|_| OK.to_owned())
        })));
    }
    for (number, token) in tokens[..ASKERS].iter().enumerate() {
        let mut rest = Rest::new(stage.stranger(number), &stage.api);
        let (token, tally) = (token.clone(), tally.clone());
        let period = Duration::from_secs(1) * u32::try_from(ASKERS)? / (FACTOR * REQUESTS);
        let path = format!("/api/video-calls/room/{}", room(number));
        noise.push(Box::pin(repeat(period, tally, "request", async move || {
            Ok(rest.get(&path, Some(&token)).await.outcome())
        })));
    }
    Ok(Prepared { strangers: noise, honest: None })
}

fn room(number: usize) -> String {
    format!("noisy-{}", number % CALLS)
}

fn auth(token: &str) -> Value {
    json!({ "token": token })
}

/// Sends a chat message in each period, until the socket ends.
async fn send_events(client: IdleClient, period: Duration, tally: Tally) {
    let Some(mut client) = client.take().await else { return tally.breach("a client of the noisy app is gone") };
    let mut ticks = ticks(period);
    loop {
        ticks.tick().await;
        match client.ask("chat:message", &json!({ "message": "noise" })).await {
            Ok(reply) => tally.count(&format!("event {}", outcome(&reply))),
            Err(error) => return tally.count(&format!("event {}", failure(&error))),
        }
    }
}

/// Does something in each period, and counts its outcome under this name.
async fn repeat(
    period: Duration,
    tally: Tally,
    name: &'static str,
    mut act: impl AsyncFnMut() -> anyhow::Result<String>,
) {
    let mut ticks = ticks(period);
    loop {
        ticks.tick().await;
        let outcome = act().await.unwrap_or_else(|error| failure(&error));
        tally.count(&format!("{name} {outcome}"));
    }
}

/// A slow attempt delays the next one, so that a slow machine has less noise.
fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Figure of a window.
type Figure = fn(&HonestFigures) -> f64;

/// Formats the figures of the quiet app before and during the noise, and the outcomes of the noise.
fn table(result: &AttackResult) -> String {
    let mut text = "| quiet app | before | during | ratio |\n|---|---|---|---|\n".to_owned();
    let rows: [(&str, Figure); 4] = [
        ("relay p50, ms", |figures| figures.relay_p50),
        ("relay p99, ms", |figures| figures.relay_p99),
        ("join p50, ms", |figures| figures.join_p50),
        ("join p99, ms", |figures| figures.join_p99),
    ];
    // Writing to a string does not fail.
    for (name, of) in rows {
        let (before, during) = (of(&result.quiet), of(&result.during));
        let ratio = if before > 0.0 { format!("{:.1}", during / before) } else { String::new() };
        let _infallible = writeln!(text, "| {name} | {before:.1} | {during:.1} | {ratio} |");
    }
    let counts = |figures: &HonestFigures| (figures.relays, figures.joins, figures.relays_lost);
    let ((relays, joins, lost), after) = (counts(&result.quiet), counts(&result.during));
    for (name, before, during) in
        [("relays", relays, after.0), ("joins", joins, after.1), ("relays lost", lost, after.2)]
    {
        let _infallible = writeln!(text, "| {name} | {before} | {during} | |");
    }
    text.push_str("\n| noisy app | number |\n|---|---|\n");
    for (outcome, number) in &result.achieved.outcomes {
        let _infallible = writeln!(text, "| {outcome} | {number} |");
    }
    for violation in &result.violations {
        let _infallible = writeln!(text, "violated: {violation}");
    }
    text
}
