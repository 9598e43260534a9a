//! Finds the access token of a client that connects.
//!
//! | place | outcome |
//! |---|---|
//! | `auth.token`, with or without `Bearer ` | the standard place |
//! | header `Authorization: Bearer` | used, if `auth` has no token |
//! | anything else that looks like a token: a parameter of the query, another name in `auth` | refused |
//!
//! A client whose token is in another place would otherwise be a guest, and its developer would
//! look for the reason elsewhere. A token in a query would also be written into the logs of
//! proxies.

use serde_json::Value;
use serde_json::value::RawValue;
use switchboard_core::domain::{Code, Refusal};
use switchboard_socketio::RequestExtras;

/// Names under which other systems expect a token.
const TOKEN_NAMES: [&str; 8] =
    ["token", "access_token", "accesstoken", "auth_token", "authtoken", "jwt", "authorization", "bearer"];

/// Texts that clients send in place of a token that they do not have.
const NO_TOKEN: [&str; 3] = ["", "undefined", "null"];

/// Levels of `auth` that are searched for a token.
const LEVELS_MAX: usize = 4;

/// Returns the token of a client, or `None` for a client without one. `token` is `auth.token`.
///
/// # Errors
/// `TOKEN_MISPLACED`: the client sends something that looks like a token in another place only.
pub(super) fn find_access_token<'a>(
    token: Option<&'a str>,
    auth: Option<&RawValue>,
    extras: Option<&'a RequestExtras>,
) -> Result<Option<&'a str>, Refusal> {
    let token = token.map(without_scheme).filter(|token| !token.is_empty());
    let header = extras.and_then(|extras| extras.authorization.as_deref()).filter(|header| is_bearer(header));
    if let Some(token) = token.or(header.map(without_scheme)) {
        return Ok(Some(token));
    }
    let query = extras.map_or("", |extras| &extras.query);
    let misplaced = query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        is_misplaced(name, value).then(|| format!("query parameter {name}"))
    });
    let misplaced = misplaced.or_else(|| {
        let auth: Value = serde_json::from_str(auth?.get()).ok()?;
        misplaced_in(&auth, LEVELS_MAX).map(|name| format!("auth.{name}"))
    });
    let Some(place) = misplaced else { return Ok(None) };
    // The name is the client's own, and goes back to that client alone.
    let place: String = place.chars().filter(|c| !c.is_control()).take(64).collect();
    let message = format!("The token is in {place}: send it as auth.token, or as Authorization: Bearer");
    Err(Refusal::new(Code::TokenMisplaced, message))
}

/// Returns the name of a field that looks like a token.
fn misplaced_in(value: &Value, levels: usize) -> Option<String> {
    let fields = value.as_object().filter(|_| levels > 0)?;
    fields.iter().find_map(|(name, value)| match value {
        Value::String(text) => is_misplaced(name, text).then(|| name.clone()),
        nested => misplaced_in(nested, levels - 1).map(|field| format!("{name}.{field}")),
    })
}

fn is_misplaced(name: &str, value: &str) -> bool {
    let known = TOKEN_NAMES.contains(&&*name.to_ascii_lowercase()) && !NO_TOKEN.contains(&value);
    known || looks_like_token(value)
}

/// Returns whether a text contains a JSON Web Token: three parts of base64url, of which the first
/// is a JSON object.
fn looks_like_token(text: &str) -> bool {
    let Some(start) = text.find("eyJ") else { return false };
    let parts: Vec<&str> = text[start..].split('.').collect();
    let is_base64url =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && is_base64url(part))
}

fn is_bearer(header: &str) -> bool {
    header.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "))
}

fn without_scheme(token: &str) -> &str {
    if is_bearer(token) { token[7..].trim() } else { token }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use serde_json::json;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6IjEifQ.c2ln";

    /// Finds the token of a client with this `auth`, header and query.
    fn find(auth: &Value, authorization: Option<&str>, query: &str) -> Result<Option<String>, Code> {
        let extras = RequestExtras { authorization: authorization.map(str::to_owned), query: query.to_owned() };
        let raw = RawValue::from_string(auth.to_string()).unwrap();
        let found = find_access_token(auth["token"].as_str(), Some(&raw), Some(&extras));
        found.map(|token| token.map(str::to_owned)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_token_is_taken_from_auth_and_from_the_header() {
        let (bearer, found) = (format!("Bearer {TOKEN}"), Ok(Some(TOKEN.to_owned())));
        assert_eq!(find(&json!({ "token": TOKEN }), None, ""), found);
        assert_eq!(find(&json!({ "token": bearer }), None, ""), found);
        assert_eq!(find(&json!({ "token": TOKEN }), Some("Bearer other"), ""), found, "auth comes first");
        assert_eq!(find(&json!({ "token": TOKEN, "jwt": TOKEN }), None, "token=x"), found);
        for header in [bearer, format!("bearer   {TOKEN}"), format!("BEARER {TOKEN}")] {
            assert_eq!(find(&json!({}), Some(&header), ""), found, "{header}");
            assert_eq!(find(&json!({ "token": "" }), Some(&header), ""), found, "{header}");
        }
    }

    #[test]
    fn a_token_in_another_place_is_refused() {
        for auth in [
            json!({ "accessToken": TOKEN }),
            json!({ "jwt": "no JSON Web Token" }),
            json!({ "Authorization": format!("Bearer {TOKEN}") }),
            json!({ "user": TOKEN }),
            json!({ "headers": { "Authorization": TOKEN } }),
        ] {
            assert_eq!(find(&auth, None, ""), Err(Code::TokenMisplaced), "{auth}");
        }
        for query in [format!("token={TOKEN}"), format!("a=b&x=Bearer%20{TOKEN}"), "access_token=abc".to_owned()] {
            assert_eq!(find(&json!({}), None, &query), Err(Code::TokenMisplaced), "{query}");
        }
    }

    #[test]
    fn a_guest_may_send_anything_else() {
        let auth = json!({ "pid": "a.b", "offset": "1-0.R", "name": "eyJ", "nested": [{ "token": "x" }], "token": "" });
        for query in ["", "token=", "token=undefined&access_token=null", "version=1.2.3&room=R"] {
            assert_eq!(find(&auth, Some("Basic dXNlcjpwYXNz"), query), Ok(None), "{query}");
        }
    }
}
