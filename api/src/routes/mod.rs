//! The routes under `/api`.

mod admin;
mod auth;
mod calls;
mod docs;
mod health;
mod join;

use axum::Router;
use http::StatusCode;
use switchboard_core::domain::{Code, Participant};

use crate::app::App;
use crate::error::Problem;
use crate::limits::Class;
use crate::route::{self, Route, delete, get, patch, post, put};
use crate::views::{CallView, StatsView, UserView};

pub(crate) use docs::Documents;

/// All of them: the router and the OpenAPI document are made from this list.
pub(crate) fn list() -> Vec<Route> {
    [service(), accounts(), video_calls(), operators()].into_iter().flatten().collect()
}

fn service() -> Vec<Route> {
    vec![
        get("/", health::index, "Where things are").answers::<health::Index>(),
        get("/health", health::health, "Whether the service and what it depends on work").answers::<health::Health>(),
        get("/version", health::version, "Which version this is").answers::<health::Version>(),
        get("/openapi.json", docs::document, "This document").serves("application/json"),
        get("/docs", docs::page, "This document as a page").serves("text/html"),
        get("/docs.css", docs::style, "The page's style sheet").serves("text/css"),
    ]
}

fn accounts() -> Vec<Route> {
    use Code::{InvalidCredentials, SessionNotFound, TokenExpired, TokenInvalid, UserExists, UserNotFound};
    vec![
        post("/auth/register", auth::register, "Opens an account and signs in")
            .class(Class::SignIn)
            .answers_with::<auth::SignedIn<'_>>(StatusCode::CREATED)
            .refuses(&[UserExists]),
        post("/auth/login", auth::login, "Signs in")
            .class(Class::SignIn)
            .answers::<auth::SignedIn<'_>>()
            .refuses(&[InvalidCredentials]),
        // No sign-in: a refresh token cannot be guessed, and who shares an address with somebody that tries passwords stays signed in.
        post("/auth/refresh", auth::refresh, "New tokens for a refresh token, which is good for this once")
            .answers::<auth::SignedIn<'_>>()
            .refuses(&[TokenExpired, TokenInvalid]),
        post("/auth/logout", auth::logout, "Ends this sign-in: its tokens and its sockets, everywhere").answers::<()>(),
        get("/auth/profile", auth::profile, "One's own account").answers::<UserView<'_>>().refuses(&[UserNotFound]),
        patch("/auth/profile", auth::change_profile, "Changes what is given of one's own account")
            .answers::<UserView<'_>>()
            .refuses(&[UserNotFound, UserExists]),
        post("/auth/change-password", auth::change_password, "Changes the password; one's other sign-ins end")
            .class(Class::SignIn)
            .answers::<()>()
            .refuses(&[InvalidCredentials, UserNotFound]),
        get("/auth/sessions", auth::list, "One's own sign-ins, the latest used first")
            .answers::<Vec<auth::SessionView>>(),
        delete("/auth/sessions", auth::end_others, "Ends one's sign-ins but the one that asks").answers::<()>(),
        delete("/auth/sessions/{id}", auth::end_session, "Ends one of one's sign-ins, everywhere")
            .answers::<()>()
            .refuses(&[SessionNotFound]),
        get("/auth/stats", auth::stats, "One's calls in figures").answers::<auth::Statistics>(),
        get("/auth/validate", auth::validate, "Whether the token is good, and whose it is").answers::<auth::Valid>(),
    ]
}

fn video_calls() -> Vec<Route> {
    use Code::*;
    vec![
        get("/video-calls", calls::list, "Calls that one hosts or is in").lists::<CallView<'_>>(),
        post("/video-calls", calls::create, "Makes a call").answers_with::<CallView<'_>>(StatusCode::CREATED),
        post("/video-calls/join", join::join, "Asks to join a call; what it answers opens the room on a socket")
            .class(Class::Join)
            .answers::<join::Admitted<'_>>()
            .refuses(&[
                Unauthorized,
                InvalidPasscode,
                Forbidden,
                CallFull,
                CallEnded,
                RoomLocked,
                Banned,
                CallNotFound,
            ]),
        get("/video-calls/room/{roomId}", calls::by_room, "A call by its room")
            .answers::<calls::CallOrDoor<'_>>()
            .refuses(&[CallNotFound]),
        get("/video-calls/{id}", calls::get, "A call").answers::<CallView<'_>>().refuses(&[Forbidden, CallNotFound]),
        patch("/video-calls/{id}", calls::edit, "Changes what is given of a call")
            .answers::<CallView<'_>>()
            .refuses(&[HostRequired, CallNotFound, CallEnded]),
        put("/video-calls/{id}", calls::edit, "As PATCH: what is not given stays as it is")
            .answers::<CallView<'_>>()
            .refuses(&[HostRequired, CallNotFound, CallEnded]),
        delete("/video-calls/{id}", calls::delete, "Deletes a call; ends it first")
            .answers::<()>()
            .refuses(&[HostRequired, CallNotFound]),
        get("/video-calls/{id}/stats", calls::stats, "Who was in a call, and when")
            .answers::<StatsView<'_>>()
            .refuses(&[Forbidden, CallNotFound]),
        get("/video-calls/{id}/messages", calls::messages, "The recorded chat of a call, oldest first")
            .lists::<calls::MessageView>()
            .refuses(&[Forbidden, CallNotFound]),
        post("/video-calls/{id}/end", calls::end, "Ends a call for everybody")
            .answers::<calls::EndOfCall>()
            .refuses(&[HostRequired, CallNotFound]),
    ]
}

fn operators() -> Vec<Route> {
    use Code::{PeerNotFound, RoomNotFound};
    vec![
        get("/admin/nodes", admin::nodes, "The signal-nodes that live").answers::<Vec<admin::NodeView>>(),
        get("/admin/rooms", admin::rooms, "The open rooms, a page after another").answers::<Vec<admin::RoomView>>(),
        get("/admin/rooms/{roomId}/participants", admin::participants, "Who is in a room at this moment")
            .answers::<Vec<Participant>>()
            .refuses(&[RoomNotFound]),
        delete("/admin/rooms/{roomId}/participants/{peerId}", admin::remove, "Removes somebody from a room")
            .answers::<()>()
            .refuses(&[RoomNotFound, PeerNotFound]),
        post("/admin/rooms/{roomId}/end", admin::end, "Ends a room's call for everybody")
            .answers::<()>()
            .refuses(&[RoomNotFound]),
    ]
}

/// The router of the list.
pub(crate) fn router(app: &App) -> Router<App> {
    route::router(app, list()).fallback(no_route).method_not_allowed_fallback(no_route)
}

/// What is not a route, or not with this method.
pub(crate) async fn no_route() -> Problem {
    Code::RouteNotFound.into()
}
