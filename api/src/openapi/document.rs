//! Writes the OpenAPI document of a list of routes.
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use switchboard_core::domain::Code;
use switchboard_core::wire::contract::remove_notes;

use crate::http::describe::{Access, Operation, Success};
use crate::http::envelope::Pagination;
use crate::http::route::Route;
use crate::openapi::descriptions::{describe_fields, description};
use crate::openapi::example::example_of;
/// Version of OpenAPI. Its schemas are JSON Schema 2020-12.
const VERSION: &str = "3.1.0";
/// JSON pointer to the schemas.
const SCHEMAS: &str = "/components/schemas";

/// Groups of operations, in the order in which a reader needs them: users, backends, operators.
const TAGS: [(&str, &str); 5] = [
    ("auth", "Accounts and sign-ins"),
    ("video-calls", "Calls, and joining them"),
    ("server", "For backends of apps, with an API key of the app: HTTP Basic, its id and its secret"),
    ("service", "The service itself"),
    ("admin", "For operators, with an API key"),
];

const ABOUT: &str = "Accounts and calls. Signaling uses Socket.IO: `/api/asyncapi.json` and docs/PROTOCOL.md.\n\n\
    Every answer is `{success: true, message, data, pagination?}` or `{success: false, message, code, errors?, requestId}`. \
    Codes are stable; messages are for users and may change. Unknown fields and \
    parameters are ignored for users, and refused for backends and operators.";

/// Returns the document of these lists of routes, each with the path that is put before its paths.
#[must_use]
pub fn document(routes: &[(&str, &[Route])]) -> Value {
    let mut writer = Writer { schemas: generator() };
    let mut paths: Map<String, Value> = Map::new();
    for (prefix, route) in routes.iter().flat_map(|(prefix, list)| list.iter().map(move |route| (prefix, route))) {
        let path = format!("{prefix}{}", route.path.trim_end_matches('/'));
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = writer.operation(route);
    }
    let mut schemas = writer.schemas.take_definitions(true);
    schemas.insert("Failure".into(), failure());
    for (name, schema) in &mut schemas {
        remove_notes(schema);
        describe_fields(name, schema);
    }
    let mut document = json!({
        "openapi": VERSION,
        "info": { "title": "Switchboard", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT },
        "servers": [{ "url": "/" }],
        "tags": TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": headers(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "appKey": { "type": "http", "scheme": "basic" },
                "key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            },
        },
    });
    add_success_examples(&mut document);
    document
}

fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    settings.into_generator()
}

/// Writes operations and collects the schemas that they refer to.
struct Writer {
    schemas: SchemaGenerator,
}

impl Writer {
    fn operation(&mut self, route: &Route) -> Value {
        let operation = &route.operation;
        let mut answers = Map::new();
        for (status, success) in &operation.successes {
            answers.insert(status.to_string(), self.success(*success));
        }
        for (status, codes) in &operation.refusals {
            answers.insert(status.to_string(), refusal(*status, codes));
        }
        let mut written = json!({
            "operationId": route.name,
            "tags": [route.tag()],
            "summary": operation.summary,
            "responses": answers,
            "security": security(operation.access),
        });
        if let Access::Backends(scope) = operation.access {
            written["description"] = format!("The API key needs the scope `{}`.", scope.as_str()).into();
        }
        if !operation.parameters.is_empty() {
            let mut parameters = operation.parameters.clone();
            for parameter in &mut parameters {
                let said = parameter["schema"].as_object_mut().and_then(|schema| schema.remove("description"));
                let sentence = parameter["name"].as_str().and_then(|name| description("Query", name));
                parameter["description"] = said.or(sentence.map(Value::from)).unwrap_or_default();
            }
            written["parameters"] = json!(parameters);
        }
        if let Some(body) = body(operation) {
            written["requestBody"] = body;
        }
        written
    }

    fn success(&mut self, success: Success) -> Value {
        let headers = refer(&["X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]);
        let (schema, paged, other) = match success {
            Success::Data(schema) => (schema(&mut self.schemas), false, None),
            Success::DataOr(schema, kind) => (schema(&mut self.schemas), false, Some(kind)),
            Success::Page(schema) => (schema(&mut self.schemas), true, None),
            Success::Other(kind) => {
                return json!({ "description": "Done", "headers": headers, "content": { kind: {} } });
            }
            Success::Bare(schema, kind) => {
                let content = json!({ kind: { "schema": schema(&mut self.schemas) } });
                return json!({ "description": "Done", "headers": headers, "content": content });
            }
        };
        let mut envelope = json!({
            "type": "object",
            "required": ["success", "message", "data"],
            "properties": { "success": { "const": true }, "message": { "type": "string" }, "data": schema },
        });
        if paged {
            envelope["properties"]["pagination"] = json!(self.schemas.subschema_for::<Pagination>());
            envelope["required"] = json!(["success", "message", "data", "pagination"]);
        }
        let mut content = json!({ "application/json": { "schema": envelope } });
        if let Some(kind) = other {
            content[kind] = json!({ "schema": { "type": "string" } });
        }
        json!({ "description": "Done", "headers": headers, "content": content })
    }
}

fn body(operation: &Operation) -> Option<Value> {
    let (schema, example) = operation.body.as_ref()?;
    let mut content = json!({ "schema": schema });
    describe_fields("", &mut content["schema"]);
    if !example.is_null() {
        content["example"] = example.clone();
    }
    // Without a required field, no body means `{}`.
    let required = schema.get("required").is_some();
    Some(json!({ "required": required, "content": { "application/json": content } }))
}

/// Returns the security requirement. An alternative `{}` makes the token optional.
fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::OptionalToken => json!([{}, { "token": [] }]),
        Access::Users => json!([{ "token": [] }]),
        Access::Backends(_) => json!([{ "appKey": [] }]),
        Access::Operators => json!([{ "key": [] }]),
    }
}

/// Returns the refusals that share a status, with an example of each.
fn refusal(status: u16, codes: &[Code]) -> Value {
    let example = |code: &Code| {
        let mut value = json!({
            "success": false,
            "message": code.sentence(),
            "code": code,
            "requestId": "0123456789abcdef0123456789abcdef",
        });
        if *code == Code::ValidationError {
            value["errors"] = json!([{ "field": "name", "message": "is required" }]);
        }
        (code.to_string(), json!({ "value": value }))
    };
    let headers = refer(if matches!(status, 429 | 503) { &["X-Request-Id", "Retry-After"] } else { &["X-Request-Id"] });
    let words: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
    json!({
        "description": words.join(", "),
        "headers": headers,
        "content": { "application/json": {
            "schema": {
                "allOf": [{ "$ref": "#/components/schemas/Failure" }],
                "properties": { "code": { "enum": codes } },
            },
            "examples": codes.iter().map(example).collect::<Map<_, _>>(),
        } },
    })
}

fn failure() -> Value {
    json!({
        "type": "object",
        "required": ["success", "message", "code", "requestId"],
        "properties": {
            "success": { "const": false },
            "message": { "type": "string", "description": "For users; it may change" },
            "code": { "type": "string", "description": "Stable", "enum": Code::ALL },
            "errors": {
                "type": "array",
                "description": "What is wrong with which field",
                "items": {
                    "type": "object",
                    "required": ["field", "message"],
                    "properties": { "field": { "type": "string" }, "message": { "type": "string" } },
                },
            },
            "requestId": { "type": "string", "description": "Also in X-Request-Id; log lines about the request carry it" },
        },
    })
}

/// Returns references to these headers in the components.
fn refer(headers: &[&str]) -> Value {
    let refer = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    headers.iter().map(refer).collect::<Map<_, _>>().into()
}

fn headers() -> Value {
    let whole = json!({ "type": "integer", "minimum": 0 });
    json!({
        "X-Request-Id": {
            "description": "Id of the request: the client's own id if it is valid, otherwise a new one",
            "required": true,
            "schema": { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" },
        },
        "RateLimit-Limit": { "description": "Most requests in one burst", "schema": whole },
        "RateLimit-Remaining": { "description": "Requests left in the current burst", "schema": whole },
        "RateLimit-Reset": { "description": "Seconds until the full burst is available", "schema": whole },
        "Retry-After": {
            "description": "Seconds until the client may retry",
            "required": true,
            "schema": whole,
        },
    })
}

/// Adds an example to every success, made from the examples of its fields.
fn add_success_examples(document: &mut Value) {
    let components = document["components"].clone();
    let contents = document["paths"]
        .as_object_mut()
        .into_iter()
        .flat_map(|paths| paths.values_mut())
        .flat_map(|item| item.as_object_mut().into_iter().flat_map(|item| item.values_mut()))
        .filter_map(|operation| operation["responses"].as_object_mut())
        .flat_map(|answers| answers.values_mut())
        .filter_map(|answer| answer["content"].get_mut("application/json"));
    for content in contents {
        if content.get("examples").is_none() {
            content["example"] = example_of(&content["schema"], &components);
        }
    }
}
