//! Every socket event with its fields, their bounds and its refusals: the source of the AsyncAPI
//! document and of the client SDK's types.
//!
//! | file | content |
//! |---|---|
//! | `client` | events that clients send |
//! | `server` | events that clients get |
//! | `document` | the AsyncAPI document |
//!
//! The structs describe the payloads, and nothing else uses them. Three checks keep them true: both
//! lists follow from the enums of the events, tests send the parser what the schemas of `client`
//! allow and forbid, and tests read what the server sends with the structs of `server`.

mod client;
mod document;
mod server;

use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

pub use client::{ClientContract, client_event};
pub use document::{document, remove_notes};
pub use server::{ServerContract, server_event, server_events};

/// Function that writes the JSON schema of a payload.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Defines payloads: structs whose fields have the names of the wire.
macro_rules! payloads {
    ($($(#[$about:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[allow(dead_code, reason = "described, and read by tests")]
        pub(super) struct $name { $($(#[$meta])* $field: $type,)* }
    )*};
}
use payloads;

/// Checks that an event's payload is as the contract describes it, without any other field.
///
/// # Errors
/// The first field that differs, or that there is no such event.
pub fn check_server_event(name: &str, payload: &Value) -> Result<(), String> {
    let contract = server_event(name).ok_or_else(|| format!("{name} is not in the contract"))?;
    (contract.check)(payload).map_err(|error| format!("{name}: {error}"))
}
