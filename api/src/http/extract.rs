//! Arguments of handlers: the caller's identity, a validated body or query, and ids in the path.
//! Each describes itself for the OpenAPI document. The file has more than 400 lines, so that all
//! that a handler may take from a request is in one place.

use std::convert::Infallible;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::response::IntoResponse;
use http::request::Parts;
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use switchboard_auth::{Identity, IdentityKind};
use switchboard_core::domain::{AppId, AppKeyId, CallId, Code, PeerId, Refusal, RoomId, RoomName};
use switchboard_core::origin::foreign_origin;
use switchboard_core::wire::nesting::is_shallow;
use switchboard_core::wire::well_formed::to_well_formed;
use switchboard_rooms::RevocationReason;

use crate::app::App;
use crate::http::accept::prefers_csv;
use crate::http::describe::{Access, Argument, Operation};
use crate::http::error::ApiError;
use crate::http::fields::{Description, Fields, Input};

/// Longest `User-Agent` that is kept, in characters.
const USER_AGENT_MAX: usize = 200;
/// Message about a field that must be a room id and is not.
pub(crate) const ROOM_ID_RULE: &str = "must be 1 to 64 letters, digits, _ or -";

/// Signed-in user with an account. A route with this argument refuses every other caller.
pub struct Caller(pub Identity);

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match identify(parts, app).await? {
            Some(identity) if identity.kind == IdentityKind::User => Ok(Self(identity)),
            _ => Err(Code::Unauthorized.into()),
        }
    }
}

impl Argument for Caller {
    fn describe(operation: &mut Operation) {
        operation.token(Access::Users);
        operation.refuse([Code::Unauthorized]);
    }
}

/// Signed-in user with calls: with an account, or of an app by a provider of OpenID Connect.
pub struct CallOwner(pub Identity);

impl FromRequestParts<App> for CallOwner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match identify(parts, app).await? {
            Some(identity) if matches!(identity.kind, IdentityKind::User | IdentityKind::OidcUser) => {
                Ok(Self(identity))
            }
            _ => Err(Code::Unauthorized.into()),
        }
    }
}

impl Argument for CallOwner {
    fn describe(operation: &mut Operation) {
        Caller::describe(operation);
    }
}

/// Signed-in user who signs out: as [`Caller`], and a user whose tokens a replay has ended, because
/// signing out frees the seats in calls that a replay leaves.
pub struct SigningOut(pub Identity);

impl FromRequestParts<App> for SigningOut {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match verify(parts, app, &[RevocationReason::SignedOut]).await? {
            Some(identity) if identity.kind == IdentityKind::User => Ok(Self(identity)),
            _ => Err(Code::Unauthorized.into()),
        }
    }
}

impl Argument for SigningOut {
    fn describe(operation: &mut Operation) {
        Caller::describe(operation);
    }
}

/// User, guest with a token, user of an app, or caller without a token (`None`). A bad token is
/// refused.
pub struct MaybeCaller(pub Option<Identity>);

impl FromRequestParts<App> for MaybeCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(identify(parts, app).await?))
    }
}

impl MaybeCaller {
    /// Returns the app of the caller: without a token, that of accounts and guests.
    #[must_use]
    pub fn app(&self) -> AppId {
        self.0.as_ref().map(|caller| caller.app.clone()).unwrap_or_default()
    }

    /// Returns the only room that the caller's token is good for, if it has one.
    #[must_use]
    pub fn bound_to(&self) -> Option<&RoomId> {
        self.0.as_ref()?.room.as_ref()
    }
}

impl Argument for MaybeCaller {
    fn describe(operation: &mut Operation) {
        operation.token(Access::OptionalToken);
    }
}

/// Returns the identity in the request's token. The token is verified once; the result is kept in
/// the request's extensions.
///
/// # Errors
/// The token is expired, invalid or revoked.
pub(crate) async fn identify(parts: &mut Parts, app: &App) -> Result<Option<Identity>, Refusal> {
    if let Some(Verified(verified)) = parts.extensions.get() {
        return verified.clone();
    }
    let verified = verify(parts, app, &[RevocationReason::SignedOut, RevocationReason::Replayed]).await;
    parts.extensions.insert(Verified(verified.clone()));
    verified
}

#[derive(Clone)]
struct Verified(Result<Option<Identity>, Refusal>);

/// Returns the origin of the page that sent a request; `None` without one, or if it is the
/// service's own.
fn origin(headers: &http::HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    foreign_origin(headers.get(header::ORIGIN)?.to_str().unwrap_or("null"), host)
}

/// Verifies the request's token. `refused`: reasons for which a revoked sign-in is refused.
async fn verify(parts: &Parts, app: &App, refused: &[RevocationReason]) -> Result<Option<Identity>, Refusal> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let (identity, _) = app.apps.identify(&app.tokens, token.trim(), false).await?;
            app.apps.check_origin(&identity.app, origin(&parts.headers))?;
            let revoked = identity.session.as_deref().and_then(|sign_in| app.revoked.reason(sign_in));
            match revoked {
                Some(reason) if refused.contains(&reason) => Err(Code::TokenInvalid.into()),
                _ => Ok(Some(identity)),
            }
        }
        _ => Err(Code::TokenInvalid.into()),
    }
}

/// `User-Agent` of the client, so that a user can recognize their own sign-ins: at most 200 visible
/// ASCII characters.
pub struct UserAgent(pub Option<String>);

impl FromRequestParts<App> for UserAgent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        let text = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        // `to_str` accepts visible ASCII only, so every index is a character boundary.
        Ok(Self(text.map(|text| text[..text.len().min(USER_AGENT_MAX)].to_owned())))
    }
}

impl Argument for UserAgent {
    fn describe(_: &mut Operation) {}
}

/// Whether the client prefers CSV to JSON, by `Accept`.
pub struct WantsCsv(pub bool);

impl FromRequestParts<App> for WantsCsv {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        let accept = parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        Ok(Self(prefers_csv(accept)))
    }
}

impl Argument for WantsCsv {
    fn describe(_: &mut Operation) {}
}

/// JSON body whose fields are all valid.
pub struct ValidJson<T>(pub T);

impl<T: Input> FromRequest<App> for ValidJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        Ok(Self(Fields::of_body(json_object(request, app).await?).read()?))
    }
}

/// JSON body that changes something that exists. A field that has the value that it has already is
/// no change, and need not be valid: a client may send back all that it has read, with one field
/// changed.
pub struct JsonChange<T> {
    fields: Map<String, Value>,
    input: PhantomData<T>,
}

impl<T: Input> JsonChange<T> {
    /// Reads the fields that differ from `current`, the object as clients read it.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` that lists every invalid field among them.
    pub fn read(mut self, current: &impl Serialize) -> Result<T, Refusal> {
        if let Ok(Value::Object(current)) = serde_json::to_value(current) {
            self.fields.retain(|field, value| current.get(field) != Some(value));
        }
        Fields::of_body(self.fields).read()
    }
}

impl<T: Input + Send> FromRequest<App> for JsonChange<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        Ok(Self { fields: json_object(request, app).await?, input: PhantomData })
    }
}

impl<T: Input> Argument for JsonChange<T> {
    fn describe(operation: &mut Operation) {
        ValidJson::<T>::describe(operation);
    }
}

/// Reads the JSON object in a request's body. Every body with fields is read here, so that a
/// request without a body is the same as one with `{}` on every route.
pub(crate) async fn json_object(request: Request, app: &App) -> Result<Map<String, Value>, ApiError> {
    let has_type = request.headers().contains_key(header::CONTENT_TYPE);
    if has_type && !is_json(request.headers()) {
        return Err(Code::UnsupportedMediaType.into());
    }
    if is_compressed(request.headers()) {
        return Err(Refusal::new(Code::UnsupportedMediaType, "The body must not be compressed").into());
    }
    let body = match Bytes::from_request(request, app).await {
        Ok(body) if body.is_empty() => return Ok(Map::new()),
        // A body of an unknown kind.
        _ if !has_type => return Err(Code::UnsupportedMediaType.into()),
        Ok(body) => body,
        Err(rejection) => match rejection.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => return Err(Code::PayloadTooLarge.into()),
            _ => return Err(Refusal::new(Code::InvalidInput, "The body could not be read").into()),
        },
    };
    if !is_shallow(&body) {
        return Err(Refusal::new(Code::InvalidInput, "The body nests more than 16 levels deep").into());
    }
    match parse(&body) {
        Some(Value::Object(fields)) => Ok(fields),
        Some(_) => Err(Refusal::new(Code::InvalidInput, "The body must be a JSON object").into()),
        None => Err(Refusal::new(Code::InvalidInput, "The body is not valid JSON").into()),
    }
}

/// Byte order mark of UTF-8. Programs on Windows put it before the text.
const BYTE_ORDER_MARK: &str = "\u{FEFF}";

/// Parses JSON. Ignores a byte order mark, as RFC 8259 allows, and replaces lone surrogates.
/// Returns `None` for any other text that is not JSON.
fn parse(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&to_well_formed(text))).ok()
}

/// Returns whether the body is JSON, or a format on top of it, such as a merge patch (RFC 7396).
fn is_json(headers: &http::HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.strip_prefix("application/").is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// Returns whether the body has a content coding. None is decoded, because a small body could
/// become a large one.
fn is_compressed(headers: &http::HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

impl<T: Input> Argument for ValidJson<T> {
    fn describe(operation: &mut Operation) {
        let Description { properties, required } = Description::of_body::<T>();
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        operation.body = Some((schema, T::example()));
        operation.refuse([
            Code::ValidationError,
            Code::InvalidInput,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
        ]);
    }
}

/// Query whose parameters are all valid.
pub struct ValidQuery<T>(pub T);

impl<T: Input> FromRequestParts<App> for ValidQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Query(parameters) = Query::<Vec<(String, String)>>::from_request_parts(parts, app)
            .await
            .map_err(|_| Refusal::new(Code::InvalidInput, "The query could not be read"))?;
        Ok(Self(Fields::of_query(parameters).read()?))
    }
}

impl<T: Input> Argument for ValidQuery<T> {
    fn describe(operation: &mut Operation) {
        let Description { properties, required } = Description::of_query::<T>();
        for (name, schema) in &properties {
            let schema = json!({ "anyOf": [schema, { "type": "string", "maxLength": 0 }] });
            operation.parameter("query", name, required.contains(&name.as_str()), &schema);
        }
        operation.refuse([Code::ValidationError, Code::InvalidInput]);
    }
}

/// Id in the path, as an argument of a handler.
pub struct PathParam<T>(pub T);

/// Id that can stand in a path.
pub trait PathId: Sized {
    /// Name of the parameter in the route's path.
    const NAME: &'static str;

    /// Returns the JSON schema of the id.
    fn schema() -> Value;

    /// Reads the id.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` that names the parameter.
    fn read(text: &str) -> Result<Self, Refusal>;
}

impl PathId for CallId {
    const NAME: &'static str = "id";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9a-fA-F]{24}$", "examples": ["65a1b2c3d4e5f60718293a4b"] })
    }

    fn read(text: &str) -> Result<Self, Refusal> {
        let id = Self::parse(text).ok().filter(|id| id.as_str().len() == 24);
        id.ok_or_else(|| Refusal::field(Code::ValidationError, "id", "must be 24 hexadecimal digits"))
    }
}

impl PathId for RoomName {
    const NAME: &'static str = "roomId";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "examples": ["AB23CD45EF67"] })
    }

    fn read(text: &str) -> Result<Self, Refusal> {
        // `RoomName::read`, because a person may have typed it into the page's address.
        Self::read(text).map_err(|_| Refusal::field(Code::ValidationError, "roomId", ROOM_ID_RULE))
    }
}

/// Operators name rooms by their full names.
impl PathId for RoomId {
    const NAME: &'static str = "roomId";

    fn schema() -> Value {
        json!({
            "type": "string", "pattern": "^([a-z0-9]{1,24}[.])?[A-Za-z0-9_-]{1,64}$", "examples": ["AB23CD45EF67"],
        })
    }

    fn read(text: &str) -> Result<Self, Refusal> {
        let rule = "must be 1 to 64 letters, digits, _ or -; before it the app and a dot, but for the default app";
        let in_default_app = || RoomName::read(text).map(|name| AppId::default().room(&name));
        Self::parse(text)
            .or_else(|_| in_default_app())
            .map_err(|_| Refusal::field(Code::ValidationError, "roomId", rule))
    }
}

impl PathId for AppId {
    const NAME: &'static str = "appId";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9]{1,24}$", "examples": ["k3v9x2m4p7q1"] })
    }

    fn read(text: &str) -> Result<Self, Refusal> {
        let problem = "must be 1 to 24 lower-case letters or digits";
        Self::parse(text).map_err(|_| Refusal::field(Code::ValidationError, "appId", problem))
    }
}

impl<T: PathId> FromRequestParts<App> for PathParam<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, app).await.map_err(|_| unreadable_path())?;
        Ok(Self(T::read(&text)?))
    }
}

impl<T: PathId> Argument for PathParam<T> {
    fn describe(operation: &mut Operation) {
        operation.parameter("path", T::NAME, true, &T::schema());
        operation.refuse([Code::ValidationError, Code::InvalidInput]);
    }
}

/// Participant of a room: a path with both ids. Operators name the room by its full name, backends
/// within their app.
pub struct SeatPath<R> {
    /// Room of the participant.
    pub room: R,
    /// Participant in the room.
    pub peer: PeerId,
}

impl<R: PathId> FromRequestParts<App> for SeatPath<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path((room, peer)) =
            Path::<(String, String)>::from_request_parts(parts, app).await.map_err(|_| unreadable_path())?;
        let peer = PeerId::parse(&peer).map_err(|_| {
            Refusal::field(Code::ValidationError, "peerId", "must be 1 to 48 letters, digits, _, - or #")
        })?;
        Ok(Self { room: PathId::read(&room)?, peer })
    }
}

impl<R: PathId> Argument for SeatPath<R> {
    fn describe(operation: &mut Operation) {
        <PathParam<R> as Argument>::describe(operation);
        let schema =
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_#-]{1,48}$", "examples": ["65a1b2c3d4e5f60718293a4b"] });
        operation.parameter("path", "peerId", true, &schema);
    }
}

/// API key of an app: a path with both ids.
pub struct AppKeyPath {
    /// App of the key.
    pub app: AppId,
    /// Public id of the key.
    pub key: AppKeyId,
}

impl FromRequestParts<App> for AppKeyPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path((id, key)) =
            Path::<(String, String)>::from_request_parts(parts, app).await.map_err(|_| unreadable_path())?;
        let key = AppKeyId::read(&key).ok_or_else(|| {
            Refusal::field(Code::ValidationError, "keyId", "must be sbk_ and 20 lower-case letters or digits")
        })?;
        Ok(Self { app: PathId::read(&id)?, key })
    }
}

impl Argument for AppKeyPath {
    fn describe(operation: &mut Operation) {
        <PathParam<AppId> as Argument>::describe(operation);
        let schema =
            json!({ "type": "string", "pattern": "^sbk_[a-z0-9]{20}$", "examples": ["sbk_7h2k9d4m1p5q8r3t6v0x"] });
        operation.parameter("path", "keyId", true, &schema);
    }
}

pub(crate) fn unreadable_path() -> Refusal {
    Refusal::new(Code::InvalidInput, "The path could not be read")
}
