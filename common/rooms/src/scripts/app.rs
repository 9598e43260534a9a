//! enter_app, count_app: participants and rooms of an app on all nodes, and its limits.

use switchboard_core::domain::AppId;

use super::{Reply, Script, ScriptArguments, ScriptWriter};
use crate::keys::Keys;
use crate::{AppCount, AppEntry, AppReport, AppStep, StoreError};

/// Maximum number of rooms in one report.
pub const REPORTED_ROOMS_MAX: usize = 100;
/// Time in milliseconds for which a report counts. A node that died counts for so long, and so does
/// a room that the last participant has left.
const REPORT_LIFETIME_MS: u64 = 10_000;

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
        to.number(REPORT_LIFETIME_MS);
        if limits.max_concurrent_calls.is_some() {
            self.report.rooms.iter().take(REPORTED_ROOMS_MAX).for_each(|room| to.text(room.name()));
        }
    }

    fn parse(reply: &Reply) -> Result<AppEntry, StoreError> {
        match reply.status() {
            "OK" => Ok(AppEntry::Counted { participants: count(reply, 1)?, nodes: count(reply, 2)? }),
            "PARTICIPANTS" => Ok(AppEntry::MostParticipants),
            "ROOMS" => Ok(AppEntry::MostCalls),
            _ => Err(reply.unknown()),
        }
    }
}

/// Arguments of `count_app.lua`.
#[derive(Debug)]
pub struct CountAppScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// App.
    pub app: &'a AppId,
}

impl ScriptArguments for CountAppScript<'_> {
    const SCRIPT: Script = Script::CountApp;
    type Reply = AppCount;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        for key in self.keys.app(self.app) {
            to.key(&[&key]);
        }
        to.number(REPORT_LIFETIME_MS);
    }

    fn parse(reply: &Reply) -> Result<AppCount, StoreError> {
        match reply.status() {
            "OK" => Ok(AppCount { participants: count(reply, 1)?, calls: count(reply, 2)? }),
            _ => Err(reply.unknown()),
        }
    }
}

fn count(reply: &Reply, index: usize) -> Result<u32, StoreError> {
    Ok(u32::try_from(reply.number(index)?).unwrap_or(u32::MAX))
}
