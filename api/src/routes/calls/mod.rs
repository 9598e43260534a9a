//! Calls.
//!
//! | file | content |
//! |---|---|
//! | `input` | fields of a call in request bodies |
//! | `create` | creates a call |
//! | `list` | lists the user's calls |
//! | `read` | reads one call, and its statistics |
//! | `edit` | changes a call |
//! | `end` | ends and deletes a call |
//! | `reopen` | reopens a call that has ended |
//! | `messages` | reads the recorded chat |
//! | `participants` | lists the participants |

mod create;
mod edit;
mod end;
pub(super) mod input;
mod list;
mod messages;
mod participants;
mod read;
mod reopen;

pub(crate) use create::create;
pub(super) use create::{create_call, new_call};
pub(crate) use edit::edit;
pub(super) use edit::{Changes, change};
pub(crate) use end::{EndOfCall, delete, end};
pub(super) use end::{Owner, delete_call, end_call};
pub(crate) use list::list;
pub(super) use list::{Listing, list_calls};
pub(crate) use messages::{MessageView, messages};
pub(crate) use participants::participants;
pub(super) use read::present;
pub(crate) use read::{CallOrSummary, by_room, get, stats};
pub(crate) use reopen::reopen;
