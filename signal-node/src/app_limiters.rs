//! Limits of apps on this node: participants and calls at the same time, and events in a second.
//!
//! A session of an app has the limiter of its app, and in a room an [`AppPlace`]. The node reports
//! its places of each limited app to Redis every second, under keys of the app (`enter_app.lua`).
//! An entry into a room adds one place to the report, by the same script, which refuses it at a
//! limit. So all nodes together give no place above a limit, and a count that was lost is right
//! again with the next report.
//!
//! Events are counted in memory, because a request to Redis for each would cost as much as the
//! event. Each node has the share of the app's rate that it has of the app's participants, as of
//! the last report.
//!
//! The app of accounts and guests has no limiter, and an app without limits sends no report.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use switchboard_calls::{AppDirectory, LimitRefusals, count_open_entry};
use switchboard_core::domain::{AppId, AppLimit, AppLimits, Refusal, RoomId};
use switchboard_rooms::{AppEntry, AppReport, Rooms};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Time between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Time that an entry or a report waits for Redis. Then the entry passes: an outage must not turn
/// participants away whose room is on another server.
const REPORT_TIMEOUT: Duration = Duration::from_millis(500);
/// Time for which entries pass without a request after one that was not answered.
const OPEN_INTERVAL: Duration = Duration::from_secs(1);
/// Time that a user who comes back waits for the place of the earlier socket, and time between two
/// attempts. Another node reports a closed socket within a second.
const RETURN_TIMEOUT: Duration = Duration::from_secs(2);
const RETURN_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Limiters of the apps that have a session on this node. Clones share them.
#[derive(Clone)]
pub struct AppLimiters(Arc<Shared>);

struct Shared {
    rooms: Rooms,
    apps: AppDirectory,
    limiters: Mutex<HashMap<AppId, Arc<AppLimiter>>>,
}

/// Limiter of one app on this node.
#[derive(Debug)]
pub struct AppLimiter {
    app: AppId,
    rooms: Rooms,
    refusals: LimitRefusals,
    state: Mutex<State>,
    /// Whether events have a rate. Sessions of an app without one need no lock for an event.
    limits_events: AtomicBool,
}

#[derive(Debug)]
struct State {
    limits: AppLimits,
    /// Places, those that Redis was just asked for included; and their number in each room.
    places: u32,
    rooms: HashMap<RoomId, u32>,
    /// Places in the last report.
    reported: u32,
    /// This node's share of the app's participants: part and whole. All, before the first report.
    share: (u32, u32),
    /// Time at which the bucket of events is full again.
    full_at: Option<Instant>,
    /// Time until which entries pass without a request.
    open_until: Option<Instant>,
}

/// Place of one participant, seated or in the lobby. Dropping it gives it up.
#[derive(Debug)]
pub struct AppPlace {
    limiter: Arc<AppLimiter>,
    room: RoomId,
}

/// How a session enters a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The session leaves another room with it.
    pub switches: bool,
    /// The user has a seat in the room, whose earlier socket may still have a place.
    pub returns: bool,
}

impl AppLimiters {
    /// Creates an empty set.
    #[must_use]
    pub fn new(rooms: Rooms, apps: AppDirectory) -> Self {
        Self(Arc::new(Shared { rooms, apps, limiters: Mutex::default() }))
    }

    /// Returns the limiter of an app; `None` for the app of accounts and guests. The first session
    /// of a limited app waits for the first report, so that the node knows its share.
    pub async fn of(&self, app: &AppId) -> Option<Arc<AppLimiter>> {
        if app.is_default() {
            return None;
        }
        let known = self.lock().get(app).cloned();
        if known.is_some() {
            return known;
        }
        let refusals = self.0.apps.refusals();
        let new = || Arc::new(AppLimiter::new(app.clone(), self.0.rooms.clone(), refusals.clone()));
        let limiter = Arc::clone(self.lock().entry(app.clone()).or_insert_with(new));
        limiter.report(self.0.apps.limits(app)).await;
        Some(limiter)
    }

    /// Reports each second until `stop`, and then once more.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(REPORT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                () = stop.cancelled() => true,
            };
            self.report().await;
            if is_last {
                return;
            }
        }
    }

    async fn report(&self) {
        let limiters: Vec<_> = self.lock().values().cloned().collect();
        join_all(limiters.iter().map(|limiter| limiter.report(self.0.apps.limits(&limiter.app)))).await;
        drop(limiters);
        let now = Instant::now();
        self.lock().retain(|_, limiter| Arc::strong_count(limiter) > 1 || !limiter.lock().is_settled(now));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppId, Arc<AppLimiter>>> {
        self.0.limiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new() -> Self {
        let (limits, rooms) = (AppLimits::default(), HashMap::new());
        Self { limits, places: 0, rooms, reported: 0, share: (1, 1), full_at: None, open_until: None }
    }

    /// Whether a limiter without a session may be dropped: Redis counts no place of it, and its
    /// bucket is full, so that a client that connects again gets no more than the rate.
    fn is_settled(&self, now: Instant) -> bool {
        self.reported == 0 && self.debt(now).is_zero()
    }

    /// Returns the time until the bucket of events is full.
    fn debt(&self, now: Instant) -> Duration {
        self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now))
    }

    /// Takes one event from the bucket. Fails with the time until the next one.
    fn spend_event(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.limits.events(self.share) else { return Ok(()) };
        // The share may have been larger a moment ago.
        let debt = rate.take(self.debt(now).min(rate.period), 1)?;
        self.full_at = Some(now + debt);
        Ok(())
    }
}

impl AppLimiter {
    fn new(app: AppId, rooms: Rooms, refusals: LimitRefusals) -> Self {
        Self { app, rooms, refusals, state: Mutex::new(State::new()), limits_events: AtomicBool::new(false) }
    }

    /// Takes one event from this node's share of the app's rate.
    ///
    /// # Errors
    /// `RATE_LIMIT_EXCEEDED`, with the time until the next event.
    pub fn spend_event(&self) -> Result<(), Refusal> {
        if !self.limits_events.load(Ordering::Relaxed) {
            return Ok(());
        }
        let spent = self.lock().spend_event(Instant::now());
        spent.map_err(|wait| self.refusals.rate_reached(&self.app, AppLimit::EventsPerSecond, wait))
    }

    /// Takes a place for a session that is about to enter `room`.
    ///
    /// # Errors
    /// `APP_LIMIT_REACHED`.
    pub async fn enter(self: &Arc<Self>, room: &RoomId, arrival: Arrival) -> Result<AppPlace, Refusal> {
        let deadline = Instant::now() + RETURN_TIMEOUT;
        loop {
            let place = self.place(room);
            let limits = self.lock().limits;
            let entry = if limits.bounds_entries() { self.ask(room, limits, arrival).await } else { None };
            let may_free_up = arrival.returns && Instant::now() < deadline;
            match entry.filter(|entry| !matches!(entry, AppEntry::Counted { .. })) {
                None => return Ok(place),
                Some(_) if may_free_up => {
                    drop(place);
                    sleep(RETURN_RETRY_INTERVAL).await;
                }
                Some(full) => {
                    return self.refusals.entry_refusal(&self.app, full, &limits).map_or(Ok(place), Err);
                }
            }
        }
    }

    /// Takes a place for a session that resumed its seat. A resume is never refused.
    pub fn place(self: &Arc<Self>, room: &RoomId) -> AppPlace {
        let mut state = self.lock();
        state.places += 1;
        *state.rooms.entry(room.clone()).or_default() += 1;
        AppPlace { limiter: Arc::clone(self), room: room.clone() }
    }

    /// Asks Redis for the place that was just taken. `None`: the entry passes uncounted, until the
    /// next report.
    async fn ask(&self, room: &RoomId, limits: AppLimits, arrival: Arrival) -> Option<AppEntry> {
        let (places, open_until) = {
            let state = self.lock();
            (state.places, state.open_until)
        };
        let participants = places.saturating_sub(1 + u32::from(arrival.switches));
        let report = AppReport { participants, rooms: std::slice::from_ref(room), limits };
        let entry = if open_until.is_some_and(|until| Instant::now() < until) {
            None
        } else {
            let entry = timeout(REPORT_TIMEOUT, self.rooms.enter_app(&self.app, report)).await;
            self.note(entry.ok().and_then(Result::ok))
        };
        if entry.is_none() {
            count_open_entry();
        }
        entry
    }

    /// Reports the places to Redis, if one of the limits needs it.
    async fn report(&self, limits: AppLimits) {
        let (participants, rooms) = {
            let mut state = self.lock();
            state.limits = limits;
            self.limits_events.store(limits.max_events_per_second.is_some(), Ordering::Relaxed);
            let are_counted = limits.max_concurrent_calls.is_some();
            state.reported = state.places;
            (state.places, state.rooms.keys().filter(|_| are_counted).cloned().collect::<Vec<_>>())
        };
        if limits.bounds_entries() || limits.max_events_per_second.is_some() {
            let report = AppReport { participants, rooms: &rooms, limits };
            let entry = timeout(REPORT_TIMEOUT, self.rooms.report_app(&self.app, report)).await;
            // A report that was lost is replaced by the next one.
            self.note(entry.ok().and_then(Result::ok));
        }
    }

    /// Notes an answer of Redis; `None` if there was none.
    fn note(&self, entry: Option<AppEntry>) -> Option<AppEntry> {
        let mut state = self.lock();
        match entry {
            // One more on each node, so that a node without participants has a share, too.
            Some(AppEntry::Counted { participants, nodes }) => {
                state.share = (state.places + 1, participants.saturating_add(nodes));
            }
            Some(AppEntry::MostParticipants | AppEntry::MostCalls) => {}
            None => state.open_until = Some(Instant::now() + OPEN_INTERVAL),
        }
        entry
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AppPlace {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.places = state.places.saturating_sub(1);
        if let Some(places) = state.rooms.get_mut(&self.room) {
            *places -= 1;
            if *places == 0 {
                state.rooms.remove(&self.room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_was_spent_is_in_debt_until_it_is_full_again() {
        let mut state = State::new();
        state.limits.max_events_per_second = Some(2);
        let now = Instant::now();
        assert!(state.debt(now).is_zero());
        for event in 0..10 {
            assert_eq!(state.spend_event(now), Ok(()), "event {event}");
        }
        assert_eq!(state.spend_event(now), Err(Duration::from_millis(500)));
        // So long the limiter stays, also without a session.
        assert_eq!(state.debt(now), Duration::from_secs(5));
        assert!(!state.is_settled(now) && state.is_settled(now + Duration::from_secs(5)));
        state.reported = 1;
        assert!(!state.is_settled(now + Duration::from_secs(5)), "until a report without a place");
    }
}
