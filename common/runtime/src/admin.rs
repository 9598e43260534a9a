//! The admin listener on `METRICS_PORT`: `/livez`, `/readyz`, `/metrics`.
//!
//! `/livez` answers as long as the process runs. It depends on nothing else, because a failure of a
//! dependency must never restart a pod. `/readyz` tells whether the pod accepts new work, and names
//! every failed check.
//!
//! | module | content |
//! |---|---|
//! | `serve` | accepts connections, with deadlines and a bound |

mod serve;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

/// Result of a readiness check. The error is a short reason that may be shown publicly.
pub type CheckResult = Result<(), String>;

/// Result with a text in both cases.
type NotedResult = Result<String, String>;

type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = NotedResult> + Send>> + Send + Sync>;

/// Time limit of one check. A check that takes longer fails.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Named readiness checks.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Probe)>,
}

impl Readiness {
    /// Creates a list without checks, which is always ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check. Every request to `/readyz` runs all checks at the same time, each for at most
    /// 2 s.
    #[must_use]
    pub fn check<F, C>(self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = CheckResult> + Send + 'static,
    {
        self.check_with_note(name, move || {
            let result = check();
            async move { result.await.map(|()| "ok".to_owned()) }
        })
    }

    /// Adds a check as [`Readiness::check`] does, whose success has a short text instead of `ok`:
    /// what the check could not find out.
    #[must_use]
    pub fn check_with_note<F, C>(mut self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        self.checks.push((name, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Runs all checks.
    pub async fn run(&self) -> ReadinessReport {
        self.run_within(CHECK_TIMEOUT).await
    }

    async fn run_within(&self, timeout: Duration) -> ReadinessReport {
        let checks = self.checks.iter().map(|(name, probe)| async {
            let result = tokio::time::timeout(timeout, probe()).await;
            (*name, result.unwrap_or_else(|_| Err("no answer in time".to_owned())))
        });
        let results = futures_util::future::join_all(checks).await;
        let ready = results.iter().all(|(_, result)| result.is_ok());
        let text = |result: NotedResult| result.unwrap_or_else(|reason| reason);
        ReadinessReport { ready, checks: results.into_iter().map(|(name, result)| (name, text(result))).collect() }
    }
}

/// Body of `/readyz`.
#[derive(Debug, Serialize)]
pub struct ReadinessReport {
    /// Whether every check passed.
    pub ready: bool,
    /// `ok`, a note, or the reason of the failure, by name of the check.
    pub checks: BTreeMap<&'static str, String>,
}

/// Creates the routes of the admin listener.
pub fn router(metrics: Metrics, readiness: Readiness) -> Router {
    const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route(
            "/metrics",
            get(|State(metrics): State<Metrics>| async move {
                ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], metrics.render())
            })
            .with_state(metrics),
        )
        .layer(map_response(|mut response: Response| async {
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }))
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    let report = readiness.run().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(report))
}

/// Serves the routes until `stop` is cancelled. The admin listener should stop last, so that probes
/// see a draining pod as alive and not ready.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve::serve(listener, router, stop, serve::DEADLINES).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readiness_names_every_failed_check_and_a_check_without_an_answer_fails() {
        let readiness = Readiness::new()
            .check("good", || async { Ok(()) })
            .check_with_note("unsure", || async { Ok("unknown".to_owned()) })
            .check("bad", || async { Err("away".to_owned()) })
            .check("hanging", || async { std::future::pending().await });
        let report = readiness.run_within(Duration::from_millis(1)).await;
        assert!(!report.ready);
        assert_eq!(report.checks["good"], "ok");
        assert_eq!(report.checks["unsure"], "unknown");
        assert_eq!(report.checks["bad"], "away");
        assert_eq!(report.checks["hanging"], "no answer in time");
        assert!(Readiness::new().check("good", || async { Ok(()) }).run().await.ready);
    }
}
