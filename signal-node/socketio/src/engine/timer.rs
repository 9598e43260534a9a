//! The timer of a session: pings, overdue pongs and the deadline of its service.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::Timeouts;

/// Event that is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimerEvent {
    /// The client must be pinged.
    Ping,
    /// The pong is overdue.
    PongOverdue,
    /// The deadline of the service has passed.
    Deadline,
}

/// The one timer of a session. It is reset only when it fires, not with each pong.
#[derive(Debug)]
pub(super) struct SessionTimer {
    timer: Pin<Box<Sleep>>,
    ping_interval: Duration,
    ping_timeout: Duration,
    awaiting_pong: bool,
    /// Time of the next ping, or time at which the pong is overdue.
    heartbeat: Instant,
    deadline: Option<Instant>,
}

impl SessionTimer {
    /// Creates the timer of a session that was opened at this time.
    pub(super) fn new(opened: Instant, Timeouts { ping_interval, ping_timeout, .. }: Timeouts) -> Self {
        let heartbeat = opened + ping_interval;
        Self {
            timer: Box::pin(tokio::time::sleep_until(heartbeat)),
            ping_interval,
            ping_timeout,
            awaiting_pong: false,
            heartbeat,
            deadline: None,
        }
    }

    pub(super) fn is_awaiting_pong(&self) -> bool {
        self.awaiting_pong
    }

    /// Returns the time of the next ping, or the time at which the pong is overdue.
    pub(super) fn heartbeat(&self) -> Instant {
        self.heartbeat
    }

    /// Records a pong and schedules the next ping.
    pub(super) fn pong(&mut self) {
        if self.awaiting_pong {
            self.awaiting_pong = false;
            self.heartbeat = Instant::now() + self.ping_interval;
            self.arm();
        }
    }

    /// Brings the next ping forward to now. Returns whether a ping is due: not while the pong to an
    /// earlier one is awaited.
    pub(super) fn ping_now(&mut self) -> bool {
        if self.awaiting_pong {
            return false;
        }
        self.awaiting_pong = true;
        self.heartbeat = Instant::now() + self.ping_timeout;
        self.arm();
        true
    }

    /// Sets or clears the deadline of the service.
    pub(super) fn set_deadline(&mut self, at: Option<Instant>) {
        self.deadline = at;
        self.arm();
    }

    /// Makes the timer fire no later than the next event.
    pub(super) fn arm(&mut self) {
        let next = self.deadline.map_or(self.heartbeat, |deadline| deadline.min(self.heartbeat));
        if self.timer.is_elapsed() || next < self.timer.deadline() {
            self.timer.as_mut().reset(next);
        }
    }

    /// Returns the event that is due, if there is one.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<TimerEvent> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.ping_is_due(now) {
                return Some(TimerEvent::Ping);
            }
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                self.deadline = None;
                self.arm();
                return Some(TimerEvent::Deadline);
            }
            if self.awaiting_pong && self.heartbeat <= now {
                // Stays due, because the caller must first look for an unread pong.
                return Some(TimerEvent::PongOverdue);
            }
            self.arm();
        }
        None
    }

    /// Returns whether a ping is due. Leaves all other events due.
    pub(super) fn poll_ping(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.ping_is_due(now) {
                return true;
            }
            let next = [Some(self.heartbeat), self.deadline].into_iter().flatten().filter(|at| *at > now).min();
            let Some(next) = next else { return false };
            self.timer.as_mut().reset(next);
        }
        false
    }

    fn ping_is_due(&mut self, now: Instant) -> bool {
        let due = !self.awaiting_pong && self.heartbeat <= now;
        if due {
            self.awaiting_pong = true;
            // Counts from the time at which the ping was due, so that a dead client is found in
            // time. A late ping still leaves half the timeout for its pong.
            let limit = self.ping_timeout;
            self.heartbeat = (self.heartbeat + limit).max(now + limit / 2);
            self.arm();
        }
        due
    }
}
