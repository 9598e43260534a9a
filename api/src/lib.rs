//! The REST side of Switchboard: accounts, calls, the door to a call, and the page.
//!
//! `router` is the whole service over its parts; `run` puts the parts together from a configuration.

pub mod app;
pub mod audit;
pub mod catalog;
pub mod config;
pub mod envelope;
pub mod erasure;
pub mod error;
pub mod extract;
pub mod fields;
pub mod lapse;
pub mod limits;
pub mod openapi;
pub mod operators;
pub mod recorder;
pub mod route;
mod routes;
mod run;
pub mod server;
pub mod views;
mod web;
pub mod webhooks;

use std::path::PathBuf;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use switchboard_runtime::config::OriginsConfig;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

pub use app::App;
pub use run::{Listeners, run};

/// Bodies longer than this are refused with 413.
pub const BODY_LIMIT: usize = 64 * 1024;

/// How requests are served, whatever they ask for.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Which pages may call.
    pub origins: OriginsConfig,
    /// The folder of the page; none: no page.
    pub web: Option<PathBuf>,
    /// After which a request is answered 503.
    pub deadline: Duration,
}

/// The service.
pub fn router(app: App, options: HttpOptions) -> Router {
    let routes = Router::new()
        .nest("/api", routes::router(&app))
        .route("/api/", axum::routing::any(routes::no_route))
        .with_state(app)
        .fallback_service(axum::routing::any(web::file).with_state(options.web))
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    enveloped(routes, options.origins, options.deadline)
}

/// What every answer passes through, outermost first: the envelope, which knows the id; origins; the deadline; panics.
fn enveloped(routes: Router, origins: OriginsConfig, deadline: Duration) -> Router {
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn(envelope::envelop))
        .layer(envelope::cors(origins))
        .layer(middleware::from_fn_with_state(deadline, envelope::in_time))
        .layer(CatchPanicLayer::custom(envelope::panicked));
    routes.layer(layers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use switchboard_runtime::config::Env;
    use tower::ServiceExt as _;

    async fn ask(routes: Router, deadline: Duration) -> (u16, serde_json::Value) {
        let origins = OriginsConfig::from_env(&mut Env::new([("FRONTEND_URL", "http://page.test")]));
        let request = http::Request::get("/").header(envelope::REQUEST_ID, "r1").body(Body::empty()).unwrap();
        let response = enveloped(routes, origins, deadline).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), BODY_LIMIT).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_a_coded_500_that_tells_nothing_of_it() {
        let routes = Router::new().route("/", get(|| async { panic!("a secret") as () }));
        let (status, body) = ask(routes, Duration::from_secs(60)).await;
        assert_eq!((status, &body["code"], &body["requestId"]), (500, &"INTERNAL_ERROR".into(), &"r1".into()));
        assert!(!body.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_a_coded_503() {
        let routes = Router::new().route("/", get(std::future::pending::<()>));
        let (status, body) = ask(routes, Duration::from_millis(1)).await;
        assert_eq!((status, &body["code"]), (503, &"SERVICE_UNAVAILABLE".into()));
    }
}
