//! Who somebody is: tokens, passwords, and the credentials for TURN.

pub mod password;
pub mod token;
pub mod turn;

pub use password::{Hasher, Verdict};
pub use token::{Identity, Issued, Kind, Lifetimes, Tokens, random_id};
pub use turn::{IceConfig, IceServer, TurnCredentials};
