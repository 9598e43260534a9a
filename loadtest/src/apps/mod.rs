//! Apps of one deployment: their usage, and their fairness to each other.
//!
//! | file | content |
//! |---|---|
//! | `keeper` | the participant of a call who writes down who came and went |
//! | `ledger` | stays in one call, as its events tell them; pure |
//! | `usage` | calls of an app while pods are killed; compares its usage with what the clients did |
//! | `noisy` | an app at its limits beside a quiet one |

mod keeper;
mod ledger;
pub(crate) mod noisy;
pub(crate) mod usage;
