//! Limits how often one place in the code writes to the log. Clients and failing stores cause most
//! lines, and a full disk or a throttled log pipeline would hide the lines of the cause.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Target of the audit log, which is never limited.
const AUDIT: &str = "audit";
/// Lines of one place in an interval. Beyond it lines are dropped and counted.
const LINES_MAX: u32 = 100;
/// Interval of the limit.
const INTERVAL: Duration = Duration::from_secs(10);

/// Filter that drops and counts the lines beyond the limit. Lines of level DEBUG and TRACE are not
/// limited, because only an operator who asks for them gets them.
#[derive(Debug)]
pub(super) struct LineLimit {
    started: Instant,
    places: Mutex<HashMap<Identifier, Place>>,
}

/// Lines of one place in the code.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Number of the interval of the last line.
    interval: u64,
    /// Lines in it.
    lines: u32,
}

impl Default for LineLimit {
    fn default() -> Self {
        Self { started: Instant::now(), places: Mutex::default() }
    }
}

impl LineLimit {
    fn admits(&self, metadata: &Metadata<'_>, now: Duration) -> bool {
        if metadata.target() == AUDIT || *metadata.level() > Level::INFO {
            return true;
        }
        let interval = now.as_secs() / INTERVAL.as_secs();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(metadata.callsite()).or_default();
        if place.interval != interval {
            *place = Place { interval, lines: 0 };
        }
        place.lines = place.lines.saturating_add(1);
        place.lines <= LINES_MAX
    }
}

impl<S> Filter<S> for LineLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    /// Not `always`: the library then skips `enabled`, and without it does not expect that
    /// `event_enabled` drops a line.
    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let admits = self.admits(event.metadata(), self.started.elapsed());
        if !admits {
            metrics::counter!("switchboard_log_lines_dropped_total").increment(1);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

    use super::*;

    /// The log, as text.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn count(written: &Written, text: &str) -> usize {
        let bytes = written.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).matches(text).count()
    }

    #[test]
    fn one_place_is_limited_and_hides_neither_other_places_nor_the_audit_log() {
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(LineLimit::default()));
        let began = Instant::now();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 * LINES_MAX {
                tracing::error!("flood");
                tracing::warn!(target: "audit", "refused");
                tracing::debug!("detail");
            }
            tracing::info!("news");
        });
        // The lines may fall into two intervals.
        let intervals = 1 + usize::try_from(began.elapsed().as_secs() / INTERVAL.as_secs() + 1).unwrap();
        let flood = count(&written, "flood");
        assert!(flood >= LINES_MAX as usize && flood <= intervals * LINES_MAX as usize, "{flood}");
        assert_eq!(count(&written, "refused"), 3 * LINES_MAX as usize);
        assert_eq!(count(&written, "detail"), 3 * LINES_MAX as usize);
        assert_eq!(count(&written, "news"), 1);
    }

    #[test]
    fn a_limited_place_writes_again_in_the_next_interval() {
        /// Metadata of one place.
        #[derive(Clone, Default)]
        struct Taken(Arc<Mutex<Option<&'static Metadata<'static>>>>);
        impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Taken {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.metadata());
            }
        }
        let taken = Taken::default();
        let subscriber = tracing_subscriber::registry().with(taken.clone());
        tracing::subscriber::with_default(subscriber, || tracing::warn!("a line"));
        let metadata = taken.0.lock().unwrap_or_else(PoisonError::into_inner).expect("an event was seen");

        let limit = LineLimit::default();
        assert!((0..LINES_MAX).all(|_| limit.admits(metadata, Duration::ZERO)));
        assert!(!limit.admits(metadata, INTERVAL - Duration::from_millis(1)));
        assert!(limit.admits(metadata, INTERVAL));
    }
}
