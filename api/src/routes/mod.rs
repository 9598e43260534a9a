//! The routes under `/api`, and those of other services beside it.
//!
//! | file | content |
//! |---|---|
//! | `auth/` | accounts |
//! | `calls/` | calls |
//! | `join` | admission to a call |
//! | `server/` | routes of backends of apps |
//! | `moderation` | commands to participants, for backends and operators |
//! | `admin` | routes of operators |
//! | `apps` | apps and their API keys, for operators |
//! | `health` | health, version, index |
//! | `docs` | the OpenAPI document and its page |
//! | `public_keys` | the public keys of tokens, under `/.well-known` |
//! | `usage` | usage and limits of apps, for operators and backends |
//! | `views` | JSON forms of records |
//! | `webhooks` | webhooks of apps and events that were sent, for operators |
//!
//! The file has more than 400 lines, because it is the list of all routes.
mod admin;
mod apps;
mod auth;
mod calls;
mod docs;
mod health;
mod join;
mod moderation;
mod public_keys;
mod server;
mod usage;
mod views;
mod webhooks;

use std::sync::Arc;

use axum::routing::MethodRouter;
use axum::{Extension, Router};
use http::StatusCode;
use switchboard_core::domain::{Code, Jwks, Participant};

use crate::app::App;
use crate::http::error::ApiError;
use crate::http::route::{self, Route, delete, get, patch, post, put};
use crate::limits::Class;
pub(crate) use apps::{AppKeyView, AppView, NewAppKeyView};
use docs::Documents;
use server::{calls as calls_of_app, events, participants, tokens, usage as usage_of_app};
pub(crate) use usage::UsageView;
use views::{CallView, ParticipantView, StatsView, UserView};
pub(crate) use webhooks::{DeliveriesView, NewWebhookView, PingView, ResendView, WebhookView};

/// Path before the routes of [`list`].
const PREFIX: &str = "/api";

/// Returns the routes under [`PREFIX`]. The router and the OpenAPI document are made from this
/// list and from [`well_known`].
fn list() -> Vec<Route> {
    [accounts(), video_calls(), backends(), service(), operators(), webhooks::list()].into_iter().flatten().collect()
}

/// Returns the routes whose paths other specifications determine (RFC 8615).
fn well_known() -> Vec<Route> {
    let summary = "The public keys that verify access, guest and join tokens; none without an Ed25519 key";
    vec![
        get("getPublicKeys", "/.well-known/jwks.json", public_keys::key_set, summary)
            .serves_as::<Jwks>(public_keys::MEDIA_TYPE),
    ]
}

fn service() -> Vec<Route> {
    vec![
        get("getIndex", "/", health::index, "Paths of the API").answers::<health::Index>(),
        get("getHealth", "/health", health::health, "Health of the service and its dependencies")
            .answers::<health::Health>(),
        get("getVersion", "/version", health::version, "Version of the service").answers::<health::Version>(),
        get("getOpenApi", "/openapi.json", docs::document, "The OpenAPI document").serves("application/json"),
        get("getAsyncApi", "/asyncapi.json", docs::asyncapi, "The AsyncAPI document of the socket events")
            .serves("application/json"),
        get("getReference", "/docs", docs::page, "The OpenAPI document as a page").serves("text/html"),
        get("getReferenceStyle", "/docs.css", docs::style, "Style sheet of the document's page").serves("text/css"),
    ]
}

fn accounts() -> Vec<Route> {
    use Code::{InvalidCredentials, SessionNotFound, TokenExpired, TokenInvalid, UserExists, UserNotFound};
    vec![
        post("register", "/auth/register", auth::register, "Registers an account and signs in")
            .class(Class::Register)
            .answers_with::<auth::SignedIn<'_>>(StatusCode::CREATED)
            .refuses(&[UserExists]),
        post("signIn", "/auth/login", auth::login, "Signs in")
            .class(Class::SignIn)
            .answers::<auth::SignedIn<'_>>()
            .refuses(&[InvalidCredentials]),
        // Not in the class of sign-ins: a refresh token cannot be guessed, and users who share an
        // address with an attacker must stay signed in.
        post("refreshTokens", "/auth/refresh", auth::refresh, "Exchanges a single-use refresh token for new tokens")
            .answers::<auth::SignedIn<'_>>()
            .refuses(&[TokenExpired, TokenInvalid]),
        post("signOut", "/auth/logout", auth::logout, "Ends this sign-in, its tokens and its sockets").answers::<()>(),
        get("getProfile", "/auth/profile", auth::profile, "The user's own account")
            .answers::<UserView<'_>>()
            .refuses(&[UserNotFound]),
        patch(
            "changeProfile",
            "/auth/profile",
            auth::change_profile,
            "Changes the given fields of the user's own account",
        )
        .answers::<UserView<'_>>()
        .refuses(&[UserNotFound, UserExists, InvalidCredentials]),
        post(
            "changePassword",
            "/auth/change-password",
            auth::change_password,
            "Changes the password and ends the user's other sign-ins",
        )
        .class(Class::SignIn)
        .answers::<()>()
        .refuses(&[InvalidCredentials, UserNotFound]),
        get("listSignIns", "/auth/sessions", auth::list, "The user's own sign-ins, the most recently used first")
            .answers::<Vec<auth::SessionView>>(),
        delete("endOtherSignIns", "/auth/sessions", auth::end_others, "Ends all sign-ins of the user except this one")
            .answers::<()>()
            .refuses(&[UserNotFound]),
        delete("endSignIn", "/auth/sessions/{id}", auth::end_session, "Ends one sign-in of the user")
            .answers::<()>()
            .refuses(&[SessionNotFound]),
        get("getAccountStats", "/auth/stats", auth::stats, "Numbers of the user's calls")
            .answers::<auth::Statistics>()
            .reads_many(),
        get("validateToken", "/auth/validate", auth::validate, "Validates the token and returns its owner")
            .answers::<auth::Valid>(),
    ]
}

fn video_calls() -> Vec<Route> {
    use Code::*;
    vec![
        get("listCalls", "/video-calls", calls::list, "Calls that the user hosts, takes part in or is invited to")
            .lists::<CallView<'_>>(),
        post("createCall", "/video-calls", calls::create, "Creates a call")
            .answers_with::<CallView<'_>>(StatusCode::CREATED),
        post(
            "joinCall",
            "/video-calls/join",
            join::join,
            "Admits the caller to a call and issues the token for the socket",
        )
        .class(Class::Join)
        .answers::<join::JoinResponse<'_>>()
        .refuses(&[
            Unauthorized,
            InvalidPasscode,
            Forbidden,
            CallFull,
            CallEnded,
            RoomLocked,
            RoomNotAllowed,
            AppLimitReached,
            Banned,
            Removed,
            CallNotFound,
        ]),
        get("getCallByRoom", "/video-calls/room/{roomId}", calls::by_room, "A call, by its room id")
            .answers::<calls::CallOrSummary<'_>>()
            .refuses(&[RoomNotAllowed, CallNotFound]),
        get("getCall", "/video-calls/{id}", calls::get, "A call, by its id")
            .answers::<calls::CallOrSummary<'_>>()
            .refuses(&[Forbidden, RoomNotAllowed, CallNotFound]),
        patch("changeCall", "/video-calls/{id}", calls::edit, "Changes the given fields of a call")
            .answers::<CallView<'_>>()
            .refuses(&[HostRequired, CallNotFound, CallEnded]),
        put("replaceCall", "/video-calls/{id}", calls::edit, "Changes the given fields of a call, as PATCH does")
            .answers::<CallView<'_>>()
            .refuses(&[HostRequired, CallNotFound, CallEnded]),
        delete("deleteCall", "/video-calls/{id}", calls::delete, "Ends a call if necessary, and deletes it")
            .answers::<()>()
            .refuses(&[HostRequired, CallNotFound]),
        get(
            "getCallStats",
            "/video-calls/{id}/stats",
            calls::stats,
            "Participants of a call and the times of their presence",
        )
        .answers::<StatsView<'_>>()
        .reads_many()
        .refuses(&[Forbidden, CallNotFound]),
        get(
            "listParticipants",
            "/video-calls/{id}/participants",
            calls::participants,
            "Users and guests who joined a call, page by page",
        )
        .lists::<ParticipantView<'_>>()
        .refuses(&[Forbidden, RoomNotAllowed, CallNotFound]),
        get("listMessages", "/video-calls/{id}/messages", calls::messages, "The recorded chat of a call, oldest first")
            .lists::<calls::MessageView>()
            .refuses(&[Forbidden, CallNotFound]),
        post("endCall", "/video-calls/{id}/end", calls::end, "Ends a call for all participants")
            .answers::<calls::EndOfCall>()
            .refuses(&[HostRequired, CallNotFound]),
        post("reopenCall", "/video-calls/{id}/reopen", calls::reopen, "Reopens a call that has ended")
            .answers::<CallView<'_>>()
            .refuses(&[HostRequired, CallNotFound, CallEnded, RoomExists]),
    ]
}

fn backends() -> Vec<Route> {
    let routes = [server_calls(), server_rooms()].into_iter().flatten().map(|route| route.class(Class::Server));
    let event = post(
        "sendServerEvent",
        "/server/rooms/{roomId}/events",
        events::send,
        "Sends an event to everyone in a call, or to one participant",
    )
    .class(Class::ServerEvent)
    .answers_with::<events::SentEventView>(StatusCode::CREATED)
    .refuses(&[Code::RoomNotFound, Code::PeerNotFound, Code::IdempotencyKeyReused]);
    routes.chain([event]).collect()
}

fn server_calls() -> Vec<Route> {
    use Code::{AppLimitReached, CallEnded, CallNotFound, RoomExists};
    vec![
        post("createServerCall", "/server/calls", calls_of_app::create, "Creates a call of the app")
            .answers_with::<CallView<'_>>(StatusCode::CREATED)
            .refuses(&[RoomExists, CallNotFound]),
        get("listServerCalls", "/server/calls", calls_of_app::list, "Calls of the app, page by page")
            .lists::<CallView<'_>>(),
        get("getServerCallByRoom", "/server/calls/room/{roomId}", calls_of_app::by_room, "A call, by its room id")
            .answers::<CallView<'_>>()
            .refuses(&[CallNotFound]),
        get("getServerCall", "/server/calls/{id}", calls_of_app::get, "A call, by its id")
            .answers::<CallView<'_>>()
            .refuses(&[CallNotFound]),
        patch("changeServerCall", "/server/calls/{id}", calls_of_app::edit, "Changes the given fields of a call")
            .answers::<CallView<'_>>()
            .refuses(&[AppLimitReached, CallNotFound, CallEnded]),
        delete(
            "deleteServerCall",
            "/server/calls/{id}",
            calls_of_app::delete,
            "Ends a call if necessary, and deletes it",
        )
        .answers::<()>()
        .refuses(&[CallNotFound]),
        post("endServerCall", "/server/calls/{id}/end", calls_of_app::end, "Ends a call for all participants")
            .answers::<calls::EndOfCall>()
            .refuses(&[CallNotFound]),
        post("mintToken", "/server/tokens", tokens::mint, "Signs a user token, for a backend that cannot sign")
            .answers_with::<tokens::UserTokenView>(StatusCode::CREATED),
        get("getServerUsage", "/server/usage", usage_of_app::usage, "Usage of the app by day, as JSON or CSV")
            .answers_or::<UsageView>("text/csv")
            .reads_many(),
        get("getServerLimits", "/server/limits", usage_of_app::limits, "Limits of the app, and what is in use of them")
            .answers::<usage::LimitsView>(),
    ]
}

fn server_rooms() -> Vec<Route> {
    use Code::{CallFull, Forbidden, PeerNotFound, RoomNotFound};
    vec![
        get(
            "listServerParticipants",
            "/server/rooms/{roomId}/participants",
            participants::list,
            "The current participants of a call, and its lobby",
        )
        .answers::<Vec<Participant>>()
        .refuses(&[RoomNotFound]),
        patch(
            "changeServerParticipant",
            "/server/rooms/{roomId}/participants/{peerId}",
            participants::edit,
            "Changes the role, name, picture or data of a participant",
        )
        .answers::<Participant>()
        .refuses(&[RoomNotFound, PeerNotFound, Forbidden]),
        delete(
            "removeServerParticipant",
            "/server/rooms/{roomId}/participants/{peerId}",
            participants::remove,
            "Removes a participant on all devices, and bans the user on request",
        )
        .answers::<()>()
        .refuses(&[RoomNotFound, PeerNotFound]),
        post(
            "muteServerParticipant",
            "/server/rooms/{roomId}/participants/{peerId}/mute",
            participants::mute,
            "Switches off one medium of a participant",
        )
        .answers::<()>()
        .refuses(&[RoomNotFound, PeerNotFound]),
        post(
            "admitServerParticipant",
            "/server/rooms/{roomId}/participants/{peerId}/admit",
            participants::admit,
            "Admits a participant from the lobby",
        )
        .answers::<participants::Admitted>()
        .refuses(&[RoomNotFound, PeerNotFound, CallFull]),
        post(
            "denyServerParticipant",
            "/server/rooms/{roomId}/participants/{peerId}/deny",
            participants::deny,
            "Refuses a participant in the lobby",
        )
        .answers::<()>()
        .refuses(&[RoomNotFound, PeerNotFound]),
        post(
            "admitServerLobby",
            "/server/rooms/{roomId}/admit",
            participants::admit_all,
            "Admits all participants from the lobby while there are seats",
        )
        .answers::<participants::Admitted>()
        .refuses(&[RoomNotFound, CallFull]),
    ]
}

fn operators() -> Vec<Route> {
    use Code::{AppNotFound, AppsNotConfigured, KeyNotFound, LimitReached, PeerNotFound, RoomNotFound};
    vec![
        get("listNodes", "/admin/nodes", admin::nodes, "The live signal-nodes").answers::<Vec<admin::NodeView>>(),
        post(
            "rebalanceNodes",
            "/admin/nodes/rebalance",
            admin::rebalance,
            "Asks the nodes to even out their numbers of clients",
        )
        .answers::<()>(),
        get("listRooms", "/admin/rooms", admin::rooms, "The open rooms, page by page")
            .answers::<Vec<admin::RoomView>>(),
        get(
            "listRoomParticipants",
            "/admin/rooms/{roomId}/participants",
            admin::participants,
            "The current participants of a room",
        )
        .answers::<Vec<Participant>>()
        .refuses(&[RoomNotFound]),
        delete(
            "removeParticipant",
            "/admin/rooms/{roomId}/participants/{peerId}",
            admin::remove,
            "Removes a participant from a room",
        )
        .answers::<()>()
        .refuses(&[RoomNotFound, PeerNotFound]),
        post("endRoom", "/admin/rooms/{roomId}/end", admin::end, "Ends a room's call for all participants")
            .answers::<()>()
            .refuses(&[RoomNotFound]),
        get("listApps", "/admin/apps", apps::list, "The apps with their API keys, page by page")
            .answers::<Vec<AppView>>(),
        post("createApp", "/admin/apps", apps::create, "Creates an app")
            .answers_with::<AppView>(StatusCode::CREATED)
            .refuses(&[AppsNotConfigured, LimitReached]),
        get("getApp", "/admin/apps/{appId}", apps::get, "An app with its API keys")
            .answers::<AppView>()
            .refuses(&[AppNotFound]),
        patch("changeApp", "/admin/apps/{appId}", apps::edit, "Changes name or limits of an app, or disables it")
            .answers::<AppView>()
            .refuses(&[AppNotFound]),
        get("getAppUsage", "/admin/apps/{appId}/usage", apps::usage, "Usage of an app by day, as JSON or CSV")
            .answers_or::<UsageView>("text/csv")
            .refuses(&[AppNotFound]),
        delete("deleteApp", "/admin/apps/{appId}", apps::delete, "Deletes an app with its API keys")
            .answers::<()>()
            .refuses(&[AppNotFound]),
        get("listAppKeys", "/admin/apps/{appId}/keys", apps::keys, "The API keys of an app, the oldest first")
            .answers::<Vec<apps::AppKeyView>>()
            .refuses(&[AppNotFound]),
        post(
            "addAppKey",
            "/admin/apps/{appId}/keys",
            apps::add_key,
            "Makes an API key; its secret is in this response only",
        )
        .answers_with::<NewAppKeyView>(StatusCode::CREATED)
        .refuses(&[AppsNotConfigured, AppNotFound, LimitReached]),
        delete("revokeAppKey", "/admin/apps/{appId}/keys/{keyId}", apps::revoke_key, "Revokes an API key")
            .answers::<()>()
            .refuses(&[KeyNotFound]),
    ]
}

/// Creates the router of all routes.
pub(crate) fn router(app: &App) -> Router<App> {
    let (routes, well_known) = (list(), well_known());
    let documents = Arc::new(Documents::new(&[(PREFIX, &routes), ("", &well_known)]));
    let routes = route::router(app, routes).layer(Extension(documents)).fallback(no_route);
    let well_known = route::router(app, well_known).method_not_allowed_fallback(no_route);
    Router::new().nest(PREFIX, routes.method_not_allowed_fallback(no_route)).merge(well_known)
}

/// Returns the route of the index, for its path with a slash at the end.
pub(crate) fn index() -> MethodRouter<App> {
    axum::routing::get(health::index).fallback(no_route)
}

/// Answers a request for an unknown path, or with a method that the path does not have.
async fn no_route() -> ApiError {
    Code::RouteNotFound.into()
}
