//! The middleware that limits the rate of a route, and the client's address as a handler's
//! argument.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use switchboard_core::client_address::ClientNetwork;
use switchboard_rooms::rate_limit::Subject;

use crate::app::App;
use crate::http::describe::{Argument, Operation};
use crate::http::error::ApiError;
use crate::http::extract;
use crate::limits::{Class, HEADERS, RateStatus};

/// Client's network, as an argument of a handler. `None` when the request came over no connection.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub Option<ClientNetwork>);

impl FromRequestParts<App> for ClientAddress {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(address(parts, app)))
    }
}

/// Returns the network of the client. It is looked up once; the result is kept in the request's
/// extensions.
fn address(parts: &mut Parts, app: &App) -> Option<ClientNetwork> {
    if let Some(Found(found)) = parts.extensions.get() {
        return *found;
    }
    let found = app.limits.address(&parts.headers, &parts.extensions);
    parts.extensions.insert(Found(found));
    found
}

#[derive(Clone, Copy)]
struct Found(Option<ClientNetwork>);

impl Argument for ClientAddress {
    fn describe(_: &mut Operation) {}
}

/// Counts a request against the rates of the route's class, by address and by account.
pub async fn limit(State((app, class)): State<(App, Class)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let account = extract::identify(&mut parts, &app).ok().flatten().map(|identity| identity.user.id);
    let (limits, rates) = (&app.limits, app.limits.rates(class));
    // Skip the address lookup when the class has no limit per address.
    let address = rates.address.and_then(|_| address(&mut parts, &app));
    let request = Request::from_parts(parts, body);
    let count = async |subject: Option<Subject<'_>>, rate| match subject {
        Some(subject) => limits.spend(class.name(), subject, rate).await,
        None => Ok(None),
    };
    let account = account.as_ref().map(Subject::User);
    let (by_address, by_account) =
        tokio::join!(count(address.map(Subject::Address), rates.address), count(account, rates.account));
    let status = match (by_address, by_account) {
        (Ok(one), Ok(other)) => RateStatus::tighter(one, other),
        (Err(exceeded), _) | (_, Err(exceeded)) => return ApiError::from(exceeded).into_response(),
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
