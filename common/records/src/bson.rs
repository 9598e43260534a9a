//! BSON forms of the domain's values. Reading also accepts the forms of the old Node.js backend.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use switchboard_core::domain::{RoomId, Timestamp, UserId};

/// Returns the stored form of an id: an ObjectId if the text is one, otherwise text (guests).
pub(super) fn id_to_bson(id: &str) -> Bson {
    ObjectId::parse_str(id).map_or_else(|_| Bson::String(id.to_owned()), Bson::ObjectId)
}

/// Returns every form in which an id can be stored, because the old Node.js backend may have stored
/// text.
pub(super) fn id_forms(id: &str) -> Vec<Bson> {
    let mut forms = vec![id_to_bson(id), Bson::from(id)];
    forms.dedup();
    forms
}

/// Returns the stored form of a user in a call of `room`. Users of apps are stored by their full
/// name, so that no query for a user finds those of another app.
pub(super) fn user_to_bson(room: &RoomId, user: &UserId) -> Bson {
    id_to_bson(&full_name(room, user))
}

/// Returns every form in which a user in a call of `room` can be stored: see [`id_forms`].
pub(super) fn user_forms(room: &RoomId, user: &UserId) -> Vec<Bson> {
    id_forms(&full_name(room, user))
}

/// Returns the full name of a user in a call of `room`.
pub(super) fn full_name(room: &RoomId, user: &UserId) -> Box<str> {
    if room.is_of_default_app() { user.as_str().into() } else { room.app().user(user) }
}

/// Returns the id of a user within the app. The call says which app.
pub(super) fn local_id(stored: &str) -> &str {
    stored.split_once('.').map_or(stored, |(_, user)| user)
}

fn id_from_bson<T: TryFrom<String>>(value: Bson) -> Option<T> {
    let text = match value {
        Bson::ObjectId(id) => id.to_hex(),
        Bson::String(text) => local_id(&text).to_owned(),
        _ => return None,
    };
    T::try_from(text).ok()
}

fn date_from_bson(value: &Bson) -> Option<Timestamp> {
    match value {
        Bson::DateTime(at) => Some(Timestamp(at.timestamp_millis())),
        Bson::Int64(ms) => Some(Timestamp(*ms)),
        Bson::String(text) => Timestamp::parse(text),
        _ => None,
    }
}

pub(super) const fn date_to_bson(at: Timestamp) -> Bson {
    Bson::DateTime(DateTime::from_millis(at.0))
}

/// Serde module for `UserId` and `CallId`.
pub(super) mod id {
    use super::{Bson, Deserialize, Deserializer, Serialize, Serializer, id_from_bson, id_to_bson};
    use serde::de::Error as _;

    pub(in super::super) fn serialize<T: Clone + Into<String>, S: Serializer>(id: &T, s: S) -> Result<S::Ok, S::Error> {
        id_to_bson(&id.clone().into()).serialize(s)
    }

    pub(in super::super) fn deserialize<'de, T: TryFrom<String>, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        id_from_bson(Bson::deserialize(d)?).ok_or_else(|| D::Error::custom("invalid id"))
    }
}

/// Serde module for lists of ids. Invalid entries are skipped.
pub(super) mod ids {
    use super::{Bson, Deserialize, Deserializer, Serialize, Serializer, id_from_bson, id_to_bson};

    pub(in super::super) fn serialize<T: Clone + Into<String>, S: Serializer>(
        ids: &[T],
        s: S,
    ) -> Result<S::Ok, S::Error> {
        ids.iter().map(|id| id_to_bson(&id.clone().into())).collect::<Vec<_>>().serialize(s)
    }

    pub(in super::super) fn deserialize<'de, T: TryFrom<String>, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Vec<T>, D::Error> {
        let list = Option::<Vec<Bson>>::deserialize(d)?.unwrap_or_default();
        Ok(list.into_iter().filter_map(id_from_bson).collect())
    }
}

/// Serde module for `Timestamp`. An invalid date reads as 1970, so that the record stays readable.
pub(super) mod date {
    use super::{Bson, Deserialize, Deserializer, Serialize, Serializer, Timestamp, date_from_bson, date_to_bson};

    pub(in super::super) fn serialize<S: Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        date_to_bson(*at).serialize(s)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        Ok(date_from_bson(&Bson::deserialize(d)?).unwrap_or_else(super::epoch))
    }
}

/// Serde module for `Option<Timestamp>`.
pub(super) mod maybe_date {
    use super::{Bson, Deserialize, Deserializer, Serialize, Serializer, Timestamp, date_from_bson, date_to_bson};

    pub(in super::super) fn serialize<S: Serializer>(at: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
        at.map_or(Bson::Null, date_to_bson).serialize(s)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(date_from_bson(&Bson::deserialize(d)?))
    }
}

/// Returns the time 0 (1970), for a missing date.
pub(super) const fn epoch() -> Timestamp {
    Timestamp(0)
}

fn whole(value: &Bson) -> Option<i64> {
    match *value {
        Bson::Int32(n) => Some(i64::from(n)),
        Bson::Int64(n) => Some(n),
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and the caller checks the range")]
        Bson::Double(n) => Some(n.round() as i64),
        _ => None,
    }
}

/// Reads a whole number of any stored width, because JavaScript stores doubles.
pub(super) fn number<'de, T: TryFrom<i64>, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    whole(&Bson::deserialize(d)?)
        .and_then(|n| T::try_from(n).ok())
        .ok_or_else(|| D::Error::custom("number out of range"))
}

/// Reads a whole number; null and other types read as `None`.
pub(super) fn maybe_number<'de, D: Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
    Ok(whole(&Bson::deserialize(d)?))
}

/// Reads null as the default, because mongoose stores null for a cleared field.
pub(super) fn or_default<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}
