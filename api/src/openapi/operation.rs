//! What a route takes and answers, as the document tells it. What it takes follows from its handler's arguments; only what it answers is
//! said by hand, in the list of routes.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};
use switchboard_core::domain::{CallId, Code, RoomId};

use crate::app::App;
use crate::envelope::RequestId;
use crate::error::status;
use crate::extract::{Caller, MaybeCaller, Named, PathId, Seated, UserAgent, ValidJson, ValidQuery};
use crate::fields::{Description, Input};
use crate::limits::Origin;
use crate::operators::{Observer, Operator};

/// Writes the schema of an answer's data.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Who may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Anybody; a token is not looked at.
    #[default]
    Anybody,
    /// Anybody; a token says who it is.
    Known,
    /// Users with a token.
    Users,
    /// Operators with a key.
    Operators,
}

/// What a success looks like.
#[derive(Clone, Copy, Debug)]
pub enum Success {
    /// The envelope with data of this schema.
    Data(SchemaOf),
    /// The envelope with a page of data of this schema.
    Page(SchemaOf),
    /// Something else, of this media type.
    Other(&'static str),
}

/// One operation of the document.
#[derive(Debug, Default)]
pub struct Operation {
    /// A sentence about it.
    pub summary: &'static str,
    /// Who may ask.
    pub access: Access,
    /// Parameters of path and query.
    pub parameters: Vec<Value>,
    /// The body's schema and an example of it.
    pub body: Option<(Value, Value)>,
    /// What successes look like.
    pub successes: BTreeMap<u16, Success>,
    /// The codes of its refusals, by status.
    pub refusals: BTreeMap<u16, Vec<Code>>,
}

impl Operation {
    /// Adds refusals.
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

    /// Adds a success with a page of `T`.
    pub fn list<T: JsonSchema>(&mut self) {
        self.successes.insert(200, Success::Page(SchemaGenerator::subschema_for::<Vec<T>>));
    }

    fn known(&mut self, access: Access) {
        self.access = access;
        self.refuse([Code::TokenExpired, Code::TokenInvalid]);
    }

    fn parameter(&mut self, place: &str, name: &str, required: bool, schema: &Value) {
        self.parameters.push(json!({ "name": name, "in": place, "required": required, "schema": schema }));
    }
}

/// What an argument of a handler says about the operation.
pub trait Argument {
    /// Says it.
    fn describe(operation: &mut Operation);
}

impl Argument for State<App> {
    fn describe(_: &mut Operation) {}
}

impl Argument for Extension<RequestId> {
    fn describe(_: &mut Operation) {}
}

impl Argument for UserAgent {
    fn describe(_: &mut Operation) {}
}

impl Argument for Caller {
    fn describe(operation: &mut Operation) {
        operation.known(Access::Users);
        operation.refuse([Code::Unauthorized]);
    }
}

impl Argument for MaybeCaller {
    fn describe(operation: &mut Operation) {
        operation.known(Access::Known);
    }
}

impl Argument for Seated {
    fn describe(operation: &mut Operation) {
        <Named<RoomId> as Argument>::describe(operation);
        let form =
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_#-]{1,48}$", "examples": ["65a1b2c3d4e5f60718293a4b"] });
        operation.parameter("path", "peerId", true, &form);
    }
}

impl Argument for Origin {
    fn describe(_: &mut Operation) {}
}

impl Argument for Observer {
    fn describe(operation: &mut Operation) {
        operation.access = Access::Operators;
        operation.refuse([Code::Unauthorized, Code::RouteNotFound]);
    }
}

impl Argument for Operator {
    fn describe(operation: &mut Operation) {
        Observer::describe(operation);
        operation.refuse([Code::Forbidden]);
    }
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

impl<T: Input> Argument for ValidQuery<T> {
    fn describe(operation: &mut Operation) {
        let Description { properties, required } = Description::of_query::<T>();
        for (name, schema) in &properties {
            operation.parameter("query", name, required.contains(&name.as_str()), schema);
        }
        operation.refuse([Code::ValidationError, Code::InvalidInput]);
    }
}

impl<T: PathId> Argument for Named<T> {
    fn describe(operation: &mut Operation) {
        operation.parameter("path", T::NAME, true, &T::schema());
        operation.refuse([Code::ValidationError, Code::InvalidInput]);
    }
}

/// The arguments of a handler, as axum lists them in a handler's type.
pub trait Arguments {
    /// Has each say what it does.
    fn describe(operation: &mut Operation);
}

/// For handlers with so many arguments; the first of the list is axum's own.
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

/// Ids in paths know their names and forms.
pub trait PathSchema {
    /// As the route names it.
    const NAME: &'static str;

    /// Its form.
    fn schema() -> Value;
}

impl PathSchema for CallId {
    const NAME: &'static str = "id";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9a-fA-F]{24}$", "examples": ["65a1b2c3d4e5f60718293a4b"] })
    }
}

impl PathSchema for RoomId {
    const NAME: &'static str = "roomId";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "examples": ["AB12CD34EF56"] })
    }
}
