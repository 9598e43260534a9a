//! Calls: making, listing, reading, changing and ending them.

mod create;
mod edit;
mod end;
mod list;
mod messages;
mod read;

pub(crate) use create::create;
pub(crate) use edit::edit;
pub(crate) use end::{EndOfCall, delete, end};
pub(crate) use list::list;
pub(crate) use messages::{MessageView, messages};
pub(crate) use read::{CallOrDoor, by_room, get, stats};
use switchboard_core::domain::CallType;

/// The words for a call's type.
const TYPES: [(&str, CallType); 3] =
    [("public", CallType::Public), ("private", CallType::Private), ("invited_only", CallType::InvitedOnly)];
