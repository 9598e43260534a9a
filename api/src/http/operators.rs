//! Arguments of handlers that operators call: read access and write access.

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;
use switchboard_auth::operator::Scope;
use switchboard_core::domain::{Code, Refusal};

use crate::app::App;
use crate::http::describe::{Access, Argument, Operation};
use crate::http::error::ApiError;
use crate::http::query_names;

/// Header with an operator's API key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Operator with a key that allows reading; the name of the key.
#[derive(Debug)]
pub struct OperatorRead(pub String);

/// Operator with a key that allows changes; the name of the key.
#[derive(Debug)]
pub struct OperatorWrite(pub String);

impl FromRequestParts<App> for OperatorRead {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        identify(parts, app, Scope::Read).map(Self)
    }
}

impl FromRequestParts<App> for OperatorWrite {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        identify(parts, app, Scope::Write).map(Self)
    }
}

impl Argument for OperatorRead {
    fn describe(operation: &mut Operation) {
        operation.access = Access::Operators;
        operation.refuse([Code::Unauthorized, Code::RouteNotFound, Code::ValidationError]);
    }
}

impl Argument for OperatorWrite {
    fn describe(operation: &mut Operation) {
        OperatorRead::describe(operation);
        operation.refuse([Code::Forbidden]);
    }
}

fn identify(parts: &Parts, app: &App, needed: Scope) -> Result<String, ApiError> {
    if app.operators.is_empty() {
        // Without configured keys the routes do not exist for callers.
        return Err(Code::RouteNotFound.into());
    }
    let key = parts.headers.get(API_KEY).and_then(|value| value.to_str().ok());
    let Some((name, scope)) = key.and_then(|key| app.operators.find(key)) else {
        tracing::warn!(target: "audit", given = key.is_some(), "operator key refused");
        return Err(Refusal::new(Code::Unauthorized, "The operator key is missing or wrong").into());
    };
    if scope < needed {
        tracing::warn!(target: "audit", operator = name, "operator key lacks write scope");
        return Err(Code::Forbidden.into());
    }
    query_names::check(parts)?;
    Ok(name.to_owned())
}
