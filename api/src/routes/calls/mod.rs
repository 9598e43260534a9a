//! Calls.
//!
//! | file | content |
//! |---|---|
//! | `input` | fields of a call in request bodies |
//! | `create` | creates a call |
//! | `find` | finds a call, also one whose record is about to be written |
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
pub(crate) mod find;
pub(super) mod input;
mod list;
mod messages;
mod participants;
mod read;
mod reopen;

pub(crate) use create::{create, create_call, created, new_call};
pub(crate) use edit::{Changes, change, edit};
pub(crate) use end::{EndOfCall, Owner, delete, delete_call, end, end_call};
pub(crate) use list::{Listing, list, list_calls};
pub(crate) use messages::{MessageView, messages};
pub(crate) use participants::participants;
pub(crate) use read::{CallOrSummary, by_room, get, present, stats};
pub(crate) use reopen::reopen;
