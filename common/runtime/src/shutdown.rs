//! From a signal to a cancelled token.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that a second signal made stop at once: 128 + SIGTERM.
const EXIT_FORCED: i32 = 143;

/// A token that the first SIGTERM or SIGINT cancels; a second one ends the process at once, for an operator who will not wait.
///
/// # Errors
/// The system refused to register a handler.
pub fn on_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping");
        cancelled.cancel();
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::warn!("second signal: stopping at once");
        std::process::exit(EXIT_FORCED);
    });
    Ok(token)
}
