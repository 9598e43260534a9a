//! JSON forms of records. A view lists its fields one by one, so that a password hash cannot become
//! part of an answer by accident.

use schemars::JsonSchema;
use serde::Serialize;
use switchboard_core::domain::admission::requires_invitation;
use switchboard_core::domain::{
    CallId, CallSettings, CallStatus, CallType, PublicUser, Role, RoomName, Timestamp, UserId,
};
use switchboard_records::{CallRecord, ParticipantRecord, Period, UserRecord};

use crate::app::App;

/// Maximum number of participants in the view of one call. Pages have the others.
const SHOWN_MAX: usize = 100;
/// Maximum number of participants in the view of a call in a list.
const SHOWN_IN_LIST_MAX: usize = 10;

/// The user's own account.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "User")]
pub(crate) struct UserView<'a> {
    #[serde(rename = "_id")]
    object_id: &'a UserId,
    id: &'a UserId,
    name: &'a str,
    email: &'a str,
    avatar: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> From<&'a UserRecord> for UserView<'a> {
    fn from(user: &'a UserRecord) -> Self {
        Self {
            object_id: &user.id,
            id: &user.id,
            name: &user.name,
            email: &user.email,
            avatar: user.avatar.as_deref(),
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// Full form of a call, for callers who may see it. The struct has more than eight fields: it is
/// the JSON object, field by field.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Call")]
pub(crate) struct CallView<'a> {
    #[serde(rename = "_id")]
    object_id: &'a CallId,
    id: &'a CallId,
    title: &'a str,
    description: &'a str,
    host_id: &'a UserId,
    host: PublicUser,
    /// The first participants, in the order of their first joins.
    participants: Vec<ParticipantView<'a>>,
    /// Participants in the whole list, `GET video-calls/:id/participants`.
    total_participants: u64,
    current_participants: u32,
    scheduled_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    /// Duration of all periods in minutes.
    duration: Option<i64>,
    /// Periods in which the call took place and that have ended, the earliest first.
    periods: Vec<PeriodView>,
    status: CallStatus,
    #[serde(rename = "type")]
    call_type: CallType,
    settings: &'a CallSettings,
    room_id: RoomName,
    /// Link of the call for people. Calls of apps have none, because their users cannot sign in on
    /// the page behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    join_link: Option<String>,
    has_passcode: bool,
    /// Only invited users may join, besides the host.
    requires_invitation: bool,
    max_participants: u32,
    locked: bool,
    recording_enabled: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// Period in which a call took place.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Period")]
pub(crate) struct PeriodView {
    started_at: Timestamp,
    ended_at: Timestamp,
}

impl From<&Period> for PeriodView {
    fn from(period: &Period) -> Self {
        Self { started_at: period.started_at, ended_at: period.ended_at }
    }
}

/// Participant of a call.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CallParticipant")]
pub(crate) struct ParticipantView<'a> {
    user_id: &'a UserId,
    user: PublicUser,
    role: Role,
    joined_at: Option<Timestamp>,
    left_at: Option<Timestamp>,
    is_connected: bool,
    connection_id: Option<&'a str>,
}

impl<'a> CallView<'a> {
    /// Creates the view of a call. `present` is the number of participants in Redis; without it the
    /// number in the record is shown.
    #[must_use]
    pub(crate) fn new(app: &App, call: &'a CallRecord, present: Option<u32>) -> Self {
        Self::with(app, call, present, SHOWN_MAX)
    }

    /// Creates the view of a call in a list, with fewer participants.
    #[must_use]
    pub(crate) fn in_list(app: &App, call: &'a CallRecord) -> Self {
        Self::with(app, call, None, SHOWN_IN_LIST_MAX)
    }

    fn with(app: &App, call: &'a CallRecord, present: Option<u32>, shown: usize) -> Self {
        Self {
            object_id: &call.id,
            id: &call.id,
            title: &call.title,
            description: &call.description,
            host_id: &call.host,
            host: call.profile(&call.host),
            participants: ParticipantView::first(call, shown),
            total_participants: call.listed(),
            current_participants: present.unwrap_or_else(|| connected(call)),
            scheduled_at: call.scheduled_at,
            started_at: call.started_at,
            ended_at: call.ended_at,
            duration: call.duration,
            periods: call.periods.iter().map(PeriodView::from).collect(),
            status: call.status,
            call_type: call.call_type,
            settings: &call.settings,
            room_id: call.room.to_name(),
            join_link: call.room.is_of_default_app().then(|| app.join_link(&call.room)),
            has_passcode: call.has_passcode(),
            requires_invitation: requires_invitation(call.call_type, &call.invited),
            max_participants: call.max_participants,
            locked: call.locked,
            recording_enabled: call.settings.recording_enabled,
            created_at: call.created_at,
            updated_at: call.updated_at,
        }
    }
}

impl<'a> ParticipantView<'a> {
    /// Creates the views of the first `max` participants that the record shows.
    #[must_use]
    pub(crate) fn first(call: &'a CallRecord, max: usize) -> Vec<Self> {
        let view = |entry: &'a ParticipantRecord| Self {
            user_id: &entry.user,
            user: call.profile(&entry.user),
            role: entry.role,
            joined_at: entry.joined_at,
            left_at: entry.left_at,
            is_connected: entry.is_connected,
            connection_id: entry.connection_id.as_deref(),
        };
        call.participants.iter().take(max).map(view).collect()
    }
}

/// Short form of a call, for callers who are not part of it: enough to show a form for joining.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CallSummary")]
pub(crate) struct CallSummaryView<'a> {
    #[serde(rename = "_id")]
    object_id: &'a CallId,
    id: &'a CallId,
    title: &'a str,
    #[serde(rename = "type")]
    call_type: CallType,
    requires_auth: bool,
    requires_passcode: bool,
    /// Only invited users may join, besides the host.
    requires_invitation: bool,
    max_participants: u32,
    current_participants: u32,
}

impl<'a> CallSummaryView<'a> {
    /// Creates the short form of a call.
    #[must_use]
    pub(crate) fn new(call: &'a CallRecord, present: Option<u32>) -> Self {
        Self {
            object_id: &call.id,
            id: &call.id,
            title: &call.title,
            call_type: call.call_type,
            requires_auth: call.call_type != CallType::Public,
            requires_passcode: call.has_passcode(),
            requires_invitation: requires_invitation(call.call_type, &call.invited),
            max_participants: call.max_participants,
            current_participants: present.unwrap_or_else(|| connected(call)),
        }
    }
}

/// Statistics of a call.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CallStatistics")]
pub(crate) struct StatsView<'a> {
    /// Duration in minutes.
    duration: i64,
    duration_ms: i64,
    total_participants: u64,
    max_concurrent_participants: u32,
    /// Chat messages that were not recorded, because the call had its most messages.
    unrecorded_messages: u64,
    /// The first participants, in the order of their first joins.
    participant_stats: Vec<PresenceView<'a>>,
    call_timeline: Timeline,
}

/// Presence of one user in a call. A reconnect does not interrupt it. Time on two devices at the
/// same time counts once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ParticipantPresence")]
struct PresenceView<'a> {
    user_id: &'a UserId,
    user: PublicUser,
    role: Role,
    joined_at: Option<Timestamp>,
    left_at: Option<Timestamp>,
    /// Duration in minutes.
    duration: i64,
    duration_ms: i64,
}

#[derive(Serialize, JsonSchema)]
struct Timeline {
    created: Timestamp,
    scheduled: Option<Timestamp>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
}

impl<'a> StatsView<'a> {
    /// Creates the statistics of a call at `now`. Invited users who never joined do not count.
    #[must_use]
    pub(crate) fn new(call: &'a CallRecord, now: Timestamp) -> Self {
        let statistics = call.statistics(now);
        let joined = call.participants.iter().filter(|entry| entry.joined_at.is_some());
        let presences = joined.map(|entry| {
            let duration_ms = entry.connected_ms(call.end_or(now));
            PresenceView {
                user_id: &entry.user,
                user: call.profile(&entry.user),
                role: entry.role,
                joined_at: entry.joined_at,
                left_at: entry.left_at,
                duration: minutes(duration_ms),
                duration_ms,
            }
        });
        Self {
            duration: minutes(statistics.duration_ms),
            duration_ms: statistics.duration_ms,
            total_participants: statistics.participants,
            max_concurrent_participants: statistics.peak,
            unrecorded_messages: call.recorded.chat_dropped,
            participant_stats: presences.take(SHOWN_MAX).collect(),
            call_timeline: Timeline {
                created: call.created_at,
                scheduled: call.scheduled_at,
                started: call.started_at,
                ended: call.ended_at,
            },
        }
    }
}

/// Rounds milliseconds to whole minutes, halves up. MongoDB's `$round` in the record differs only
/// for exact halves.
pub(crate) const fn minutes(ms: i64) -> i64 {
    (ms + 30_000) / 60_000
}

fn connected(call: &CallRecord) -> u32 {
    let shown = || call.participants.iter().filter(|entry| entry.is_connected).count();
    if call.counts.is_some() { call.present } else { u32::try_from(shown()).unwrap_or(u32::MAX) }
}
