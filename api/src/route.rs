//! A route: its handler, how often it may be asked, and what the document says of it. Router and document are made from one list of
//! these, so neither has what the other lacks.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Router, middleware};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use switchboard_core::domain::Code;

use crate::app::App;
use crate::limits::{Class, limit};
use crate::openapi::operation::{Arguments, Operation, Success};

/// What can go wrong with any request.
const ALWAYS: [Code; 4] = [Code::RateLimitExceeded, Code::InternalError, Code::DatabaseError, Code::ServiceUnavailable];

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, as axum writes it.
    pub path: &'static str,
    /// What the document says of it.
    pub operation: Operation,
    class: Class,
    handler: MethodRouter<App>,
}

/// `GET path`: `summary` is a sentence for the document.
pub fn get<H: Handler<T, App>, T: Arguments + 'static>(path: &'static str, handler: H, summary: &'static str) -> Route {
    Route::new(Method::GET, MethodFilter::GET, path, handler, summary)
}

/// `POST path`.
pub fn post<H: Handler<T, App>, T: Arguments + 'static>(
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::POST, MethodFilter::POST, path, handler, summary)
}

/// `PATCH path`.
pub fn patch<H: Handler<T, App>, T: Arguments + 'static>(
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::PATCH, MethodFilter::PATCH, path, handler, summary)
}

/// `PUT path`.
pub fn put<H: Handler<T, App>, T: Arguments + 'static>(path: &'static str, handler: H, summary: &'static str) -> Route {
    Route::new(Method::PUT, MethodFilter::PUT, path, handler, summary)
}

/// `DELETE path`.
pub fn delete<H: Handler<T, App>, T: Arguments + 'static>(
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route::new(Method::DELETE, MethodFilter::DELETE, path, handler, summary)
}

impl Route {
    fn new<H: Handler<T, App>, T: Arguments + 'static>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        handler: H,
        summary: &'static str,
    ) -> Self {
        let mut operation = Operation { summary, ..Operation::default() };
        T::describe(&mut operation);
        operation.refuse(ALWAYS);
        let class = if method == Method::GET { Class::Read } else { Class::Write };
        Self { method, path, operation, class, handler: on(filter, handler) }
    }

    /// Is limited as a route of this class; by itself, `GET` is as reading and the rest as writing.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Answers 200 with data of type `T`.
    #[must_use]
    pub fn answers<T: JsonSchema>(self) -> Self {
        self.answers_with::<T>(StatusCode::OK)
    }

    /// Answers `status` with data of type `T`.
    #[must_use]
    pub fn answers_with<T: JsonSchema>(mut self, status: StatusCode) -> Self {
        self.operation.succeed::<T>(status);
        self
    }

    /// Answers 200 with a page of `T`.
    #[must_use]
    pub fn lists<T: JsonSchema>(mut self) -> Self {
        self.operation.list::<T>();
        self
    }

    /// Answers 200 with something that is in no envelope.
    #[must_use]
    pub fn serves(mut self, media_type: &'static str) -> Self {
        self.operation.successes.insert(200, Success::Other(media_type));
        self
    }

    /// Refuses with these codes, beside those that follow from the handler's arguments.
    #[must_use]
    pub fn refuses(mut self, codes: &[Code]) -> Self {
        self.operation.refuse(codes.iter().copied());
        self
    }

    /// The group it stands in: the first word of its path.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self.path.split('/').nth(1) {
            Some("auth") => "auth",
            Some("video-calls") => "video-calls",
            Some("admin") => "admin",
            _ => "service",
        }
    }
}

/// The router of a list.
pub fn router(app: &App, routes: Vec<Route>) -> Router<App> {
    routes.into_iter().fold(Router::new(), |router, route| {
        let limit = middleware::from_fn_with_state((app.clone(), route.class), limit);
        router.route(route.path, route.handler.layer(limit))
    })
}
