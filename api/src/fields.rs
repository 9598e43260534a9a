//! Reads a request's fields one by one and gathers what is wrong with each, so that a form shows all mistakes at once.
//!
//! Types are strict: an object where text belongs is refused, never passed on to a query.
//!
//! The same reading describes the input for the OpenAPI document: each method notes what it takes, so neither can say what the other
//! does not.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};
use switchboard_core::domain::{CallSettings, Code, FieldError, Refusal, SettingsChange, Timestamp, UserId};

/// An input made of fields. A field that is wrong reads as a default; `Fields::finish` then refuses the whole input.
pub trait Input: Sized {
    /// Reads it. Which fields it reads depends on none of them: otherwise the description lacks some.
    fn read(fields: &mut Fields) -> Self;

    /// A good one, for the document.
    fn example() -> Value {
        Value::Null
    }
}

/// What an input is made of.
#[derive(Debug, Default)]
pub struct Description {
    /// The JSON schema of each field.
    pub properties: Map<String, Value>,
    /// The fields that must be there.
    pub required: Vec<&'static str>,
}

impl Description {
    /// Of a body.
    #[must_use]
    pub fn of_body<T: Input>() -> Self {
        Self::of::<T>(false)
    }

    /// Of a query.
    #[must_use]
    pub fn of_query<T: Input>() -> Self {
        Self::of::<T>(true)
    }

    fn of<T: Input>(from_query: bool) -> Self {
        let description = Some(Self::default());
        let mut fields = Fields { values: Map::new(), from_query, errors: Vec::new(), description };
        let _nothing = T::read(&mut fields);
        fields.description.unwrap_or_default()
    }
}

/// The fields of a request's body or query, and what is wrong with them so far.
pub struct Fields {
    values: Map<String, Value>,
    /// A query has text only, so numbers are read from text.
    from_query: bool,
    errors: Vec<FieldError>,
    /// There when nothing is read, only described.
    description: Option<Description>,
}

impl Fields {
    /// The fields of a JSON body.
    #[must_use]
    pub const fn of_body(values: Map<String, Value>) -> Self {
        Self { values, from_query: false, errors: Vec::new(), description: None }
    }

    /// The parameters of a query.
    pub fn of_query(parameters: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = parameters.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        Self { values, from_query: true, errors: Vec::new(), description: None }
    }

    /// Reads an input and refuses it when any field is wrong.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` with every field at fault.
    pub fn read<T: Input>(mut self) -> Result<T, Refusal> {
        let input = T::read(&mut self);
        if self.errors.is_empty() {
            return Ok(input);
        }
        Err(Refusal { errors: self.errors, ..Code::ValidationError.into() })
    }

    /// Notes that a field is wrong.
    pub fn reject(&mut self, field: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), message: message.into().into() });
    }

    /// Whether the field is there and not null.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        !matches!(self.values.get(field), None | Some(Value::Null))
    }

    /// Reads a field that may be left out, to leave a record's as it is. Null is not leaving out: `read` decides about it.
    pub fn change<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.description.is_some() {
            let _nothing = read(self);
            self.description.iter_mut().for_each(|description| description.required.retain(|name| *name != field));
            return None;
        }
        self.values.contains_key(field).then(|| read(self))
    }

    /// As `change`, for a field that cannot be null.
    pub fn change_to<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.change(field, |fields| if fields.require(field) { read(fields) } else { None }).flatten()
    }

    /// Notes what a field takes, when that is asked for. Null counts as left out, so it is taken too, unless the field is required.
    fn note(&mut self, field: &str, schema: impl FnOnce() -> Value) {
        let Some(description) = &mut self.description else { return };
        let mut schema = schema();
        if !self.from_query
            && !description.required.contains(&field)
            && let Some(kind @ Value::String(_)) = schema.get_mut("type")
        {
            *kind = json!([kind.take(), "null"]);
        }
        description.properties.insert(field.to_owned(), schema);
    }

    /// Whether a required field is there.
    fn require(&mut self, field: &'static str) -> bool {
        if let Some(description) = &mut self.description {
            description.required.push(field);
            return true;
        }
        let there = self.has(field);
        if !there {
            self.reject(field, "is required");
        }
        there
    }

    /// Text as it is, required.
    pub fn raw_text(&mut self, field: &'static str, length: RangeInclusive<usize>) -> String {
        if !self.require(field) {
            return String::new();
        }
        self.optional_raw_text(field, length).unwrap_or_default()
    }

    /// Text as it is, of so many characters.
    pub fn optional_raw_text(&mut self, field: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        self.note(field, || json!({ "type": "string", "minLength": length.start(), "maxLength": length.end() }));
        let value = self.take(field)?;
        let Value::String(text) = value else {
            self.reject(field, "must be text");
            return None;
        };
        if !length.contains(&text.chars().count()) {
            self.reject(field, format!("must have {} to {} characters", length.start(), length.end()));
            return None;
        }
        Some(text)
    }

    /// One line of text, trimmed, required.
    pub fn line(&mut self, field: &'static str, length: RangeInclusive<usize>) -> String {
        if !self.require(field) {
            return String::new();
        }
        self.optional_line(field, length).unwrap_or_default()
    }

    /// One line of text, trimmed, without control characters.
    pub fn optional_line(&mut self, field: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        // What is too long stays so, as the description says: trimming is for what was pasted with a space.
        if let Some(Value::String(text)) = self.values.get_mut(field)
            && text.chars().count() <= *length.end()
        {
            *text = text.trim().to_owned();
        }
        let text = self.optional_raw_text(field, length)?;
        if text.chars().any(char::is_control) {
            self.reject(field, "must not have control characters");
            return None;
        }
        Some(text)
    }

    /// Text of several lines; only line breaks and tabs of the control characters.
    pub fn paragraph(&mut self, field: &'static str, most: usize) -> Option<String> {
        let text = self.optional_raw_text(field, 0..=most)?;
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            self.reject(field, "must not have control characters");
            return None;
        }
        Some(text)
    }

    /// An e-mail address, required; trimmed and lower-cased. Only a message can prove it, so it need only look like one.
    pub fn email(&mut self, field: &'static str) -> String {
        let email = self.line(field, 3..=254).to_lowercase();
        self.note(field, || json!({ "type": "string", "format": "email", "minLength": 3, "maxLength": 254 }));
        if !email.is_empty() && !plausible(&email) {
            self.reject(field, "must be an e-mail address");
        }
        email
    }

    /// An address of the web.
    pub fn web_address(&mut self, field: &'static str, most: usize) -> Option<String> {
        let address = self.optional_line(field, 1..=most);
        self.note(field, || json!({ "type": "string", "pattern": "^https?://", "maxLength": most }));
        let web = |address: &String| address.starts_with("https://") || address.starts_with("http://");
        if address.as_ref().is_some_and(|address| !web(address)) {
            self.reject(field, "must be an http or https address");
        }
        address
    }

    /// A whole number.
    pub fn integer(&mut self, field: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        self.note(field, || json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }));
        let number = match self.take(field)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if self.from_query => text.parse().ok(),
            _ => None,
        };
        let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
        if number.is_none() {
            self.reject(field, format!("must be a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// Yes or no.
    pub fn flag(&mut self, field: &'static str) -> Option<bool> {
        self.note(field, || json!({ "type": "boolean" }));
        let value = self.take(field)?;
        if !value.is_boolean() {
            self.reject(field, "must be true or false");
        }
        value.as_bool()
    }

    /// One of some words.
    pub fn choice<T: Copy>(&mut self, field: &'static str, words: &[(&str, T)]) -> Option<T> {
        // Where null is taken, it must be among the words.
        let null = (!self.from_query).then_some(Value::Null);
        self.note(
            field,
            || json!({ "enum": words.iter().map(|(word, _)| json!(word)).chain(null).collect::<Vec<_>>() }),
        );
        let value = self.take(field)?;
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.reject(field, format!("must be one of {}", all.join(", ")));
        }
        found
    }

    /// A date, RFC 3339; a query may also have a day, `2026-01-31`, which is its midnight in UTC.
    pub fn date(&mut self, field: &'static str) -> Option<Timestamp> {
        let forms = if self.from_query { &["date-time", "date"][..] } else { &["date-time"] };
        self.note(field, || match forms {
            [form] => json!({ "type": "string", "format": form }),
            forms => {
                let forms: Vec<_> = forms.iter().map(|form| json!({ "format": form })).collect();
                json!({ "type": "string", "anyOf": forms })
            }
        });
        let value = self.take(field)?;
        let date = value.as_str().and_then(|text| {
            let day = || (self.from_query && text.len() == 10).then(|| Timestamp::parse(&format!("{text}T00:00:00Z")));
            Timestamp::parse(text).or_else(|| day().flatten())
        });
        if date.is_none() {
            self.reject(field, "must be a date such as 2026-01-31T12:00:00Z");
        }
        date
    }

    /// A list of users' ids.
    pub fn users(&mut self, field: &'static str, most: usize) -> Vec<UserId> {
        self.note(field, || {
            let id = json!({ "type": "string", "pattern": "^[0-9a-f]{24}$" });
            json!({ "type": "array", "maxItems": most, "items": id })
        });
        let Some(value) = self.take(field) else { return Vec::new() };
        let ids = value.as_array().filter(|list| list.len() <= most).and_then(|list| {
            let hex = |text: &&str| text.len() == 24 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let id = |value: &Value| value.as_str().filter(hex).and_then(|text| UserId::parse(text).ok());
            list.iter().map(id).collect::<Option<Vec<_>>>()
        });
        ids.unwrap_or_else(|| {
            self.reject(field, format!("must be a list of at most {most} users' ids"));
            Vec::new()
        })
    }

    /// A call's settings; what is not given has its default.
    pub fn settings(&mut self, field: &'static str) -> CallSettings {
        self.note(field, settings_schema);
        let Some(value) = self.take(field) else { return CallSettings::default() };
        if !value.is_object() {
            self.reject(field, "must be an object");
            return CallSettings::default();
        }
        serde_json::from_value(value).unwrap_or_else(|_| {
            self.reject(field, "each setting must be true or false");
            CallSettings::default()
        })
    }

    /// Some of a call's settings.
    pub fn settings_change(&mut self, field: &'static str) -> SettingsChange {
        self.note(field, settings_schema);
        let Some(value) = self.take(field) else { return SettingsChange::default() };
        let Some(fields) = value.as_object() else {
            self.reject(field, "must be an object");
            return SettingsChange::default();
        };
        SettingsChange::read(fields).unwrap_or_else(|| {
            self.reject(field, "each setting must be true or false");
            SettingsChange::default()
        })
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.values.get_mut(field).map(Value::take).filter(|value| !value.is_null())
    }
}

/// Switches, each with its default.
fn settings_schema() -> Value {
    let defaults = serde_json::to_value(CallSettings::default()).unwrap_or_default();
    let switch = |(name, on): (&String, &Value)| (name.clone(), json!({ "type": "boolean", "default": on }));
    let properties: Map<_, _> = defaults.as_object().into_iter().flatten().map(switch).collect();
    json!({ "type": "object", "properties": properties })
}

fn plausible(email: &str) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else { return false };
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    (1..=64).contains(&local.len())
        && !email.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | ',' | ';' | ':' | '(' | ')'))
        && !local.contains('@')
        && domain.contains('.')
        && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_need_only_look_like_one() {
        for good in ["a@b.c", "first.last+tag@mail.example.org", "ü@bücher.example"] {
            assert!(plausible(good), "{good}");
        }
        for bad in ["", "a", "a@b", "@b.c", "a@.c", "a@b.", "a b@c.d", "a@b@c.d", "a@-b.c", "<a@b.c>"] {
            assert!(!plausible(bad), "{bad}");
        }
    }

    #[test]
    fn every_wrong_field_is_told_and_types_are_strict() {
        struct Form;
        impl Input for Form {
            fn read(fields: &mut Fields) -> Self {
                fields.line("name", 2..=5);
                fields.raw_text("password", 1..=9);
                fields.integer("max", 2..=5);
                fields.date("at");
                fields.settings("settings");
                fields.users("invited", 2);
                Self
            }
        }
        let body = serde_json::json!({
            "name": "a\u{7}b", "password": { "$gt": "" }, "max": "3", "at": "soon", "settings": { "chatEnabled": 1 }, "invited": ["guest-1"],
        });
        let Value::Object(map) = body else { unreachable!() };
        let refusal = Fields::of_body(map).read::<Form>().err().unwrap();
        let fields: Vec<_> = refusal.errors.iter().map(|error| error.field.as_ref()).collect();
        assert_eq!(refusal.code, Code::ValidationError);
        assert_eq!(fields, ["name", "password", "max", "at", "settings", "invited"]);
    }
}
