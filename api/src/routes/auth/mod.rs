//! Accounts: opening one, signing in and out, and what is one's own.

mod enter;
mod password;
mod profile;
mod sessions;

pub(crate) use enter::{SignedIn, login, register};
pub(crate) use password::change_password;
pub(crate) use profile::{Statistics, Valid, change_profile, profile, stats, validate};
pub(crate) use sessions::{SessionView, end_others, end_session, list, logout, refresh};
