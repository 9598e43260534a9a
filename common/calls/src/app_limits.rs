//! Refusals at the limits of apps: what clients get, the count for the metrics, and a line in the
//! log, because metrics do not name apps.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use switchboard_core::domain::{AppId, AppLimit, AppLimits, Code, Refusal, whole_seconds};
use switchboard_core::failure_log::FailureLog;
use switchboard_rooms::AppEntry;

/// Seconds after which a client may try again. A place that becomes free on another node is known
/// within a second.
const RETRY_AFTER_S: NonZeroU32 = NonZeroU32::MIN;

/// Makes the refusals of this process. Clones share the log, which has each limit of an app once in
/// ten minutes.
#[derive(Clone, Debug)]
pub struct LimitRefusals(Arc<(Instant, Mutex<FailureLog<AppId>>)>);

impl Default for LimitRefusals {
    fn default() -> Self {
        Self(Arc::new((Instant::now(), Mutex::default())))
    }
}

impl LimitRefusals {
    /// Returns the refusal at a limit of the number of calls, participants or seats. `most` is the
    /// limit.
    #[must_use]
    pub fn limit_reached(&self, app: &AppId, limit: AppLimit, most: u32) -> Refusal {
        self.count(app, limit);
        let what = match limit {
            AppLimit::ConcurrentCalls => "calls at the same time",
            AppLimit::ConcurrentParticipants => "participants at the same time",
            _ => "participants in a call",
        };
        let refusal = Refusal::new(Code::AppLimitReached, format!("The app may have at most {most} {what}"));
        // A larger call is refused again at any time.
        let retry_after = (limit != AppLimit::ParticipantsPerCall).then_some(RETRY_AFTER_S);
        Refusal { retry_after, ..refusal }
    }

    /// Returns the refusal of an entry into a room of an app with these limits; `None` if the app
    /// is at none of them.
    #[must_use]
    pub fn entry_refusal(&self, app: &AppId, entry: AppEntry, limits: &AppLimits) -> Option<Refusal> {
        let (limit, most) = match entry {
            AppEntry::Counted { .. } => return None,
            AppEntry::MostParticipants => (AppLimit::ConcurrentParticipants, limits.max_concurrent_participants),
            AppEntry::MostCalls => (AppLimit::ConcurrentCalls, limits.max_concurrent_calls),
        };
        Some(self.limit_reached(app, limit, most.unwrap_or(0)))
    }

    /// Returns the refusal of a request or an event above a rate of its app.
    #[must_use]
    pub fn rate_reached(&self, app: &AppId, limit: AppLimit, retry_after: Duration) -> Refusal {
        self.count(app, limit);
        let what = if limit == AppLimit::EventsPerSecond { "events" } else { "requests" };
        let message = format!("The app sends too many {what}; try again in {} s", whole_seconds(retry_after));
        Refusal { message: message.into(), ..Refusal::rate_exceeded(retry_after) }
    }

    fn count(&self, app: &AppId, limit: AppLimit) {
        let (began, log) = &*self.0;
        let limit = limit.as_str();
        metrics::counter!("switchboard_app_limited_total", "limit" => limit).increment(1);
        let is_new = log.lock().unwrap_or_else(PoisonError::into_inner).failed(app.clone(), limit, began.elapsed());
        if is_new {
            tracing::warn!(app_id = %app, limit, "app at a limit");
        }
    }
}

/// Counts an entry that passes because Redis does not answer.
pub fn count_open_entry() {
    metrics::counter!("switchboard_app_entries_open_total").increment(1);
}
