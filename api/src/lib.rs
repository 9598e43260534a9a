//! The REST side of Switchboard: accounts, calls, the door to a call, and the page.
//!
//! `router` is the whole service over its parts; `run` puts the parts together from a configuration.

pub mod app;
pub mod config;
pub mod error;
pub mod extract;
pub mod fields;
pub mod http;
pub mod recorder;
mod routes;
mod run;
pub mod server;
pub mod views;
mod web;

use std::path::PathBuf;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use switchboard_common::config::OriginsConfig;
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
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(options.deadline, http::envelope))
        .layer(http::cors(options.origins))
        .layer(CatchPanicLayer::custom(http::panicked));
    Router::new()
        .nest("/api", routes::routes())
        .route("/api/", axum::routing::any(routes::no_route))
        .with_state(app)
        .fallback_service(axum::routing::any(web::file).with_state(options.web))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(layers)
}
