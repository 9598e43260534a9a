//! Health of this node, of Redis and of the other nodes.
//!
//! | file | content |
//! |---|---|
//! | `node_health` | health of this node as of the last heartbeat |
//! | `readiness` | checks of `/readyz` |
//! | `schema_check` | whether this node can read the documents in MongoDB |
//! | `redis_health` | pings Redis and tells clients when it stops and starts to reply |
//! | `peer_health` | asks other nodes whether they are healthy |
//!
//! `membership` sets [`NodeHealth`] at each heartbeat. The other files here and the hand-over port
//! read it.

mod node_health;
mod peer_health;
mod readiness;
mod redis_health;
mod schema_check;

pub use node_health::NodeHealth;
pub use peer_health::PeerHealth;
pub use readiness::readiness;
pub use redis_health::RedisHealth;
pub use schema_check::SchemaCheck;
