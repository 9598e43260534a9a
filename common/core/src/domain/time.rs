//! Timestamps and their text form on the wire.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// Timestamp in milliseconds since the Unix epoch. `Display` and serde write RFC 3339, UTC, with
/// milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Parses RFC 3339 with any UTC offset and any fraction of a second. Digits finer than
    /// milliseconds are truncated. Returns `None` if the text is not RFC 3339.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
        i64::try_from(nanos.div_euclid(1_000_000)).ok().map(Self)
    }

    /// Reads a time in the forms that clients write besides RFC 3339: with a blank between date and
    /// clock, without seconds, with an offset without a colon (`+0200`), and with a blank in place
    /// of the plus of an offset, because a query decodes `+` to a blank. A time without an offset
    /// is none, because its zone is unknown.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| {
            let (date, rest) = text.split_at_checked(10)?;
            let rest = rest.strip_prefix(['T', 't', ' '])?;
            let (clock, zone) = rest.split_at_checked(rest.find(['Z', 'z', '+', '-', ' '])?)?;
            let clock = if clock.len() == 5 { format!("{clock}:00") } else { clock.to_owned() };
            let zone = zone.replace(' ', "+");
            let zone = match zone.split_at_checked(3) {
                Some((hours, minutes)) if minutes.len() == 2 => format!("{hours}:{minutes}"),
                Some((hours, "")) => format!("{hours}:00"),
                _ => zone,
            };
            Self::parse(&format!("{date}T{clock}{zone}"))
        })
    }

    /// Reads a day such as `2026-01-31`: its first and its last millisecond, UTC.
    #[must_use]
    pub fn day(text: &str) -> Option<(Self, Self)> {
        let start =
            Some(text).filter(|text| text.len() == 10).and_then(|text| Self::parse(&format!("{text}T00:00:00Z")));
        start.map(|start| (start, Self(start.0 + DAY_MS - 1)))
    }

    /// Returns the start of the timestamp's day, UTC.
    #[must_use]
    pub const fn day_start(self) -> Self {
        Self(self.0.div_euclid(DAY_MS) * DAY_MS)
    }

    /// Returns the timestamp's day, UTC, such as `2026-01-31`.
    #[must_use]
    pub fn day_text(self) -> String {
        let mut text = self.to_string();
        text.truncate(text.find('T').unwrap_or(0));
        text
    }

    /// Returns the start of the timestamp's month, UTC.
    #[must_use]
    pub fn month_start(self) -> Self {
        let at = OffsetDateTime::from_unix_timestamp(self.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let days = i64::from(at.day()) - 1;
        Self((at.unix_timestamp().div_euclid(86_400) - days) * 86_400_000)
    }

    /// Returns whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A time outside the years -9999 to 9999 has no RFC 3339 form. Such a value can only come
        // from damaged data; it is written as the epoch.
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, clock) = (at.date(), at.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second(),
            clock.millisecond()
        )
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "examples": [Self(1_767_225_600_000)] })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_day_starts_at_midnight_and_has_a_text() {
        let at = Timestamp::parse("2026-01-31T23:59:59.999Z").unwrap();
        assert_eq!(
            (at.day_start().to_string().as_str(), at.day_text().as_str()),
            ("2026-01-31T00:00:00.000Z", "2026-01-31")
        );
        assert_eq!(Timestamp(at.0 + 1).day_start(), Timestamp(at.0 + 1));
    }

    #[test]
    fn a_month_starts_at_midnight_of_its_first_day() {
        for (at, start) in [
            ("2026-01-31T23:59:59.999Z", "2026-01-01T00:00:00.000Z"),
            ("2024-02-29T12:00:00Z", "2024-02-01T00:00:00.000Z"),
            ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::parse(at).unwrap().month_start().to_string(), start);
        }
    }

    #[test]
    fn a_timestamp_is_written_in_utc_with_milliseconds_and_parses_back() {
        let at = Timestamp(1_767_225_600_007);
        assert_eq!(at.to_string(), "2026-01-01T00:00:00.007Z");
        assert_eq!(Timestamp::parse("2026-01-01T02:00:00.0079+02:00").unwrap(), at);
        assert_eq!(Timestamp::parse("2026-13-01T00:00:00Z"), None);
    }

    #[test]
    fn a_time_is_read_with_every_offset_and_not_without_one() {
        let noon = Timestamp::parse("2026-01-31T12:00:00Z");
        for text in [
            "2026-01-31T14:00:00+02:00",
            "2026-01-31T14:00:00 02:00",
            "2026-01-31T14:00:00.000+0200",
            "2026-01-31 14:00+02:00",
            "2026-01-31T14:00+02",
            "2026-01-31T06:30:00-05:30",
            "2026-01-31T12:00Z",
            "2026-01-31t12:00:00z",
        ] {
            assert_eq!(Timestamp::read(text), noon, "{text}");
        }
        for text in [
            "2026-01-31T12:00:00",
            "2026-01-31",
            "2026-01-31T12Z",
            "soon",
            "",
            "2026-01-31T12:00:00+2",
            "2026-01-3\u{e9}T1Z",
        ] {
            assert_eq!(Timestamp::read(text), None, "{text}");
        }
        let (first, last) = Timestamp::day("2026-01-31").unwrap();
        assert_eq!(
            (first.to_string(), last.to_string()),
            ("2026-01-31T00:00:00.000Z".into(), "2026-01-31T23:59:59.999Z".into())
        );
        assert_eq!((Timestamp::day("2026-02-30"), Timestamp::day("2026-1-1")), (None, None));
    }
}
