//! Reads and validates the fields of a request. All errors are collected, so that a form can show
//! all mistakes together.
//!
//! Types are strict: an object in place of text is refused, so it never reaches a database query.
//!
//! The same code describes the input for the OpenAPI document: each method records the JSON schema
//! of its field, so that validation and document cannot differ. The file has more than 400 lines,
//! so that each kind of field is read in one place.

use std::ops::RangeInclusive;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use switchboard_calls::{APP_ORIGIN_LENGTH_MAX, APP_ORIGINS_MAX, check_origins};
use switchboard_core::domain::identity_source::IDENTITY_SOURCES_MAX;
use switchboard_core::domain::{
    AppLimit, AppLimits, CallPermissions, CallSettings, Code, EmailAddress, FieldError, IdentitySource,
    PermissionsChange, Refusal, RoomName, SettingInfo, SettingsChange, Timestamp, UserId, names,
};
use switchboard_core::web_url::is_web_url;
use switchboard_core::wire::whole_number;

/// Most unknown fields that a refusal names, and characters of a name that it shows.
pub(crate) const UNKNOWN_FIELDS_SHOWN: usize = 10;
pub(crate) const UNKNOWN_NAME_SHOWN: usize = 40;
/// Longest cursor, in characters.
const CURSOR_MAX: usize = 2048;

/// Input of a route: a JSON body or a query.
pub trait Input: Sized {
    /// Reads the fields. An invalid field reads as a default; [`Fields::read`] then refuses the
    /// whole input. The set of fields that are read must not depend on their values, because
    /// otherwise the description would be incomplete.
    fn read(fields: &mut Fields) -> Self;

    /// Whether fields that the input does not have are refused. Older clients of the users' routes
    /// send such fields.
    const STRICT: bool = false;

    /// Returns a valid example for the OpenAPI document; null if there is none.
    fn example() -> Value {
        Value::Null
    }
}

/// Description of an input for the OpenAPI document.
#[derive(Debug, Default)]
pub struct Description {
    /// JSON schema of each field.
    pub properties: Map<String, Value>,
    /// Names of the required fields.
    pub required: Vec<&'static str>,
}

impl Description {
    /// Describes a JSON body.
    #[must_use]
    pub fn of_body<T: Input>() -> Self {
        Self::of::<T>(false)
    }

    /// Describes a query.
    #[must_use]
    pub fn of_query<T: Input>() -> Self {
        Self::of::<T>(true)
    }

    fn of<T: Input>(from_query: bool) -> Self {
        let description = Some(Self::default());
        let mut fields =
            Fields { values: Map::new(), from_query, errors: Vec::new(), bare: Vec::new(), strict: false, description };
        let _defaults = T::read(&mut fields);
        fields.description.unwrap_or_default()
    }
}

/// Fields of a request's body or query, and the errors found so far.
pub struct Fields {
    values: Map<String, Value>,
    /// The fields are from a query. A query has only text, so numbers are read from text.
    from_query: bool,
    errors: Vec<FieldError>,
    /// Parameters of a query without a value.
    bare: Vec<String>,
    /// Whether unknown names are refused.
    strict: bool,
    /// Set when the input is described, not read.
    description: Option<Description>,
}

impl Fields {
    /// Creates the fields of a JSON body.
    #[must_use]
    pub const fn of_body(values: Map<String, Value>) -> Self {
        Self { values, from_query: false, errors: Vec::new(), bare: Vec::new(), strict: false, description: None }
    }

    /// Creates the fields of a query. An empty parameter counts as missing, because forms send
    /// every field. A parameter that is given twice becomes a list, which no field accepts.
    pub fn of_query(parameters: impl IntoIterator<Item = (String, String)>) -> Self {
        let (mut values, mut bare) = (Map::new(), Vec::new());
        for (name, value) in parameters {
            if value.is_empty() {
                bare.push(name);
                continue;
            }
            let value = Value::String(value);
            let value = match values.remove(&name) {
                Some(first) => Value::Array(vec![first, value]),
                None => value,
            };
            values.insert(name, value);
        }
        Self { values, from_query: true, errors: Vec::new(), bare, strict: false, description: None }
    }

    /// Reads an input.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` that lists every invalid field.
    pub fn read<T: Input>(mut self) -> Result<T, Refusal> {
        self.strict = T::STRICT;
        let input = T::read(&mut self);
        if self.strict {
            // What was read is null by now.
            let unknown = self.values.iter().filter(|(_, value)| !value.is_null()).take(UNKNOWN_FIELDS_SHOWN);
            let names = unknown.map(|(name, _)| name.chars().take(UNKNOWN_NAME_SHOWN).collect::<String>());
            let errors =
                names.map(|name| FieldError { field: name.into(), message: "is no field of this request".into() });
            self.errors.extend(errors);
        }
        if self.errors.is_empty() {
            return Ok(input);
        }
        Err(Refusal { errors: self.errors, ..Code::ValidationError.into() })
    }

    /// Adds an error for a field.
    pub fn reject(&mut self, field: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), message: message.into().into() });
    }

    /// Returns whether the field is present and not null.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        !matches!(self.values.get(field), None | Some(Value::Null))
    }

    /// Reads a field of a partial change. A missing field returns `None` and leaves the record
    /// unchanged. Null is not missing: `read` decides about it.
    pub fn change<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.description.is_some() {
            let _defaults = read(self);
            self.description.iter_mut().for_each(|description| description.required.retain(|name| *name != field));
            return None;
        }
        self.values.contains_key(field).then(|| read(self))
    }

    /// Reads a field of a partial change that null does not remove: null counts as missing. For
    /// fields whose reader has a value for a missing one.
    pub fn change_to<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.description.is_some() || self.has(field)).then(|| read(self))
    }

    /// Records the schema of a field when the input is described. A field that is not required also
    /// accepts null, because null counts as missing.
    fn describe(&mut self, field: &str, schema: impl FnOnce() -> Value) {
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

    /// Returns whether a required field is present; adds an error if not.
    fn require(&mut self, field: &'static str) -> bool {
        if let Some(description) = &mut self.description {
            description.required.push(field);
            return true;
        }
        let present = self.has(field);
        if !present {
            self.reject(field, "is required");
        }
        present
    }

    /// Reads required text, unchanged.
    pub fn raw_text(&mut self, field: &'static str, length: RangeInclusive<usize>) -> String {
        if !self.require(field) {
            return String::new();
        }
        self.optional_raw_text(field, length).unwrap_or_default()
    }

    /// Reads text, unchanged. Both bounds of `length` are in characters.
    pub fn optional_raw_text(&mut self, field: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        self.describe(field, || json!({ "type": "string", "minLength": length.start(), "maxLength": length.end() }));
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

    /// Reads a required line of text, as [`Fields::optional_line`] does.
    pub fn line(&mut self, field: &'static str, length: RangeInclusive<usize>) -> String {
        if !self.require(field) {
            return String::new();
        }
        self.optional_line(field, length).unwrap_or_default()
    }

    /// Reads a line of text without control characters. White space at both ends is removed.
    pub fn optional_line(&mut self, field: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        // Text over the limit is not trimmed, so that the limit holds as the schema states it.
        if let Some(Value::String(text)) = self.values.get_mut(field)
            && text.chars().count() <= *length.end()
        {
            *text = text.trim().to_owned();
        }
        let text = self.optional_raw_text(field, length)?;
        if text.chars().any(char::is_control) {
            self.reject(field, "must not contain control characters");
            return None;
        }
        Some(text)
    }

    /// Reads a required name or title, as [`Fields::optional_name`] does.
    pub fn name(&mut self, field: &'static str, length: RangeInclusive<usize>) -> String {
        if !self.require(field) {
            return String::new();
        }
        self.optional_name(field, length).unwrap_or_default()
    }

    /// Reads a name or a title, in the form of [`names::read`].
    pub fn optional_name(&mut self, field: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        let text = self.optional_line(field, length.clone())?;
        names::read(&text, &length).map_err(|rule| self.reject(field, rule)).ok()
    }

    /// Reads a name that a form may leave empty. An empty one counts as missing.
    pub fn name_or_empty(&mut self, field: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        let is_empty = self.values.get(field).and_then(Value::as_str) == Some("");
        let name = if is_empty { None } else { self.optional_name(field, length.clone()) };
        self.describe(field, || {
            let named = json!({ "minLength": length.start(), "maxLength": length.end() });
            json!({ "type": "string", "anyOf": [named, { "maxLength": 0 }] })
        });
        name
    }

    /// Reads text of several lines, which end with a line feed. Of the control characters, only
    /// line breaks and tabs are allowed.
    pub fn paragraph(&mut self, field: &'static str, max: usize) -> Option<String> {
        let text = names::with_line_feeds(self.optional_raw_text(field, 0..=max)?);
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            self.reject(field, "must not contain control characters");
            return None;
        }
        Some(text)
    }

    /// Reads a required e-mail address, as [`Fields::optional_email`] does.
    pub fn email(&mut self, field: &'static str) -> String {
        if !self.require(field) {
            return String::new();
        }
        self.optional_email(field).unwrap_or_default()
    }

    /// Reads an e-mail address, in the form in which it is stored.
    pub fn optional_email(&mut self, field: &'static str) -> Option<String> {
        let text = self.optional_line(field, 3..=254);
        self.describe(field, || json!({ "type": "string", "format": "email", "minLength": 3, "maxLength": 254 }));
        let email = EmailAddress::parse(&text?);
        if email.is_none() {
            self.reject(field, "must be an e-mail address");
        }
        email.map(|email| email.as_str().to_owned())
    }

    /// Reads an `http` or `https` URL of at most `max` characters.
    pub fn web_url(&mut self, field: &'static str, max: usize) -> Option<String> {
        let url = self.optional_line(field, 1..=max);
        self.describe(
            field,
            || json!({ "type": "string", "format": "iri", "pattern": "^https?://", "maxLength": max }),
        );
        if url.as_deref().is_some_and(|url| !is_web_url(url)) {
            self.reject(field, "must be an http or https URL");
        }
        url
    }

    /// Reads a whole number within `range`. Any other value is an error.
    pub fn integer(&mut self, field: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        self.describe(field, || json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }));
        let number = match self.take(field)? {
            Value::Number(number) => whole_number::read(&number),
            // A client may write a whole number as a double here, too: `10.0`.
            Value::String(text) if self.from_query => {
                let whole =
                    text.split_once('.').filter(|(_, zeros)| !zeros.is_empty() && zeros.bytes().all(|b| b == b'0'));
                whole.map_or(text.as_str(), |(whole, _)| whole).parse().ok()
            }
            _ => None,
        };
        let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
        if number.is_none() {
            self.reject(field, format!("must be a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// Reads `true` or `false`.
    pub fn flag(&mut self, field: &'static str) -> Option<bool> {
        self.describe(field, || json!({ "type": "boolean" }));
        let value = self.take(field)?;
        if !value.is_boolean() {
            self.reject(field, "must be true or false");
        }
        value.as_bool()
    }

    /// Reads a switch of a query: `?name` and `?name=true` switch it on.
    pub fn switch(&mut self, field: &'static str) -> bool {
        let is_bare = self.bare.iter().any(|name| name == field);
        self.choice(field, &[("true", true), ("false", false)]).unwrap_or(is_bare)
    }

    /// Reads one of several words.
    pub fn choice<T: Copy>(&mut self, field: &'static str, words: &[(&str, T)]) -> Option<T> {
        // JSON Schema requires that `enum` lists null if null is accepted.
        let null = (!self.from_query).then_some(Value::Null);
        self.describe(
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

    /// Reads one of several words, which must be there. `None` only if the input is refused.
    pub fn required_choice<T: Copy>(&mut self, field: &'static str, words: &[(&str, T)]) -> Option<T> {
        let is_there = self.require(field);
        let found = if is_there { self.choice(field, words) } else { None };
        // Null counts as missing.
        self.describe(field, || json!({ "enum": words.iter().map(|(word, _)| *word).collect::<Vec<_>>() }));
        found
    }

    /// Reads a list of one or more of several words. A word that is listed twice counts once.
    pub fn choices<T: Copy + PartialEq>(&mut self, field: &'static str, words: &[(&str, T)]) -> Option<Vec<T>> {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.describe(field, || json!({ "type": "array", "minItems": 1, "items": { "enum": all } }));
        let value = self.take(field)?;
        let meaning = |word: &Value| words.iter().find(|(known, _)| word.as_str() == Some(known)).map(|(_, one)| *one);
        let found = value.as_array().and_then(|list| list.iter().map(meaning).collect::<Option<Vec<_>>>());
        let Some(mut found) = found.filter(|found| !found.is_empty() && found.len() <= 2 * words.len()) else {
            self.reject(field, format!("must be a list of one or more of {}", all.join(", ")));
            return None;
        };
        let mut index = 0;
        while index < found.len() {
            if found[..index].contains(&found[index]) {
                found.remove(index);
            } else {
                index += 1;
            }
        }
        Some(found)
    }

    /// Reads the position behind which a page begins.
    pub fn cursor<T>(&mut self, field: &'static str, decode: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.optional_line(field, 1..=CURSOR_MAX)?;
        let position = decode(&text);
        if position.is_none() {
            self.reject(field, "must be pagination.next of a page with the same sort and order");
        }
        position
    }

    /// Adds a sentence about a field to the description: what a filter means at its edges.
    pub fn explain(&mut self, field: &str, sentence: &str) {
        if let Some(schema) = self.description.as_mut().and_then(|all| all.properties.get_mut(field)) {
            schema["description"] = sentence.into();
        }
    }

    /// Reads a date in the form of RFC 3339. A query may also name a day, such as `2026-01-31`,
    /// which means its first millisecond, UTC.
    pub fn date(&mut self, field: &'static str) -> Option<Timestamp> {
        self.date_or_day(field, |(first, _)| first)
    }

    /// Reads a date as the end of a period, which includes it. A day means its last millisecond, so
    /// that the period includes the day.
    pub fn end_date(&mut self, field: &'static str) -> Option<Timestamp> {
        self.date_or_day(field, |(_, last)| last)
    }

    fn date_or_day(
        &mut self,
        field: &'static str,
        of_day: impl Fn((Timestamp, Timestamp)) -> Timestamp,
    ) -> Option<Timestamp> {
        let forms = if self.from_query { &["date-time", "date"][..] } else { &["date-time"] };
        self.describe(field, || match forms {
            [form] => json!({ "type": "string", "format": form }),
            forms => {
                let forms: Vec<_> = forms.iter().map(|form| json!({ "format": form })).collect();
                json!({ "type": "string", "anyOf": forms })
            }
        });
        let value = self.take(field)?;
        let date = value.as_str().and_then(|text| {
            let day = || Timestamp::day(text).filter(|_| self.from_query);
            Timestamp::read(text).or_else(|| day().map(of_day))
        });
        if date.is_none() {
            self.reject(field, "must be a date with its offset, such as 2026-01-31T12:00:00Z or +02:00 in place of Z");
        }
        date
    }

    /// Reads a list of at most `max` ids of users, with an account or of an app.
    pub fn users(&mut self, field: &'static str, max: usize) -> Vec<UserId> {
        self.describe(field, || json!({ "type": "array", "maxItems": max, "items": app_user_schema() }));
        let Some(value) = self.take(field) else { return Vec::new() };
        let ids = value
            .as_array()
            .filter(|list| list.len() <= max)
            .and_then(|list| list.iter().map(|id| UserId::of_app(id.as_str()?)).collect::<Option<Vec<_>>>());
        ids.unwrap_or_else(|| {
            self.reject(field, format!("must be a list of at most {max} user ids"));
            Vec::new()
        })
    }

    /// Reads the id of an app's user.
    pub fn app_user(&mut self, field: &'static str) -> Option<UserId> {
        self.describe(field, app_user_schema);
        let value = self.take(field)?;
        let user = value.as_str().and_then(UserId::of_app);
        if user.is_none() {
            self.reject(field, "must be 1 to 40 letters, digits, _ or -, not nobody, and must not begin with guest-");
        }
        user
    }

    /// Reads the id of a room within its app, exactly as it is.
    pub fn room(&mut self, field: &'static str) -> Option<RoomName> {
        self.describe(field, || json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }));
        let value = self.take(field)?;
        let room = value.as_str().and_then(|text| RoomName::parse(text).ok());
        if room.is_none() {
            self.reject(field, "must be 1 to 64 letters, digits, _ or -");
        }
        room
    }

    /// Reads JSON of any form, at most `max` bytes of text.
    pub fn json(&mut self, field: &'static str, max: usize) -> Option<Value> {
        self.describe(field, || json!({ "description": format!("Any JSON, of at most {max} bytes") }));
        let value = self.take(field)?;
        if value.to_string().len() > max {
            self.reject(field, format!("must be at most {max} bytes of JSON"));
            return None;
        }
        Some(value)
    }

    /// Reads the permissions of an app's user in calls. A missing one is true.
    pub fn permissions(&mut self, field: &'static str) -> Option<CallPermissions> {
        self.describe(field, || permissions_schema(&json!({ "type": ["boolean", "null"], "default": true })));
        self.flags(field)
    }

    /// Reads a change of some permissions. A missing one stays.
    pub fn permissions_change(&mut self, field: &'static str) -> Option<PermissionsChange> {
        self.describe(field, || permissions_schema(&json!({ "type": ["boolean", "null"] })));
        self.flags(field)
    }

    fn flags<T: DeserializeOwned>(&mut self, field: &'static str) -> Option<T> {
        // A list would be read as the fields in their order. Null counts as missing.
        let flags = match self.take(field)? {
            Value::Object(flags) => T::deserialize(Value::Object(without_nulls(flags))).ok(),
            _ => None,
        };
        if flags.is_none() {
            let names = CallPermissions::NAMES.join(", ");
            self.reject(field, format!("must be an object with true or false in {names} alone"));
        }
        flags
    }

    /// Reads the settings of a new call. A missing setting has its default.
    pub fn settings(&mut self, field: &'static str) -> CallSettings {
        self.settings_change(field).of_new_call()
    }

    /// Reads a change of some settings.
    pub fn settings_change(&mut self, field: &'static str) -> SettingsChange {
        self.describe(field, settings_schema);
        let Some(value) = self.take(field) else { return SettingsChange::default() };
        let Some(fields) = value.as_object() else {
            self.reject(field, "must be an object");
            return SettingsChange::default();
        };
        if self.strict && fields.keys().any(|name| CallSettings::ALL.iter().all(|info| info.name != name)) {
            self.reject(field, "must have only settings of calls");
        }
        SettingsChange::read(fields).unwrap_or_else(|| {
            self.reject(field, "each setting must be true or false");
            SettingsChange::default()
        })
    }

    /// Reads the web origins of an app, in place of those of before.
    pub fn app_origins(&mut self, field: &'static str) -> Vec<String> {
        self.describe(field, || {
            let entry = json!({ "type": "string", "maxLength": APP_ORIGIN_LENGTH_MAX });
            json!({ "type": "array", "maxItems": APP_ORIGINS_MAX, "items": entry })
        });
        let Some(value) = self.take(field) else { return Vec::new() };
        let Ok(origins) = Vec::<String>::deserialize(value) else {
            self.reject(field, "must be a list of origins, such as https://app.example");
            return Vec::new();
        };
        self.errors.extend(check_origins(field, &origins).err().into_iter().flat_map(|refusal| refusal.errors));
        origins
    }

    /// Reads a change of an app's limits. Null removes a limit; those that are missing stay.
    pub fn app_limits(&mut self, field: &'static str) -> Vec<(AppLimit, Option<u32>)> {
        self.describe(field, app_limits_schema);
        let Some(value) = self.take(field) else { return Vec::new() };
        let Some(fields) = value.as_object() else {
            self.reject(field, "must be an object");
            return Vec::new();
        };
        let mut change = Vec::new();
        for (name, value) in fields {
            let Some(limit) = AppLimit::ALL.into_iter().find(|limit| limit.as_str() == name) else {
                self.reject(field, format!("may have {}", AppLimit::ALL.map(AppLimit::as_str).join(", ")));
                continue;
            };
            let most = value.as_number().and_then(whole_number::read).and_then(|most| u32::try_from(most).ok());
            let most = most.filter(|most| (1..=AppLimit::MAX).contains(most));
            if most.is_some() || value.is_null() {
                change.push((limit, most));
                continue;
            }
            let message = format!("must be a whole number from 1 to {}, or null", AppLimit::MAX);
            self.errors.push(FieldError { field: format!("{field}.{name}").into(), message: message.into() });
        }
        change
    }

    /// Reads all identity sources of an app: their form. [`switchboard_calls::AppAdmin`] checks the
    /// rest. Null removes all.
    pub fn identity_sources(&mut self, field: &'static str) -> Vec<IdentitySource> {
        self.describe(field, || {
            let mut list = schemars::schema_for!(Vec<IdentitySource>).to_value();
            list["maxItems"] = IDENTITY_SOURCES_MAX.into();
            inlined(list)
        });
        let Some(value) = self.take(field) else { return Vec::new() };
        let Value::Array(list) = value else {
            self.reject(field, "must be a list");
            return Vec::new();
        };
        let mut sources = Vec::new();
        for (index, value) in list.into_iter().take(IDENTITY_SOURCES_MAX + 1).enumerate() {
            match IdentitySource::read(value) {
                Ok(source) => sources.push(source),
                Err(problem) => {
                    self.errors.push(FieldError { field: format!("{field}.{index}").into(), message: problem.into() });
                }
            }
        }
        sources
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.values.get_mut(field).map(Value::take).filter(|value| !value.is_null())
    }
}

/// Removes the fields of an object that are null.
fn without_nulls(mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.retain(|_, value| !value.is_null());
    fields
}

/// Returns the JSON schema of the id of an app's user.
fn app_user_schema() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,40}$" })
}

/// Returns the JSON schema of permissions, each with the schema `flag`.
fn permissions_schema(flag: &Value) -> Value {
    let about = [
        "Switch camera and microphone on",
        "Share the screen",
        "Send chat messages, typing notices and reactions; not what pages send each other by data channels",
    ];
    let described = |(name, about): (&str, &str)| {
        let mut schema = flag.clone();
        schema["description"] = about.into();
        (name.to_owned(), schema)
    };
    let properties: Map<_, _> = CallPermissions::NAMES.into_iter().zip(about).map(described).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// Returns the JSON schema of a change of limits, with the descriptions that the limits have.
fn app_limits_schema() -> Value {
    let mut limits = schemars::schema_for!(AppLimits).to_value();
    let properties = limits["properties"].as_object_mut().map(std::mem::take).unwrap_or_default();
    let bounded = |(name, schema): (String, Value)| {
        let bounded = json!({
            "type": ["integer", "null"], "minimum": 1, "maximum": AppLimit::MAX, "description": schema["description"],
        });
        (name, bounded)
    };
    let properties: Map<_, _> = properties.into_iter().map(bounded).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Returns a JSON schema with its definitions in the places that refer to them, because a field's
/// schema has no place for definitions.
fn inlined(mut schema: Value) -> Value {
    fn inline(value: &mut Value, definitions: &Value) {
        if let Some(name) = value["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
            let mut definition = definitions[name].clone();
            if let Some(about) = value.get("description") {
                definition["description"] = about.clone();
            }
            *value = definition;
        }
        match value {
            Value::Object(fields) => fields.values_mut().for_each(|field| inline(field, definitions)),
            Value::Array(list) => list.iter_mut().for_each(|item| inline(item, definitions)),
            _ => {}
        }
    }
    let definitions = schema.as_object_mut().and_then(|schema| {
        schema.remove("$schema");
        schema.remove("title");
        schema.remove("$defs")
    });
    inline(&mut schema, &definitions.unwrap_or_default());
    schema
}

/// Returns the JSON schema of the settings.
fn settings_schema() -> Value {
    let schema = |info: &SettingInfo| {
        let SettingInfo { name, default, description } = *info;
        (name.to_owned(), json!({ "type": ["boolean", "null"], "default": default, "description": description }))
    };
    let properties: Map<_, _> = CallSettings::ALL.iter().map(schema).collect();
    json!({ "type": "object", "properties": properties })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn every_invalid_field_is_reported_and_types_are_strict() {
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
