//! Room state on Redis: the one place that knows its keys, scripts and connections.
//!
//! `keys` names, `lua/` decides, `lane` carries, `store` is what everybody else calls, `bus` receives.

pub mod types;

pub use types::*;
