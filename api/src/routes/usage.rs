//! Usage and limits of an app, for operators and for the app's backend.

use std::fmt::Write as _;

use axum::response::{IntoResponse, Response};
use http::header;
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_calls::UsageReport;
use switchboard_core::domain::{AppId, AppLimits, Timestamp};
use switchboard_records::AppUsage;
use switchboard_rooms::AppCount;

use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::fields::{Fields, Input};

/// Sums of an app's usage.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AppUsageSums")]
struct UsageSums {
    /// Time of all participants in calls, in milliseconds. Each device counts, and a stay counts
    /// when it has ended, on the days on which it took place.
    participant_ms: u64,
    /// Stays that began.
    joins: u64,
    /// Calls that began: a participant joined first since the room was opened.
    calls: u64,
    /// Chat messages in calls whose chat is recorded.
    recorded_messages: u64,
}

/// Usage of an app on one day.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AppUsageOfDay")]
struct UsageOfDay {
    /// Day, UTC.
    day: String,
    #[serde(flatten)]
    sums: UsageSums,
}

/// Usage of an app in a period.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AppUsage")]
pub(crate) struct UsageView {
    /// First day of the period, UTC. All of it counts, also if a time within it was asked for.
    from: String,
    /// Last day of the period, UTC. All of it counts, also if a time within it was asked for.
    to: String,
    /// Sums of the period.
    total: UsageSums,
    /// Usage by day. Days without usage are left out.
    days: Vec<UsageOfDay>,
}

impl From<AppUsage> for UsageSums {
    fn from(usage: AppUsage) -> Self {
        let AppUsage { participant_ms, joins, calls, recorded_messages } = usage;
        Self { participant_ms, joins, calls, recorded_messages }
    }
}

impl From<UsageReport> for UsageView {
    fn from(report: UsageReport) -> Self {
        let of_day = |(day, usage): (Timestamp, AppUsage)| UsageOfDay { day: day.day_text(), sums: usage.into() };
        Self {
            from: report.first.day_text(),
            to: report.last.day_text(),
            total: report.total.into(),
            days: report.days.into_iter().map(of_day).collect(),
        }
    }
}

impl UsageView {
    /// Returns the usage by day as CSV (RFC 4180), with a header.
    pub(crate) fn csv(&self) -> String {
        let mut text = "day,participantMs,joins,calls,recordedMessages\r\n".to_owned();
        for UsageOfDay { day, sums } in &self.days {
            let UsageSums { participant_ms, joins, calls, recorded_messages } = sums;
            // Writing to a string does not fail.
            let _infallible = write!(text, "{day},{participant_ms},{joins},{calls},{recorded_messages}\r\n");
        }
        text
    }
}

/// Query of `GET admin/apps/:appId/usage` and `GET server/usage`.
pub(crate) struct UsageQuery {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Input for UsageQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { from: fields.date("from"), to: fields.date("to") }
    }
}

impl UsageQuery {
    /// Returns the period: by default this month until now.
    fn period(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let to = self.to.unwrap_or(now);
        (self.from.unwrap_or_else(|| to.month_start()), to)
    }
}

/// Answers with the usage of an app by day, as JSON or as CSV.
pub(crate) async fn usage_of(app: &App, id: &AppId, query: &UsageQuery, wants_csv: bool) -> ApiResult<Response> {
    let (from, to) = query.period(app.now());
    let usage = UsageView::from(app.app_admin().usage(id, from, to).await?);
    if wants_csv {
        return Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], usage.csv()).into_response());
    }
    Ok(success("Usage of the app", usage).into_response())
}

/// Limits of an app, and how much of them is in use.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AppLimitsInUse")]
pub(crate) struct LimitsView {
    /// Limits of the app.
    limits: AppLimits,
    /// What the app has now, where it has a limit.
    in_use: InUseView,
}

/// What an app has now, as its limits count it. Null where the app has no such limit, because
/// nothing is counted there.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AppInUse")]
struct InUseView {
    /// Calls with a participant.
    concurrent_calls: Option<u32>,
    /// Participants with a connection, the lobby included, in all calls together.
    concurrent_participants: Option<u32>,
}

impl LimitsView {
    fn new(limits: AppLimits, count: AppCount) -> Self {
        let in_use = InUseView {
            concurrent_calls: limits.max_concurrent_calls.map(|_| count.calls),
            concurrent_participants: limits.max_concurrent_participants.map(|_| count.participants),
        };
        Self { limits, in_use }
    }
}

/// Answers with the limits of an app and what is in use of them. Costs a request to Redis only if
/// the app has a limit of calls or participants.
pub(crate) async fn limits_of(app: &App, id: &AppId) -> ApiResult<Response> {
    let limits = app.apps.limits(id);
    let count = if limits.bounds_entries() { app.rooms.count_app(id).await? } else { AppCount::default() };
    Ok(success("Limits of the app", LimitsView::new(limits, count)).into_response())
}
