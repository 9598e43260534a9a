//! Routes for backends of apps, with an API key.
//!
//! | file | content |
//! |---|---|
//! | `calls` | calls of the app |
//! | `participants` | participants of an open room |
//! | `events` | events that the backend sends into a room |
//! | `tokens` | user tokens for backends that cannot sign |
//! | `usage` | usage and limits of the app |

pub(super) mod calls;
pub(super) mod events;
pub(super) mod participants;
pub(super) mod tokens;
pub(super) mod usage;
