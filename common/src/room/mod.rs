//! Room state on Redis: the one place that knows its keys, scripts and connections.
//!
//! `keys` names, `lua/` decides, `lane` carries, `store` is what everybody else calls, `bus` receives.

pub mod bus;
pub mod store;
pub mod types;

pub use bus::{Bus, BusEvent};
pub use store::Rooms;
pub use types::*;
