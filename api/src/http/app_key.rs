//! Arguments of handlers that backends of apps call: an API key with a scope, given as HTTP Basic
//! (RFC 7617): the key's id as user, its secret as password.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderName, header};
use serde_json::{Value, json};
use switchboard_calls::AppKey;
use switchboard_core::domain::{AppId, AppScope, Code, Refusal};

use crate::app::App;
use crate::http::describe::{Access, Argument, Operation};
use crate::http::error::ApiError;
use crate::http::extract::{ValidJson, json_object};
use crate::http::fields::{Fields, Input};
use crate::http::query_names;

/// Header with the key by which a repeated request is recognized.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Length of an idempotency key, in characters.
const IDEMPOTENCY_KEY_MAX: usize = 128;

/// Scope that a route needs.
pub trait Scope {
    /// The scope.
    const SCOPE: AppScope;
}

/// Scopes as types, one for each [`AppScope`].
macro_rules! scopes {
    ($($name:ident)*) => {$(
        #[doc = concat!("[`AppScope::", stringify!($name), "`].")]
        #[derive(Debug)]
        pub struct $name;

        impl Scope for $name {
            const SCOPE: AppScope = AppScope::$name;
        }
    )*};
}

scopes!(CallsRead CallsWrite ParticipantsWrite TokensMint);

/// API key of an app that has the scope `S`.
#[derive(Debug)]
pub struct Backend<S>(pub Arc<AppKey>, PhantomData<S>);

impl<S> Backend<S> {
    /// Returns the app of the key.
    #[must_use]
    pub fn app(&self) -> &AppId {
        &self.0.app
    }
}

impl<S: Scope> FromRequestParts<App> for Backend<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let key = identify(parts, app).await?;
        key.authorize(S::SCOPE)?;
        query_names::check(parts)?;
        Ok(Self(key, PhantomData))
    }
}

impl<S: Scope> Argument for Backend<S> {
    fn describe(operation: &mut Operation) {
        operation.access = Access::Backends(S::SCOPE);
        operation.refuse([Code::Unauthorized, Code::InvalidCredentials, Code::KeyRevoked, Code::Forbidden]);
        operation.refuse([Code::ValidationError]);
    }
}

#[derive(Clone)]
struct Verified(Result<Arc<AppKey>, Refusal>);

/// Returns the API key of a request. It is verified once; the result is kept in the request's
/// extensions.
///
/// # Errors
/// `UNAUTHORIZED` without credentials, or as [`switchboard_calls::AppDirectory::authenticate`].
pub(crate) async fn identify(parts: &mut Parts, app: &App) -> Result<Arc<AppKey>, Refusal> {
    if let Some(Verified(verified)) = parts.extensions.get() {
        return verified.clone();
    }
    let verified = match credentials(parts) {
        Some((id, secret)) => app.apps.authenticate(&id, &secret).await,
        None => Err(Refusal::new(Code::Unauthorized, "Send an API key: HTTP Basic, with its id and its secret")),
    };
    parts.extensions.insert(Verified(verified.clone()));
    verified
}

/// Reads `Authorization: Basic`.
fn credentials(parts: &Parts) -> Option<(String, String)> {
    let (scheme, text) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let pair = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(text.trim()).ok()).flatten()?;
    let (id, secret) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// JSON body of a request that may be repeated under one `Idempotency-Key`.
pub struct IdempotentJson<T> {
    /// The body.
    pub input: T,
    /// Key of the request, and the text of its body.
    pub key: Option<(String, String)>,
}

impl<T: Input> FromRequest<App> for IdempotentJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let key = idempotency_key(request.headers().get(IDEMPOTENCY_KEY))?;
        let fields = json_object(request, app).await?;
        let key = key.map(|key| (key, Value::Object(fields.clone()).to_string()));
        Ok(Self { input: Fields::of_body(fields).read()?, key })
    }
}

impl<T: Input> Argument for IdempotentJson<T> {
    fn describe(operation: &mut Operation) {
        let schema = json!({
            "type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_MAX, "pattern": "^[!-~]+$",
            "description": "For a day, a request with the same key and body answers with the same call",
        });
        operation.parameter("header", "Idempotency-Key", false, &schema);
        operation.refuse([Code::IdempotencyKeyReused]);
        ValidJson::<T>::describe(operation);
    }
}

fn idempotency_key(value: Option<&http::HeaderValue>) -> Result<Option<String>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if (1..=IDEMPOTENCY_KEY_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(text.to_owned()));
    }
    let rule = format!("must have 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters, without blanks");
    Err(Refusal::field(Code::ValidationError, "Idempotency-Key", rule))
}
