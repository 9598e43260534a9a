//! Position of a call in a sorted list, as a cursor that clients send back. Paging by position
//! shows no call twice and leaves none out while calls are added or end; paging by number shifts
//! then.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde::{Deserialize, Serialize};

/// Longest cursor, in characters: a title of 200 characters of 4 bytes, and the rest.
const CURSOR_MAX: usize = 2048;

/// Sort field of a list of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallOrder {
    /// `createdAt`.
    #[serde(rename = "createdAt")]
    Created,
    /// `scheduledAt`.
    #[serde(rename = "scheduledAt")]
    Scheduled,
    /// `startedAt`.
    #[serde(rename = "startedAt")]
    Started,
    /// `title`, as people sort: without regard to case, and numbers by their value.
    #[serde(rename = "title")]
    Title,
}

impl CallOrder {
    /// Returns the name of the field in the record.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Created => "createdAt",
            Self::Scheduled => "scheduledAt",
            Self::Started => "startedAt",
            Self::Title => "title",
        }
    }
}

/// Position of one call in a list: the value by which the list is sorted, and the id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPosition {
    order: (CallOrder, bool),
    value: Value,
    id: Id,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Null,
    /// Milliseconds since the Unix epoch.
    Date(i64),
    Text(String),
}

/// The old Node.js backend stored some ids as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Id {
    #[serde(rename = "o")]
    Object(String),
    #[serde(rename = "t")]
    Text(String),
}

impl CallPosition {
    /// Reads the position of a document in a list with this order.
    pub(super) fn of(document: &Document, order: (CallOrder, bool)) -> Option<Self> {
        let value = match document.get(order.0.field()) {
            Some(Bson::DateTime(date)) => Value::Date(date.timestamp_millis()),
            Some(Bson::String(text)) => Value::Text(text.clone()),
            _ => Value::Null,
        };
        let id = match document.get("_id")? {
            Bson::ObjectId(id) => Id::Object(id.to_hex()),
            Bson::String(id) => Id::Text(id.clone()),
            _ => return None,
        };
        Some(Self { order, value, id })
    }

    /// Returns the cursor.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a cursor of a list with this order. `None` for any other text.
    #[must_use]
    pub fn decode(cursor: &str, order: (CallOrder, bool)) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(Some(cursor).filter(|cursor| cursor.len() <= CURSOR_MAX)?).ok()?;
        let position: Self = serde_json::from_slice(&bytes).ok()?;
        Some(position).filter(|position| position.order == order)
    }

    /// Returns the condition for the calls behind this position. It compares as a sort does: across
    /// types, and with a missing date as null.
    pub(super) fn behind(&self) -> Document {
        let (order, descending) = self.order;
        let beyond = if descending { "$lt" } else { "$gt" };
        let field = doc! { "$ifNull": [format!("${}", order.field()), Bson::Null] };
        let value = match &self.value {
            Value::Null => Bson::Null,
            Value::Date(millis) => DateTime::from_millis(*millis).into(),
            Value::Text(text) => text.as_str().into(),
        };
        let id = match &self.id {
            Id::Object(hex) => ObjectId::parse_str(hex).map_or(Bson::Null, Bson::from),
            Id::Text(text) => text.as_str().into(),
        };
        // A text that begins with `$` is no expression.
        let (value, id) = (doc! { "$literal": value }, doc! { "$literal": id });
        doc! { "$expr": { "$or": [
            { beyond: [field.clone(), value.clone()] },
            { "$and": [{ "$eq": [field, value] }, { beyond: ["$_id", id] }] },
        ] } }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_cursor_is_read_back_in_its_own_order_only() {
        let order = (CallOrder::Title, true);
        for (value, id) in [
            (Bson::from("$title \u{e9}"), Bson::from(ObjectId::new())),
            (Bson::Null, Bson::from("65a1b2c3d4e5f60718293a4b")),
            (Bson::from(DateTime::from_millis(-7)), Bson::from(ObjectId::new())),
        ] {
            let position = CallPosition::of(&doc! { "title": value, "_id": id }, order).unwrap();
            let cursor = position.encode();
            assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{cursor}");
            assert_eq!(CallPosition::decode(&cursor, order), Some(position));
            assert_eq!(CallPosition::decode(&cursor, (CallOrder::Title, false)), None);
            assert_eq!(CallPosition::decode(&cursor, (CallOrder::Created, true)), None);
        }
        for bad in ["", "x", "e30", &"a".repeat(4000)] {
            assert_eq!(CallPosition::decode(bad, order), None, "{bad}");
        }
    }
}
