//! Bound on the nesting of JSON text.
//!
//! Text that is forwarded unparsed reaches other clients, and parsers of many languages recurse. A
//! client's text is therefore checked once, where it enters.

/// Maximum number of arrays and objects around a value. SDP, candidates and metadata have less than
/// five.
pub const NESTING_MAX: usize = 16;

/// Returns whether no value in `json` is in more than [`NESTING_MAX`] arrays and objects. Takes one
/// pass and no memory. The result is not defined for text that is not valid JSON, but a text that
/// passes never nests deeper.
#[must_use]
pub fn is_shallow(json: &[u8]) -> bool {
    let mut depth = 0;
    let mut in_text = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                bytes.next();
            }
            b'[' | b'{' if !in_text => {
                depth += 1;
                if depth > NESTING_MAX {
                    return false;
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
            Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), "[\\[\\]{}\"\\\\a]{0,8}".prop_map(Value::from)];
        leaf.prop_recursive(24, 60, 2, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::hash_map("[\\[{\"]{1,3}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_text_is_shallow_exactly_if_its_value_is(value in value(), around in 0usize..20) {
            let value = (0..around).fold(value, |inner, _| Value::from(vec![inner]));
            prop_assert_eq!(is_shallow(value.to_string().as_bytes()), depth(&value) <= NESTING_MAX);
        }
    }
}
