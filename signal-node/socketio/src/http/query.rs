//! Parameters of the query string.

/// Returns the first value of a parameter, not decoded: Engine.IO's parameters need no decoding.
pub(crate) fn query_parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}
