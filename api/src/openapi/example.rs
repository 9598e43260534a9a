//! Makes an example value for a JSON schema, from the examples and defaults in it.

use serde_json::{Map, Value, json};

/// Depth at which a schema is cut off. The schemas here are shallower, and none contains itself.
const DEPTH: u8 = 12;

/// Returns a value that fits `schema`. References are looked up in `components`.
pub(super) fn example_of(schema: &Value, components: &Value) -> Value {
    value(schema, components, DEPTH)
}

fn value(schema: &Value, components: &Value, depth: u8) -> Value {
    let stated = ["const", "default"].into_iter().find_map(|key| schema.get(key));
    let listed = ["examples", "enum"].into_iter().find_map(|key| schema.get(key)?.get(0));
    if let Some(stated) = listed.or(stated) {
        return stated.clone();
    }
    if depth == 0 {
        return Value::Null;
    }
    let below = |schema: &Value| value(schema, components, depth - 1);
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let name = target.rsplit('/').next().unwrap_or_default();
        return below(&components["schemas"][name]);
    }
    // Take the first alternative; where null is an alternative, it is the last one.
    if let Some(first) = ["anyOf", "oneOf", "allOf"].into_iter().find_map(|key| schema.get(key)?.get(0)) {
        return below(first);
    }
    let kind = schema.get("type").map(|kind| kind.get(0).unwrap_or(kind));
    match kind.and_then(Value::as_str) {
        Some("object") => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let fields = properties.into_iter().flatten().map(|(name, field)| (name.clone(), below(field)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Some("array") => schema.get("items").map_or_else(|| json!([]), |items| json!([below(items)])),
        Some("string") => json!("text"),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_follows_references_and_prefers_stated_values() {
        let components = json!({ "schemas": { "Name": { "type": "string", "examples": ["Ann"] } } });
        let schema = json!({
            "type": "object",
            "properties": {
                "name": { "$ref": "#/components/schemas/Name" },
                "maybe": { "anyOf": [{ "$ref": "#/components/schemas/Name" }, { "type": "null" }] },
                "many": { "type": "array", "items": { "type": "integer", "minimum": 2 } },
                "kind": { "enum": ["a", "b"] },
                "text": { "type": ["string", "null"] },
            },
        });
        let expected = json!({ "name": "Ann", "maybe": "Ann", "many": [2], "kind": "a", "text": "text" });
        assert_eq!(example_of(&schema, &components), expected);
    }
}
