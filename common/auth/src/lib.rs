//! Who somebody is: tokens, passwords, the credentials for TURN, the keys of nodes and operators, and the signature of webhooks.

pub mod metric_catalog;
pub mod operator;
pub mod password;
pub mod token;
pub mod turn;
pub mod webhook;

pub use operator::OperatorKeys;
pub use password::{Hasher, Verdict};
pub use token::{Identity, Issued, JoinGrant, Kind, Lifetimes, Tokens, random_id};
pub use turn::{IceConfig, IceServer, TurnCredentials};
pub use webhook::WebhookKey;
