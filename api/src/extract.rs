//! What a route needs of a request, as its argument types: who asks, and a body that is known to be valid.

use std::collections::HashMap;
use std::convert::Infallible;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::IntoResponse;
use http::request::Parts;
use http::{StatusCode, header};
use serde_json::Value;
use switchboard_auth::{Identity, Kind};
use switchboard_core::domain::{CallId, Code, PeerId, Refusal, RoomId};

use crate::app::App;
use crate::error::Problem;
use crate::fields::{Fields, Input};
use crate::openapi::operation::PathSchema;

/// A signed-in user. A route that has it as an argument refuses everybody else.
pub struct Caller(pub Identity);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match identify(parts, app)? {
            Some(identity) if identity.kind == Kind::User => Ok(Self(identity)),
            _ => Err(Code::Unauthorized.into()),
        }
    }
}

/// A user, a guest with a token, or nobody. A token that is there but bad is refused all the same.
pub struct MaybeCaller(pub Option<Identity>);

impl FromRequestParts<App> for MaybeCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self(identify(parts, app)?))
    }
}

/// Who the request's token says that asks. The token is verified once, and remembered with the request.
pub(crate) fn identify(parts: &mut Parts, app: &App) -> Result<Option<Identity>, Refusal> {
    if let Some(Known(known)) = parts.extensions.get() {
        return known.clone();
    }
    let known = verify(parts, app);
    parts.extensions.insert(Known(known.clone()));
    known
}

#[derive(Clone)]
struct Known(Result<Option<Identity>, Refusal>);

fn verify(parts: &Parts, app: &App) -> Result<Option<Identity>, Refusal> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let identity = app.tokens.verify_access(token.trim())?;
            match &identity.session {
                Some(sign_in) if app.revoked.has(sign_in) => Err(Code::TokenInvalid.into()),
                _ => Ok(Some(identity)),
            }
        }
        _ => Err(Code::TokenInvalid.into()),
    }
}

/// What the client calls itself, for its owner to know it by: one line of at most 200 visible characters.
pub struct UserAgent(pub Option<String>);

impl FromRequestParts<App> for UserAgent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        let text = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        // Of visible ASCII alone, so any index is a boundary.
        Ok(Self(text.map(|text| text[..text.len().min(200)].to_owned())))
    }
}

/// A JSON body whose every field was checked.
pub struct ValidJson<T>(pub T);

impl<T: Input> FromRequest<App> for ValidJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Code::UnsupportedMediaType.into());
        }
        let body =
            Bytes::from_request(request, app).await.map_err(|rejection| match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::from(Code::PayloadTooLarge),
                _ => Refusal::new(Code::InvalidInput, "The body could not be read").into(),
            })?;
        match serde_json::from_slice(&body) {
            Ok(Value::Object(fields)) => Ok(Self(Fields::of_body(fields).read()?)),
            Ok(_) => Err(Refusal::new(Code::InvalidInput, "The body must be a JSON object").into()),
            Err(_) => Err(Refusal::new(Code::InvalidInput, "The body is not JSON").into()),
        }
    }
}

fn is_json(headers: &http::HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// A query whose every parameter was checked.
pub struct ValidQuery<T>(pub T);

impl<T: Input> FromRequestParts<App> for ValidQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Query(parameters) = Query::<HashMap<String, String>>::from_request_parts(parts, app)
            .await
            .map_err(|_| Refusal::new(Code::InvalidInput, "The query could not be read"))?;
        Ok(Self(Fields::of_query(parameters).read()?))
    }
}

/// An id in a path.
pub struct Named<T>(pub T);

/// Ids that can stand in a path.
pub trait PathId: PathSchema + Sized {
    /// Reads it.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` for the parameter.
    fn read(text: &str) -> Result<Self, Refusal>;
}

impl PathId for CallId {
    fn read(text: &str) -> Result<Self, Refusal> {
        let id = Self::parse(text).ok().filter(|id| id.as_str().len() == 24);
        id.ok_or_else(|| Refusal::field(Code::ValidationError, "id", "must be a call's id"))
    }
}

impl PathId for RoomId {
    fn read(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|_| Refusal::field(Code::ValidationError, "roomId", "must be a room's id"))
    }
}

impl<T: PathId> FromRequestParts<App> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let axum::extract::Path(text) = axum::extract::Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|_| Refusal::new(Code::InvalidInput, "The path could not be read"))?;
        Ok(Self(T::read(&text)?))
    }
}

/// Somebody in a room, by a path with both.
pub struct Seated {
    /// The room.
    pub room: RoomId,
    /// Who.
    pub peer: PeerId,
}

impl FromRequestParts<App> for Seated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let axum::extract::Path((room, peer)) = axum::extract::Path::<(String, String)>::from_request_parts(parts, app)
            .await
            .map_err(|_| Refusal::new(Code::InvalidInput, "The path could not be read"))?;
        let peer = PeerId::parse(&peer)
            .map_err(|_| Refusal::field(Code::ValidationError, "peerId", "must be a participant's id"))?;
        Ok(Self { room: PathId::read(&room)?, peer })
    }
}
