//! User tokens for backends that cannot sign them.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_auth::token::{METADATA_MAX, USER_AVATAR_MAX, USER_NAME, USER_TOKEN_MAX, UserClaims};
use switchboard_core::domain::Timestamp;

use crate::app::App;
use crate::http::app_key::{Backend, TokensMint};
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::ValidJson;
use crate::http::fields::{Fields, Input};

/// Lifetime of a token whose request names none, in seconds.
const LIFETIME_DEFAULT: u32 = 3600;
/// Shortest lifetime of a token, in seconds.
const LIFETIME_MIN: u32 = 10;
#[expect(clippy::cast_possible_truncation, reason = "a day has fewer seconds")]
const LIFETIME_MAX: u32 = USER_TOKEN_MAX as u32;

/// Body of `POST server/tokens`: claims, and the lifetime of the token.
pub(crate) struct NewToken {
    claims: UserClaims,
    lifetime_s: u32,
}

impl Input for NewToken {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        let role =
            fields.choice("role", &[("host", "host"), ("moderator", "moderator"), ("participant", "participant")]);
        Self {
            claims: UserClaims {
                sub: fields.line("sub", 1..=40),
                name: fields.optional_name("name", USER_NAME),
                avatar: fields.web_url("avatar", USER_AVATAR_MAX),
                metadata: fields.json("metadata", METADATA_MAX),
                room: fields.room("room").map(String::from),
                role: role.map(str::to_owned),
                permissions: fields.permissions("permissions"),
            },
            lifetime_s: fields.integer("expiresIn", LIFETIME_MIN..=LIFETIME_MAX).unwrap_or(LIFETIME_DEFAULT),
        }
    }

    fn example() -> Value {
        json!({ "sub": "ann", "name": "Ann Lee", "room": "standup", "role": "host", "expiresIn": 3600 })
    }
}

/// A signed user token.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UserToken")]
pub(crate) struct UserTokenView {
    /// The token.
    token: String,
    expires_at: Timestamp,
}

/// `POST server/tokens`: signs a token with the secret of the API key, as the backend could.
pub(crate) async fn mint(
    State(app): State<App>,
    backend: Backend<TokensMint>,
    ValidJson(NewToken { claims, lifetime_s }): ValidJson<NewToken>,
) -> ApiResult<Response> {
    let minted = app.tokens.mint_app(&claims, backend.0.signer(), u64::from(lifetime_s))?;
    let expires_at = Timestamp(i64::try_from(minted.expires_at).unwrap_or(i64::MAX / 1000) * 1000);
    let view = UserTokenView { token: minted.token, expires_at };
    Ok((StatusCode::CREATED, success("The token was signed", view)).into_response())
}
