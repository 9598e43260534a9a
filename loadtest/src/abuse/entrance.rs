//! How honest clients come into calls: as guests, or as users of an app.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::attack::OK;
use super::connection::Rest;
use crate::client::api::Account;
use crate::client::app::AppClient;
use crate::client::guest::Guest;
use crate::client::route::Route;

/// Accounts that create the calls, so that none of them creates many.
const ACCOUNTS: usize = 5;
/// Calls that are created at the same time.
const CONCURRENT_MAX: usize = 16;

/// How honest clients come in.
#[derive(Clone, Debug)]
pub(crate) enum Entrance {
    /// As guests, into calls of accounts.
    Guests,
    /// As users of an app, into calls that its backend makes.
    App {
        /// The app.
        app: AppClient,
        /// Tokens of its users.
        tokens: Arc<[String]>,
    },
}

/// Users of an app that join in turn: more than are in a call at the same time.
const APP_USERS: usize = 64;

impl Entrance {
    /// Creates an app with its users, at the api with this base URL.
    pub(crate) async fn of_new_app(api: &str) -> anyhow::Result<Self> {
        let app = AppClient::create(api, "Quiet", &json!({})).await?;
        let tokens = app.tokens(APP_USERS).await?.into();
        Ok(Self::App { app, tokens })
    }

    /// Creates `count` calls. Returns their room ids.
    pub(super) async fn create_rooms(&self, api: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let Self::App { app, .. } = self else { return create_rooms(api, count).await };
        let create = |number: usize| async move {
            let room = format!("room-{number}");
            app.create_call(&room, &json!({})).await.map(|()| room)
        };
        stream::iter((0..count).map(create)).buffered(CONCURRENT_MAX).try_collect().await
    }

    /// Takes a seat over the socket alone. Clients with numbers that follow each other are
    /// different users.
    pub(super) async fn seat(&self, number: usize, route: Route<'_>, room: &str) -> anyhow::Result<Guest> {
        match self {
            Self::Guests => Guest::join(route, room, "Honest").await,
            Self::App { tokens, .. } => {
                let auth = json!({ "token": tokens[number % tokens.len()] });
                Guest::join_with(route, &auth, &json!({ "roomId": room })).await
            }
        }
    }

    /// Joins a call: REST, socket, `room:join`.
    pub(super) async fn join(&self, number: usize, api: &str, node: &str, room: &str) -> anyhow::Result<Guest> {
        let from = honest_address(100 + number);
        let Self::App { tokens, .. } = self else { return join_call(from, api, node, room, None).await };
        let token = &tokens[number % tokens.len()];
        let fields = json!({ "roomId": room });
        let answer = Rest::new(from, api).json("POST", "/api/video-calls/join", Some(token), &fields).await;
        ensure!(answer.outcome() == OK, "REST {}", answer.outcome());
        self.seat(number, Route::new(from, node), room).await
    }
}

/// Source address of an honest client.
pub(super) fn honest_address(client: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(client % 250 + 1).unwrap_or(1))
}

async fn create_rooms(api: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let each = count.div_ceil(ACCOUNTS);
    let mut rooms = Vec::new();
    for index in 0..ACCOUNTS {
        let account = Account::register_from(&format!("http://{api}"), Some(honest_address(index))).await?;
        rooms.extend(account.create_calls(each, 20).await.context("cannot create the calls of honest clients")?);
    }
    ensure!(rooms.len() >= count, "too few calls");
    rooms.truncate(count);
    Ok(rooms)
}

/// As a guest, perhaps with a passcode, joins a call: REST, socket, `room:join` with the join
/// token.
pub(crate) async fn join_call(
    from: Ipv4Addr,
    api: &str,
    node: &str,
    room: &str,
    passcode: Option<&str>,
) -> anyhow::Result<Guest> {
    let mut fields = json!({ "roomId": room, "guestName": "Honest" });
    if let Some(passcode) = passcode {
        fields["passcode"] = passcode.into();
    }
    let answer = Rest::new(from, api).json("POST", "/api/video-calls/join", None, &fields).await;
    ensure!(answer.outcome() == OK, "REST {}", answer.outcome());
    let data = answer.json()["data"].take();
    let auth = json!({ "token": data["token"] });
    let fields = json!({ "roomId": room, "token": data["joinToken"] });
    Guest::join_with(Route::new(from, node), &auth, &fields).await
}
