//! enter_app: participants and rooms of an app on all nodes, and its limits.

use std::time::Duration;

use switchboard_core::domain::AppId;

use super::{Reply, Script, ScriptArguments, ScriptWriter};
use crate::keys::Keys;
use crate::{AppEntry, AppReport, AppStep, StoreError};

/// Maximum number of rooms in one report.
pub const REPORTED_ROOMS_MAX: usize = 100;
/// Time for which a report counts. A node that died counts for so long, and so does a room that the
/// last participant has left.
const REPORT_LIFETIME: Duration = Duration::from_secs(10);

/// Arguments of `enter_app.lua`.
#[derive(Debug)]
pub struct EnterAppScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// App.
    pub app: &'a AppId,
    /// Node that reports.
    pub node: &'a str,
    /// What the node does.
    pub step: AppStep,
    /// Report of the node.
    pub report: AppReport<'a>,
}

impl ScriptArguments for EnterAppScript<'_> {
    const SCRIPT: Script = Script::EnterApp;
    type Reply = AppEntry;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let limits = &self.report.limits;
        for key in self.keys.app(self.app) {
            to.key(&[&key]);
        }
        to.text(self.node);
        to.number(self.report.participants.into());
        to.text(match self.step {
            AppStep::Report => "report",
            AppStep::Enter => "enter",
            AppStep::Ask => "ask",
        });
        to.number(limits.max_concurrent_participants.unwrap_or(0).into());
        to.number(limits.max_concurrent_calls.unwrap_or(0).into());
        to.number(u64::try_from(REPORT_LIFETIME.as_millis()).unwrap_or(u64::MAX));
        if limits.max_concurrent_calls.is_some() {
            self.report.rooms.iter().take(REPORTED_ROOMS_MAX).for_each(|room| to.text(room.name()));
        }
    }

    fn parse(reply: &Reply) -> Result<AppEntry, StoreError> {
        match reply.status() {
            "OK" => {
                let number = |index| Ok::<_, StoreError>(u32::try_from(reply.number(index)?).unwrap_or(u32::MAX));
                Ok(AppEntry::Counted { participants: number(1)?, nodes: number(2)? })
            }
            "PARTICIPANTS" => Ok(AppEntry::MostParticipants),
            "ROOMS" => Ok(AppEntry::MostCalls),
            _ => Err(reply.unknown()),
        }
    }
}
