//! The routes under `/api`.

mod auth;
mod calls;
mod health;
mod join;

use axum::Router;
use axum::routing::{get, post};

use crate::app::App;
use crate::error::Problem;
use switchboard_common::domain::Code;

/// All of them.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(health::index))
        .route("/health", get(health::health))
        .route("/version", get(health::version))
        .route("/auth/register", post(auth::register))
        .route("/auth/login", post(auth::login))
        .route("/auth/refresh", post(auth::refresh))
        .route("/auth/logout", post(auth::logout))
        .route("/auth/profile", get(auth::profile).patch(auth::change_profile))
        .route("/auth/validate", get(auth::validate))
        .route("/video-calls", get(calls::list).post(calls::create))
        .route("/video-calls/join", post(join::join))
        .route("/video-calls/room/{roomId}", get(calls::by_room))
        .route("/video-calls/{id}", get(calls::get).patch(calls::edit).put(calls::edit).delete(calls::delete))
        .route("/video-calls/{id}/stats", get(calls::stats))
        .route("/video-calls/{id}/end", post(calls::end))
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
}

/// What is not a route, or not with this method.
pub(crate) async fn no_route() -> Problem {
    Code::RouteNotFound.into()
}
