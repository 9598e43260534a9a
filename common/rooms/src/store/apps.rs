//! Participants and rooms of apps on all nodes. The keys of an app are in a partition of its own
//! name, so that apps are spread over the servers.

use switchboard_core::domain::{AppId, AppLimits, RoomId};

use super::Rooms;
use crate::scripts::{CountAppScript, EnterAppScript, REPORTED_ROOMS_MAX};
use crate::{AppCount, AppEntry, AppReport, AppStep, StoreError};

impl Rooms {
    /// Takes a place for one more participant of an app on this node, unless the app is at a limit.
    ///
    /// # Errors
    /// See [`StoreError`]. After `Unavailable` it is unknown whether the place was taken; the next
    /// report corrects the count.
    pub async fn enter_app(&self, app: &AppId, report: AppReport<'_>) -> Result<AppEntry, StoreError> {
        self.send_report(app, report, AppStep::Enter).await
    }

    /// Reports this node's participants and rooms of an app. A report counts for 10 s.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn report_app(&self, app: &AppId, report: AppReport<'_>) -> Result<AppEntry, StoreError> {
        let (first, rest) = report.rooms.split_at(report.rooms.len().min(REPORTED_ROOMS_MAX));
        let mut entry = self.send_report(app, AppReport { rooms: first, ..report }, AppStep::Report).await?;
        if report.limits.max_concurrent_calls.is_some() {
            for rooms in rest.chunks(REPORTED_ROOMS_MAX) {
                entry = self.send_report(app, AppReport { rooms, ..report }, AppStep::Report).await?;
            }
        }
        Ok(entry)
    }

    /// Asks whether one more participant could enter `room` now. Changes nothing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ask_app(&self, room: &RoomId, limits: AppLimits) -> Result<AppEntry, StoreError> {
        let report = AppReport { participants: 0, rooms: std::slice::from_ref(room), limits };
        self.send_report(&room.app(), report, AppStep::Ask).await
    }

    /// Returns how many participants and calls the nodes have reported of an app within 10 s.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn count_app(&self, app: &AppId) -> Result<AppCount, StoreError> {
        let keys = &self.context().keys;
        self.run(keys.partition_of_subject(app.as_str()), &CountAppScript { keys, app }).await
    }

    async fn send_report(&self, app: &AppId, report: AppReport<'_>, step: AppStep) -> Result<AppEntry, StoreError> {
        let (keys, node) = (&self.context().keys, self.context().node.as_str());
        let script = EnterAppScript { keys, app, node, step, report };
        self.run(keys.partition_of_subject(app.as_str()), &script).await
    }
}
