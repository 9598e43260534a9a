//! Apps: customers of one deployment, each with users and calls of its own. The backend of an app
//! authenticates with API keys.

use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Rate;

/// Permission of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum AppScope {
    /// Read calls, their participants, and the usage and limits of the app.
    #[serde(rename = "calls:read")]
    CallsRead,
    /// Create, change, end and delete calls.
    #[serde(rename = "calls:write")]
    CallsWrite,
    /// Mute, remove, ban and admit participants, change them, and send them events.
    #[serde(rename = "participants:write")]
    ParticipantsWrite,
    /// Sign tokens of users.
    #[serde(rename = "tokens:mint")]
    TokensMint,
}

impl AppScope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::CallsRead, Self::CallsWrite, Self::ParticipantsWrite, Self::TokensMint];

    /// Returns the text on the wire and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallsRead => "calls:read",
            Self::CallsWrite => "calls:write",
            Self::ParticipantsWrite => "participants:write",
            Self::TokensMint => "tokens:mint",
        }
    }

    /// Parses the output of `as_str`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// Kind of limit of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppLimit {
    /// Calls with a participant, at the same time.
    ConcurrentCalls,
    /// Participants with a connection, in all calls together.
    ConcurrentParticipants,
    /// Seats of one call.
    ParticipantsPerCall,
    /// REST requests in a second.
    RequestsPerSecond,
    /// Socket events in a second.
    EventsPerSecond,
}

impl AppLimit {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::ConcurrentCalls,
        Self::ConcurrentParticipants,
        Self::ParticipantsPerCall,
        Self::RequestsPerSecond,
        Self::EventsPerSecond,
    ];

    /// Largest value of a limit. The smallest is 1.
    pub const MAX: u32 = 1_000_000;

    /// Returns the name on the wire and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrentCalls => "maxConcurrentCalls",
            Self::ConcurrentParticipants => "maxConcurrentParticipants",
            Self::ParticipantsPerCall => "maxParticipantsPerCall",
            Self::RequestsPerSecond => "maxRequestsPerSecond",
            Self::EventsPerSecond => "maxEventsPerSecond",
        }
    }
}

/// Time in which the bucket of a rate of an app refills. Clients of a mesh send in bursts, so the
/// bucket holds five seconds of the rate.
const APP_RATE_PERIOD: Duration = Duration::from_secs(5);

/// Limits of an app. Null is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppLimits {
    /// Most calls with a participant, at the same time.
    pub max_concurrent_calls: Option<u32>,
    /// Most participants with a connection, in all calls together.
    pub max_concurrent_participants: Option<u32>,
    /// Most seats of one call.
    pub max_participants_per_call: Option<u32>,
    /// Most REST requests in a second, averaged over five.
    pub max_requests_per_second: Option<u32>,
    /// Most socket events in a second, averaged over five.
    pub max_events_per_second: Option<u32>,
}

impl AppLimits {
    /// Returns the seats of a call for which `wanted` seats are configured.
    #[must_use]
    pub fn seats(&self, wanted: u32) -> u32 {
        wanted.min(self.max_participants_per_call.unwrap_or(u32::MAX))
    }

    /// Returns the rate of REST requests.
    #[must_use]
    pub fn requests(&self) -> Option<Rate> {
        self.max_requests_per_second.map(app_rate)
    }

    /// Returns the rate of socket events on one of several nodes, which has this share of the app's
    /// participants: `own` of `all`.
    #[must_use]
    pub fn events(&self, (own, all): (u32, u32)) -> Option<Rate> {
        let share = |most: u32| u64::from(most) * u64::from(own) / u64::from(all.max(1));
        self.max_events_per_second
            .map(|most| app_rate(u32::try_from(share(most)).unwrap_or(most).clamp(1, most.max(1))))
    }

    /// Returns whether calls or participants at the same time are limited.
    #[must_use]
    pub const fn bounds_entries(&self) -> bool {
        self.max_concurrent_calls.is_some() || self.max_concurrent_participants.is_some()
    }
}

fn app_rate(per_second: u32) -> Rate {
    let requests = u64::from(per_second) * APP_RATE_PERIOD.as_secs();
    Rate { requests: u32::try_from(requests).unwrap_or(u32::MAX), period: APP_RATE_PERIOD }
}

/// Permissions of an app's user in a call, besides the rights of the role. They come with the user
/// token, and the backend may change them in the room.
///
/// Media go from client to client, so nobody can be kept from receiving them, and a participant
/// cannot be hidden: there are no permissions for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(transform = has_all)]
pub struct CallPermissions {
    /// Switch camera and microphone on.
    pub can_publish: bool,
    /// Share the screen.
    pub can_share_screen: bool,
    /// Send chat messages. Pages can still send each other messages of their own (data channels).
    pub can_chat: bool,
}

/// Describes permissions as the service sends them: all are there. Only a token may leave some out.
fn has_all(schema: &mut Schema) {
    schema.insert("required".to_owned(), CallPermissions::NAMES.as_slice().into());
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            property.remove("default");
        }
    }
}

impl Default for CallPermissions {
    fn default() -> Self {
        Self { can_publish: true, can_share_screen: true, can_chat: true }
    }
}

impl CallPermissions {
    /// Names on the wire.
    pub const NAMES: [&str; 3] = ["canPublish", "canShareScreen", "canChat"];

    /// Returns the JSON text, as a room stores it.
    #[must_use]
    pub fn to_json(self) -> String {
        // Three flags, which JSON can always hold.
        serde_json::to_string(&self).unwrap_or_default()
    }
}

/// Change of some permissions of an app's user in a call. Those that are `None` stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PermissionsChange {
    /// Switch camera and microphone on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    /// Share the screen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_share_screen: Option<bool>,
    /// Send chat messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_chat: Option<bool>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::domain::{AppId, AppKeyId};

    #[test]
    fn a_scope_has_one_text_in_records_and_on_the_wire() {
        for scope in AppScope::ALL {
            assert_eq!(AppScope::parse(scope.as_str()), Some(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        assert_eq!(AppScope::parse("calls"), None);
    }

    #[test]
    fn a_limit_has_one_name_in_records_and_on_the_wire() {
        let all = serde_json::to_value(AppLimits::default()).unwrap();
        let mut names: Vec<&str> = all.as_object().unwrap().keys().map(String::as_str).collect();
        let mut known = AppLimit::ALL.map(AppLimit::as_str);
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }

    #[test]
    fn the_shares_of_all_nodes_make_up_the_rate_of_events() {
        let limits = AppLimits { max_events_per_second: Some(100), ..AppLimits::default() };
        let rates = [(1, 8), (4, 8), (3, 8)].map(|share| limits.events(share).unwrap().requests);
        assert_eq!(rates, [60, 250, 185]);
        assert!(rates.iter().sum::<u32>() <= 500 && limits.events((0, 0)).unwrap().requests == 5);
        assert_eq!(AppLimits::default().events((1, 1)), None);
        let most = AppLimits { max_requests_per_second: Some(AppLimit::MAX), ..AppLimits::default() };
        assert_eq!(most.requests().unwrap().interval(), Duration::from_micros(1));
    }

    #[test]
    fn a_permission_has_one_name_in_tokens_changes_and_rooms() {
        let text = CallPermissions { can_chat: false, ..CallPermissions::default() }.to_json();
        // `permissions.lua` writes the same text.
        assert_eq!(text, r#"{"canPublish":true,"canShareScreen":true,"canChat":false}"#);
        for name in CallPermissions::NAMES {
            let change = serde_json::json!({ name: false });
            let change: PermissionsChange = serde_json::from_value(change).unwrap();
            assert_eq!(serde_json::to_value(change).unwrap(), serde_json::json!({ name: false }));
            let all = serde_json::to_value(CallPermissions::default()).unwrap();
            assert_eq!(all[name], true);
        }
    }

    #[test]
    fn a_call_has_no_more_seats_than_its_app_allows() {
        let limits = AppLimits { max_participants_per_call: Some(3), ..AppLimits::default() };
        assert_eq!((limits.seats(10), limits.seats(2), AppLimits::default().seats(10)), (3, 2, 10));
    }

    #[test]
    fn a_generated_key_id_is_read_back_and_other_texts_are_not_key_ids() {
        let id = AppKeyId::from_random([7; 20]);
        assert_eq!(AppKeyId::read(id.as_str()), Some(id));
        for bad in ["", "sbk_", "sbk_abc", "videocall-api", "sbk_ABCDEFGHIJKLMNOPQRST", "sbk_abcdefghij_bcdefghij"] {
            assert_eq!(AppKeyId::read(bad), None, "{bad}");
        }
        assert!(AppId::default().is_default() && !AppId::from_random([0; 12]).is_default());
    }
}
