//! Description of an operation for the OpenAPI document.
//!
//! Each argument type of a handler describes itself beside its own definition (`Argument`), so the
//! document follows from the handler's arguments. Only the responses are declared by hand, in the
//! list of routes. This file knows no argument type.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};
use switchboard_core::domain::{AppScope, Code};

use crate::http::status::status;

/// Function that writes the JSON schema of a response's data.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Callers that may use an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Any caller; a token is ignored.
    #[default]
    Public,
    /// Any caller; a token identifies the caller.
    OptionalToken,
    /// Users with a token.
    Users,
    /// Backends of apps with an API key that has this scope.
    Backends(AppScope),
    /// Operators with an API key.
    Operators,
}

/// Form of a successful answer.
#[derive(Clone, Copy, Debug)]
pub enum Success {
    /// The envelope with data of this schema.
    Data(SchemaOf),
    /// The envelope with one page of a list of this schema.
    Page(SchemaOf),
    /// The envelope with data of this schema; or a body of this media type, if the client asks for
    /// it.
    DataOr(SchemaOf, &'static str),
    /// A body without the envelope, of this media type.
    Other(&'static str),
    /// JSON of this schema without the envelope, of this media type.
    Bare(SchemaOf, &'static str),
}

/// One operation of the document.
#[derive(Debug, Default)]
pub struct Operation {
    /// One sentence about the operation.
    pub summary: &'static str,
    /// Callers that may use it.
    pub access: Access,
    /// Parameters in the path and the query.
    pub parameters: Vec<Value>,
    /// JSON schema of the body, and an example.
    pub body: Option<(Value, Value)>,
    /// Successful answers, by status.
    pub successes: BTreeMap<u16, Success>,
    /// Codes of refusals, by status.
    pub refusals: BTreeMap<u16, Vec<Code>>,
}

impl Operation {
    /// Adds refusals. A code that is there already is not added again.
    pub fn refuse(&mut self, codes: impl IntoIterator<Item = Code>) {
        for code in codes {
            let same = self.refusals.entry(status(code).as_u16()).or_default();
            if !same.contains(&code) {
                same.push(code);
            }
        }
    }

    /// Adds a success with data of type `T`.
    pub fn succeed<T: JsonSchema>(&mut self, status: StatusCode) {
        self.successes.insert(status.as_u16(), Success::Data(SchemaGenerator::subschema_for::<T>));
    }

    /// Adds a success with one page of a list of `T`.
    pub fn list<T: JsonSchema>(&mut self) {
        self.successes.insert(200, Success::Page(SchemaGenerator::subschema_for::<Vec<T>>));
    }

    /// Adds a bearer token, and the refusals of a bad one.
    pub fn token(&mut self, access: Access) {
        self.access = access;
        self.refuse([Code::TokenExpired, Code::TokenInvalid, Code::KeyRevoked, Code::OriginNotAllowed]);
        self.refuse([Code::IdentitySourceUnavailable]);
    }

    /// Adds a parameter; `place` is `path` or `query`.
    pub fn parameter(&mut self, place: &str, name: &str, required: bool, schema: &Value) {
        self.parameters.push(json!({ "name": name, "in": place, "required": required, "schema": schema }));
    }
}

/// Argument of a handler.
pub trait Argument {
    /// Adds the argument's parameters, body, access and refusals to the operation.
    fn describe(operation: &mut Operation);
}

impl<S> Argument for State<S> {
    fn describe(_: &mut Operation) {}
}

impl<T> Argument for Extension<T> {
    fn describe(_: &mut Operation) {}
}

/// All arguments of a handler, in the tuple that axum uses for the handler's type.
pub trait Arguments {
    /// Lets each argument describe itself.
    fn describe(operation: &mut Operation);
}

/// Implements `Arguments` for a number of arguments. The first element of the tuple belongs to
/// axum.
macro_rules! arguments {
    ($($argument:ident)*) => {
        impl<Axum, $($argument: Argument),*> Arguments for (Axum, $($argument,)*) {
            fn describe(operation: &mut Operation) {
                let _ = &operation;
                $($argument::describe(operation);)*
            }
        }
    };
}

arguments!();
arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
