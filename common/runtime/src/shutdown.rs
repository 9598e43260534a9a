//! Turns termination signals into a cancelled token.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that a second signal ends immediately: 128 + SIGTERM.
const EXIT_FORCED: i32 = 143;

/// Returns a token that the first SIGTERM or SIGINT cancels. A second signal ends the process
/// immediately, so that an operator need not wait for a clean stop.
///
/// # Errors
/// The system refuses to register a handler.
pub fn on_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping on a signal");
        cancelled.cancel();
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::warn!("stopping immediately on a second signal");
        std::process::exit(EXIT_FORCED);
    });
    Ok(token)
}
