//! The operator's side door on `METRICS_PORT`: `/livez`, `/readyz`, `/metrics`.
//!
//! `/livez` says that the process turns and depends on nothing else: a dependency's trouble must never restart a pod.
//! `/readyz` says whether new work should come here, with the name of every check that says no.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

/// What a check came to: nothing, or a short reason that may be shown.
pub type Verdict = Result<(), String>;

type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Verdict> + Send>> + Send + Sync>;

/// How long one check may take; later is a no.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// The named checks that readiness is made of.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Probe)>,
}

impl Readiness {
    /// No check: always ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check; each is asked on every request, all at the same time, for at most 2 s.
    #[must_use]
    pub fn check<F, C>(mut self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        self.checks.push((name, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Asks them all.
    pub async fn ask(&self) -> Answer {
        self.ask_within(CHECK_DEADLINE).await
    }

    async fn ask_within(&self, deadline: Duration) -> Answer {
        let asked = self.checks.iter().map(|(name, probe)| async {
            let verdict = tokio::time::timeout(deadline, probe()).await;
            (*name, verdict.unwrap_or_else(|_| Err("no answer in time".to_owned())))
        });
        let verdicts = futures_util::future::join_all(asked).await;
        let ready = verdicts.iter().all(|(_, verdict)| verdict.is_ok());
        let shown = |verdict: Verdict| verdict.err().unwrap_or_else(|| "ok".to_owned());
        Answer { ready, checks: verdicts.into_iter().map(|(name, verdict)| (name, shown(verdict))).collect() }
    }
}

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Every check said yes.
    pub ready: bool,
    /// `ok` or the reason, by name.
    pub checks: BTreeMap<&'static str, String>,
}

/// The routes.
pub fn router(metrics: Metrics, readiness: Readiness) -> Router {
    const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(|State(metrics): State<Metrics>| async move {
            ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], metrics.render())
        }).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    let answer = readiness.ask().await;
    let status = if answer.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(answer))
}

/// Serves the routes until `stop` is cancelled. It should be the last thing to stop: probes see a draining pod as alive and not ready.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readiness_names_every_check_that_says_no_and_a_check_that_hangs_is_a_no() {
        let readiness = Readiness::new()
            .check("good", || async { Ok(()) })
            .check("bad", || async { Err("away".to_owned()) })
            .check("hanging", || async { std::future::pending().await });
        let answer = readiness.ask_within(Duration::from_millis(1)).await;
        assert!(!answer.ready);
        assert_eq!(answer.checks["good"], "ok");
        assert_eq!(answer.checks["bad"], "away");
        assert_eq!(answer.checks["hanging"], "no answer in time");
        assert!(Readiness::new().check("good", || async { Ok(()) }).ask().await.ready);
    }
}
