//! Accounts.
//!
//! | file | content |
//! |---|---|
//! | `sign_in` | registers an account; signs in |
//! | `sessions` | refreshes, lists and ends sign-ins |
//! | `other_sign_ins` | ends the caller's other sign-ins |
//! | `password` | changes the password |
//! | `profile` | the user's own profile and statistics |

mod other_sign_ins;
mod password;
mod profile;
mod sessions;
mod sign_in;

pub(crate) use password::change_password;
pub(crate) use profile::{Statistics, Valid, change_profile, profile, stats, validate};
pub(crate) use sessions::{SessionView, end_others, end_session, list, logout, refresh};
pub(crate) use sign_in::{SignedIn, login, register};
