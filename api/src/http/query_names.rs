//! Names of the parameters that a route has in its query.
//!
//! A request of a backend or an operator with another name is refused, as a body with an unknown
//! field is: with `?bann=true`, a removal without a ban would look like one with it. Users' routes
//! ignore unknown names, because links and older clients have some.

use std::sync::Arc;

use axum::extract::Query;
use http::request::Parts;
use switchboard_core::domain::{Code, FieldError, Refusal};

use crate::http::describe::Operation;
use crate::http::fields::{UNKNOWN_FIELDS_SHOWN, UNKNOWN_NAME_SHOWN};

/// Names of a route, which its requests carry as an extension.
#[derive(Clone, Debug)]
pub struct QueryNames(Arc<[String]>);

impl QueryNames {
    /// Returns the names of an operation's parameters in the query.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        let in_query = operation.parameters.iter().filter(|parameter| parameter["in"] == "query");
        Self(in_query.filter_map(|parameter| Some(parameter["name"].as_str()?.to_owned())).collect())
    }
}

/// Checks that the route has every parameter of the query.
///
/// # Errors
/// `VALIDATION_ERROR` that names the first unknown ones.
pub fn check(parts: &Parts) -> Result<(), Refusal> {
    let Some(QueryNames(known)) = parts.extensions.get() else { return Ok(()) };
    // The route itself refuses a query that cannot be read.
    let Ok(Query(given)) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) else { return Ok(()) };
    let unknown = given.into_iter().map(|(name, _)| name).filter(|name| !known.contains(name));
    let error = |name: String| FieldError {
        field: name.chars().take(UNKNOWN_NAME_SHOWN).collect::<String>().into(),
        message: "is no parameter of this request".into(),
    };
    let errors: Vec<_> = unknown.take(UNKNOWN_FIELDS_SHOWN).map(error).collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Refusal { errors, ..Code::ValidationError.into() })
}
