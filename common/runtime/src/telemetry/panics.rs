//! Logs and counts panics.

use std::panic::{self, PanicHookInfo};

/// Replaces the output of panics by a log line and a metric. The line has the place in the code. It
/// has the message only if the message is constant: others may hold a client's data.
pub(super) fn install_hook() {
    panic::set_hook(Box::new(report));
}

fn report(panic: &PanicHookInfo<'_>) {
    metrics::counter!("switchboard_panics_total").increment(1);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, message, thread = thread.name().unwrap_or_default(), "panic");
}
