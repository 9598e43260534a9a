//! Operators, as argument types of handlers: who looks, and who may intervene.

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;
use switchboard_auth::operator::Scope;
use switchboard_core::domain::Code;

use crate::app::App;
use crate::error::Problem;

/// Where an operator's key is.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Somebody with a key that allows to look; its name.
#[derive(Debug)]
pub struct Observer(pub String);

/// Somebody with a key that allows to intervene; its name.
#[derive(Debug)]
pub struct Operator(pub String);

impl FromRequestParts<App> for Observer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        identify(parts, app, Scope::Read).map(Self)
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        identify(parts, app, Scope::Write).map(Self)
    }
}

fn identify(parts: &Parts, app: &App, needed: Scope) -> Result<String, Problem> {
    if app.operators.is_empty() {
        // Without a key there are no operators and nothing for them: not even a door to knock at.
        return Err(Code::RouteNotFound.into());
    }
    let key = parts.headers.get(API_KEY).and_then(|value| value.to_str().ok());
    let Some((name, scope)) = key.and_then(|key| app.operators.find(key)) else {
        tracing::warn!(target: "audit", given = key.is_some(), "an operator's key was refused");
        return Err(Code::Unauthorized.into());
    };
    if scope < needed {
        tracing::warn!(target: "audit", operator = name, "an operator's key does not allow this");
        return Err(Code::Forbidden.into());
    }
    Ok(name.to_owned())
}
