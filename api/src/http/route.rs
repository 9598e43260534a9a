//! A route: its handler, its rate class, and its description. The router and the OpenAPI document
//! are made from one list of routes, so that they cannot differ.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router, middleware};
use http::{Method, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use switchboard_core::domain::Code;

use crate::app::App;
use crate::http::describe::{Arguments, Operation, Success};
use crate::http::query_names::QueryNames;
use crate::http::rate_limit::{RouteBounds, limit};
use crate::limits::Class;

/// Refusals that every route can give.
const COMMON: [Code; 4] = [Code::RateLimitExceeded, Code::InternalError, Code::DatabaseError, Code::ServiceUnavailable];

/// One route of the API.
#[derive(Debug)]
pub struct Route {
    /// Name of the operation, for generated code.
    pub name: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Path, in the notation of axum.
    pub path: &'static str,
    /// Description for the OpenAPI document.
    pub operation: Operation,
    bounds: RouteBounds,
    handler: MethodRouter<App>,
}

/// Creates the route `GET path`. `name` is its `operationId` and `summary` one sentence about it in
/// the OpenAPI document.
pub fn get<H: Handler<T, App>, T: Arguments + 'static>(
    name: &'static str,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::GET, MethodFilter::GET, (name, path), handler, summary)
}

/// Creates the route `POST path`.
pub fn post<H: Handler<T, App>, T: Arguments + 'static>(
    name: &'static str,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::POST, MethodFilter::POST, (name, path), handler, summary)
}

/// Creates the route `PATCH path`.
pub fn patch<H: Handler<T, App>, T: Arguments + 'static>(
    name: &'static str,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::PATCH, MethodFilter::PATCH, (name, path), handler, summary)
}

/// Creates the route `PUT path`.
pub fn put<H: Handler<T, App>, T: Arguments + 'static>(
    name: &'static str,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::PUT, MethodFilter::PUT, (name, path), handler, summary)
}

/// Creates the route `DELETE path`.
pub fn delete<H: Handler<T, App>, T: Arguments + 'static>(
    name: &'static str,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::DELETE, MethodFilter::DELETE, (name, path), handler, summary)
}

impl Route {
    fn new<H: Handler<T, App>, T: Arguments + 'static>(
        method: Method,
        filter: MethodFilter,
        (name, path): (&'static str, &'static str),
        handler: H,
        summary: &'static str,
    ) -> Self {
        let mut operation = Operation { summary, ..Operation::default() };
        T::describe(&mut operation);
        operation.refuse(COMMON);
        let class = if method == Method::GET { Class::Read } else { Class::Write };
        let bounds = RouteBounds { class, reads_many: false };
        Self { name, method, path, operation, bounds, handler: on(filter, handler) }
    }

    /// Sets the rate class. The default is [`Class::Read`] for `GET` and [`Class::Write`]
    /// otherwise.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.bounds.class = class;
        self
    }

    /// Declares that a request reads many documents. An account and an address may have few such
    /// requests in progress.
    #[must_use]
    pub const fn reads_many(mut self) -> Self {
        self.bounds.reads_many = true;
        self
    }

    /// Declares a response 200 with data of type `T`.
    #[must_use]
    pub fn answers<T: JsonSchema>(self) -> Self {
        self.answers_with::<T>(StatusCode::OK)
    }

    /// Declares a response 200 with data of type `T`, or of this media type if the client asks for
    /// it.
    #[must_use]
    pub fn answers_or<T: JsonSchema>(mut self, media_type: &'static str) -> Self {
        self.operation.successes.insert(200, Success::DataOr(SchemaGenerator::subschema_for::<T>, media_type));
        self
    }

    /// Declares a response `status` with data of type `T`.
    #[must_use]
    pub fn answers_with<T: JsonSchema>(mut self, status: StatusCode) -> Self {
        self.operation.succeed::<T>(status);
        self
    }

    /// Declares a response 200 with one page of a list of `T`. It reads many documents.
    #[must_use]
    pub fn lists<T: JsonSchema>(mut self) -> Self {
        self.operation.list::<T>();
        self.reads_many()
    }

    /// Declares a response 200 without the envelope, of this media type.
    #[must_use]
    pub fn serves(mut self, media_type: &'static str) -> Self {
        self.operation.successes.insert(200, Success::Other(media_type));
        self
    }

    /// Declares a response 200 with JSON of type `T` without the envelope, of this media type.
    #[must_use]
    pub fn serves_as<T: JsonSchema>(mut self, media_type: &'static str) -> Self {
        self.operation.successes.insert(200, Success::Bare(SchemaGenerator::subschema_for::<T>, media_type));
        self
    }

    /// Declares refusals besides those that follow from the handler's arguments.
    #[must_use]
    pub fn refuses(mut self, codes: &[Code]) -> Self {
        self.operation.refuse(codes.iter().copied());
        self
    }

    /// Returns the group of the route in the OpenAPI document: the first segment of its path.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self.path.split('/').nth(1) {
            Some("auth") => "auth",
            Some("video-calls") => "video-calls",
            Some("server") => "server",
            Some("admin") => "admin",
            _ => "service",
        }
    }
}

/// Creates the router of a list of routes. A path with a slash at its end is the same route, as it
/// was in the old Node.js backend.
pub fn router(app: &App, routes: Vec<Route>) -> Router<App> {
    routes.into_iter().fold(Router::new(), |router, route| {
        let limit = middleware::from_fn_with_state((app.clone(), route.bounds), limit);
        let names = QueryNames::of(&route.operation);
        let handler = route.handler.layer(Extension(names)).layer(limit);
        match route.path {
            // The router around this one gives it both forms of its own path.
            "/" => router.route("/", handler),
            path => router.route(path, handler.clone()).route(&format!("{path}/"), handler),
        }
    })
}
