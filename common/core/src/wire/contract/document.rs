//! Writes the AsyncAPI 3 document of all socket events.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::client::{COMMON, client_event};
use super::server::server_events;
use crate::wire::client_event::EventName;

/// Version of AsyncAPI.
const VERSION: &str = "3.0.0";
/// JSON pointer to the schemas.
const SCHEMAS: &str = "/components/schemas";

const ABOUT: &str = "Events of Socket.IO v5 over Engine.IO v4, path `/socket.io/`. docs/PROTOCOL.md describes \
    connecting, recovery and limits.\n\nAn operation `receive` is an event that clients send; its reply is the \
    acknowledgement. An operation `send` is an event that clients get. Events with `x-offset` carry their offset \
    as a last string argument. Codes are stable; messages are for people and may change.";

/// Returns the document. `version` is that of the service.
#[must_use]
pub fn document(version: &str) -> Value {
    // Clients may send null for a missing field. The server sends none, so its schemas are apart.
    let (mut schemas, mut server_schemas) = (generator(), generator());
    let (mut messages, mut operations, mut channel) = (Map::new(), Map::new(), Map::new());
    let mut add = |id: &str, message: Value| {
        channel.insert(id.to_owned(), json!({ "$ref": format!("#/components/messages/{id}") }));
        messages.insert(id.to_owned(), message);
        json!({ "$ref": format!("#/channels/socket/messages/{id}") })
    };
    for &event in EventName::ALL {
        let contract = client_event(event);
        let mut payload = (contract.payload)(&mut schemas).to_value();
        if contract.has_id {
            payload = json!({ "allOf": [payload, { "$ref": "#/components/schemas/EventId" }] });
        }
        let sent = add(
            contract.operation,
            json!({
                "name": event.as_str(),
                "title": event.as_str(),
                "summary": contract.summary,
                "payload": payload,
                "examples": [{ "payload": contract.example }],
            }),
        );
        let mut success = json!({ "$ref": "#/components/schemas/Acknowledged" });
        if let Some(reply) = contract.reply {
            success = json!({ "allOf": [success, reply(&mut server_schemas).to_value()] });
        }
        let codes: Vec<_> = contract.refusals.iter().chain(COMMON).collect();
        let answer = add(
            &format!("{}Reply", contract.operation),
            json!({
                "name": format!("{} acknowledgement", event.as_str()),
                "summary": "Fields of the acknowledgement",
                "payload": { "oneOf": [success, {
                    "allOf": [{ "$ref": "#/components/schemas/Refused" }],
                    "properties": { "code": { "enum": codes } },
                }] },
            }),
        );
        operations.insert(
            contract.operation.to_owned(),
            json!({
                "action": "receive",
                "channel": { "$ref": "#/channels/socket" },
                "summary": contract.summary,
                "messages": [sent],
                "reply": { "channel": { "$ref": "#/channels/socket" }, "messages": [answer] },
            }),
        );
    }
    for contract in server_events() {
        let mut message = json!({
            "name": contract.name,
            "title": contract.name,
            "summary": contract.summary,
            "x-offset": contract.has_offset,
        });
        if let Some(payload) = contract.payload {
            message["payload"] = payload(&mut server_schemas).to_value();
        }
        let sent = add(contract.operation, message);
        operations.insert(
            contract.operation.to_owned(),
            json!({
                "action": "send",
                "channel": { "$ref": "#/channels/socket" },
                "summary": contract.summary,
                "messages": [sent],
            }),
        );
    }
    let mut definitions = schemas.take_definitions(true);
    let mut of_server = server_schemas.take_definitions(true);
    of_server.values_mut().for_each(remove_null);
    definitions.extend(of_server);
    definitions.extend(shared_schemas());
    definitions.values_mut().for_each(remove_notes);
    definitions.values_mut().for_each(allow_more_fields);
    json!({
        "asyncapi": VERSION,
        "info": { "title": "Switchboard signaling", "version": version, "description": ABOUT },
        "defaultContentType": "application/json",
        "servers": { "signaling": {
            "host": "{host}",
            "pathname": "/socket.io/",
            "protocol": "wss",
            "description": "Any load balancer before the signaling nodes",
            "variables": { "host": { "default": "localhost:8080" } },
        } },
        "channels": { "socket": { "address": "/", "description": "The default namespace", "messages": channel } },
        "operations": operations,
        "components": { "schemas": definitions, "messages": messages },
    })
}

fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    settings.into_generator()
}

/// Removes null from the optional fields of a schema.
fn remove_null(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(Value::Object(fields)) = schema.get_mut("properties") else { return };
    for (_, field) in fields.iter_mut().filter(|(name, _)| !required.contains(&json!(name))) {
        if let Some(Value::Array(kinds)) = field.get_mut("type") {
            kinds.retain(|kind| kind != "null");
            if let [kind] = &kinds[..] {
                field["type"] = kind.clone();
            }
        }
        if let Some(Value::Array(parts)) = field.get_mut("anyOf") {
            parts.retain(|part| part["type"] != "null");
        }
    }
}

/// Lets a schema have fields that it does not name: both sides ignore them, so that either may be
/// the newer one.
fn allow_more_fields(schema: &mut Value) {
    if let Value::Object(words) = schema {
        words.remove("additionalProperties");
    }
}

/// Removes from the description of a schema what its doc comment says to the authors of the code.
pub fn remove_notes(schema: &mut Value) {
    let note = schema["description"].as_str().and_then(|text| text.split_once("The struct has more than eight fields"));
    if let Some(about) = note.map(|(about, _)| about.trim_end().to_owned()) {
        schema["description"] = about.into();
    }
}

fn shared_schemas() -> Map<String, Value> {
    let schemas = json!({
        "EventId": {
            "type": "object",
            "properties": { "id": {
                "type": ["string", "null"],
                "pattern": "^[!-~]{1,64}$",
                "description": "Id that the client chooses: within the recovery window it is relayed once",
            } },
        },
        "Acknowledged": {
            "type": "object",
            "required": ["success"],
            "properties": { "success": { "const": true, "description": "The event was accepted" } },
        },
        "Refused": {
            "type": "object",
            "required": ["success", "code", "message"],
            "properties": {
                "success": { "const": false, "description": "The event was refused" },
                "code": { "type": "string", "description": "Stable code" },
                "message": { "type": "string", "description": "For people; it may change" },
                "retryAfter": { "type": "integer", "minimum": 1, "description": "Seconds after which it may be sent again" },
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns every reference in a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    found.push(target.clone());
                }
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_has_a_target_and_every_field_a_description() {
        let document = document("1");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 200, "{}", found.len());
        for target in found {
            assert!(document.pointer(&target[1..]).is_some(), "{target}");
        }
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            for (field, said) in schema["properties"].as_object().into_iter().flatten() {
                assert!(said["description"].is_string() || said["$ref"].is_string(), "{name}.{field}");
            }
        }
    }

    #[test]
    fn the_protocol_page_names_every_event_of_the_document() {
        let protocol = include_str!("../../../../../docs/PROTOCOL.md");
        let document = document("1");
        let messages = document["components"]["messages"].as_object().into_iter().flatten();
        for (_, message) in messages {
            let name = message["name"].as_str().unwrap_or_default().trim_end_matches(" acknowledgement");
            assert!(protocol.contains(&format!("`{name}")), "docs/PROTOCOL.md does not name {name}");
        }
    }
}
