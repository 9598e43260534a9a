//! The use cases that REST and sockets share. Each exists once, so that the two cannot disagree.
//!
//! | module | content |
//! |---|---|
//! | `admission` | find a call by its room, decide who may join and how, open the room |
//! | `editing` | change a call in its room and in its record |
//! | `error` | why a use case failed |

mod admission;
mod editing;
mod error;

pub use admission::{ADMISSION_ATTEMPTS_MAX, Candidate, FoundCall, JoinAccess, RecordRead, seat_refusal};
pub use editing::{CallEditor, check_editable};
pub use error::CallError;
