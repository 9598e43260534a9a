//! The whole HTTP service: API routes, documents, web page, and the middleware around them.

use std::path::PathBuf;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use switchboard_runtime::config::OriginsConfig;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::http::request_bounds::{self, RequestBounds};
use crate::http::store_failures::StoreFailures;
use crate::http::{drain, layers, page};
use crate::routes;

/// Longest request body, in bytes. A longer one is refused with 413.
pub const BODY_LIMIT: usize = 64 * 1024;

/// Options of the HTTP service that do not depend on a route.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Web origins that may call the API.
    pub origins: OriginsConfig,
    /// Folder of the web page. `None`: no page is served.
    pub web: Option<PathBuf>,
    /// Time limit of a request; after it the response is 503.
    pub deadline: Duration,
}

/// Creates the HTTP service.
pub fn router(app: App, options: HttpOptions) -> Router {
    let (bounds, apps) = (RequestBounds::from(&app.limits), app.apps.clone());
    let routes = Router::new()
        .merge(routes::router(&app))
        .route("/api/", routes::index())
        .with_state(app)
        .fallback_service(axum::routing::any(page::file).with_state(options.web.clone()))
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    layered(routes, bounds, options, move |origin| apps.has_origin(origin))
}

/// Adds the middleware, outermost first: `outermost`, the bounds on preflight requests, CORS, the
/// time limit, the rest of the body, the bounds on other requests, panics.
fn layered(
    routes: Router,
    bounds: RequestBounds,
    options: HttpOptions,
    is_of_app: impl Fn(&str) -> bool + Clone + Send + Sync + 'static,
) -> Router {
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(StoreFailures::default(), layers::outermost))
        .layer(middleware::from_fn_with_state(bounds.clone(), request_bounds::preflights))
        .layer(layers::cors(options.origins, is_of_app))
        .layer(middleware::from_fn_with_state(options.deadline, layers::timeout))
        .layer(middleware::from_fn(drain::drain))
        .layer(middleware::from_fn_with_state(bounds, request_bounds::requests))
        .layer(CatchPanicLayer::custom(layers::panic_response));
    routes.layer(layers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::address_bounds::AddressBounds;
    use axum::body::Body;
    use axum::routing::get;
    use switchboard_core::client_address::TrustedProxies;
    use switchboard_net::ClientAddresses;
    use switchboard_runtime::config::{Env, Mode};
    use tower::ServiceExt as _;

    async fn ask(routes: Router, deadline: Duration) -> (u16, serde_json::Value) {
        let origins = OriginsConfig::from_env(&mut Env::new([("FRONTEND_URL", "http://page.test")]), Mode::Production);
        let request = http::Request::get("/").header(layers::REQUEST_ID, "r1").body(Body::empty()).unwrap();
        let addresses = ClientAddresses::new(TrustedProxies::default());
        let bounds = RequestBounds { addresses, bounds: AddressBounds::new(None, 0) };
        let options = HttpOptions { origins, web: None, deadline };
        let response = layered(routes, bounds, options, |_| false).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), BODY_LIMIT).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_a_coded_500_without_the_panic_message() {
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
