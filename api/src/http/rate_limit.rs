//! The middleware that limits the rate of a route, and the client's address as a handler's
//! argument.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Extensions;
use http::request::Parts;
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::{AppId, Code};
use switchboard_rooms::rate_limit::Subject;

use crate::app::App;
use crate::http::describe::{Argument, Operation};
use crate::http::error::{ApiError, ApiResult};
use crate::http::request_bounds::{Found, refused};
use crate::http::{app_key, extract};
use crate::limits::{Account, Class, HEADERS, RateStatus};

/// Client's network, as an argument of a handler. `None` when the request came over no connection.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub Option<ClientNetwork>);

impl FromRequestParts<App> for ClientAddress {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Ok(Self(address(&parts.extensions)))
    }
}

/// Returns the network of the client, which the bounds on its requests have looked up.
fn address(extensions: &Extensions) -> Option<ClientNetwork> {
    extensions.get().and_then(|Found(client)| *client)
}

impl Argument for ClientAddress {
    fn describe(_: &mut Operation) {}
}

/// Bounds of one route.
#[derive(Clone, Copy, Debug)]
pub struct RouteBounds {
    /// Rate class.
    pub class: Class,
    /// Whether a request reads many documents.
    pub reads_many: bool,
}

/// Returns the caller of a route of this class, with the caller's app, if it has proven who it is.
async fn account(parts: &mut Parts, app: &App, class: Class) -> Option<(AppId, Account)> {
    if matches!(class, Class::Server | Class::ServerEvent) {
        let key = app_key::identify(parts, app).await.ok()?;
        return Some((key.app.clone(), Account::Key(key.id.clone())));
    }
    let identity = extract::identify(parts, app).await.ok().flatten()?;
    Some((identity.app.clone(), Account::User(identity.app, identity.user.id)))
}

/// Counts a request of an app against the app's rate, on all pods together. Costs nothing for an
/// app without that limit.
///
/// # Errors
/// `RATE_LIMIT_EXCEEDED`.
pub async fn count_for_app(app: &App, id: &AppId) -> ApiResult<Option<RateStatus>> {
    let rate = app.apps.limits(id).requests();
    let spent = app.limits.spend("app_requests", Subject::App(id), rate).await;
    spent.map_err(|exceeded| ApiError::at_app_rate(app.apps.refusals(), id, exceeded))
}

/// Counts a request against the rates of the route's class, by address and by account, and against
/// that of the caller's app. Bounds the requests that read many documents.
pub async fn limit(State((app, bounds)): State<(App, RouteBounds)>, request: Request, next: Next) -> Response {
    let RouteBounds { class, reads_many } = bounds;
    let (mut parts, body) = request.into_parts();
    let account = account(&mut parts, &app, class).await;
    let (limits, rates) = (&app.limits, app.limits.rates(class));
    let address = address(&parts.extensions);
    let _lists = match reads_many.then(|| limits.list(account.as_ref().map(|(_, caller)| caller), address)) {
        Some(None) => {
            refused("lists");
            return ApiError::from(Code::RateLimitExceeded).into_response();
        }
        other => other.flatten(),
    };
    let request = Request::from_parts(parts, body);
    let count = async |subject: Option<Subject<'_>>, rate| match subject {
        Some(subject) => limits.spend(class.name(), subject, rate).await,
        None => Ok(None),
    };
    let caller = account.as_ref().map(|(_, caller)| caller.subject());
    let (by_address, by_account) =
        tokio::join!(count(address.map(Subject::Address), rates.address), count(caller, rates.account));
    let own = match (by_address, by_account) {
        (Ok(one), Ok(two)) => RateStatus::tighter(one, two),
        (Err(exceeded), _) | (_, Err(exceeded)) => return ApiError::from(exceeded).into_response(),
    };
    // Last, so that requests beyond one's own rates cost the app's others nothing.
    let by_app = match &account {
        Some((id, _)) => count_for_app(&app, id).await,
        None => Ok(None),
    };
    let status = match by_app {
        Ok(by_app) => RateStatus::tighter(own, by_app),
        Err(refused) => return refused.into_response(),
    };
    let mut response = next.run(request).await;
    // A handler that counted against a rate of its own has written the headers already.
    if let Some(status) = status
        && !response.headers().contains_key(&HEADERS[0])
    {
        status.write(response.headers_mut());
    }
    response
}
