//! Checks of `/readyz`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use switchboard_rooms::{EvictionPolicy, Rooms};
use switchboard_runtime::admin::Readiness;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::node_health::NodeHealth;
use super::schema_check::SchemaCheck;

/// Time that a probe waits for Redis. Load balancers wait longer for the probe.
const POLICY_READ_TIMEOUT: Duration = Duration::from_millis(200);

/// Returns the checks of `/readyz`: the node is registered and its subscription works, Redis evicts
/// no keys, the node is not too old for the documents in MongoDB, and it does not drain (`stop`).
/// `rooms` is empty until Redis was reached.
pub fn readiness(
    rooms: &Arc<OnceLock<Rooms>>,
    health: NodeHealth,
    schema: SchemaCheck,
    stop: CancellationToken,
) -> Readiness {
    let rooms = Arc::clone(rooms);
    Readiness::new()
        .check("cluster", move || {
            let ready = health.is_ready();
            async move { if ready { Ok(()) } else { Err("not registered, or its subscription is silent".to_owned()) } }
        })
        .check_with_note("redis_policy", move || {
            let rooms = Arc::clone(&rooms);
            async move {
                // Until Redis was reached, the check "cluster" fails.
                let Some(rooms) = rooms.get() else { return Ok("ok".to_owned()) };
                match timeout(POLICY_READ_TIMEOUT, rooms.eviction_policy()).await {
                    Ok(Ok(EvictionPolicy::Evicts(policy))) => {
                        Err(format!("maxmemory-policy must be noeviction and is {policy}"))
                    }
                    Ok(Ok(EvictionPolicy::Unknown)) => {
                        Ok("unknown: Redis denies INFO memory; its maxmemory-policy must be noeviction".to_owned())
                    }
                    // A Redis that does not reply is reported by the check "cluster", which has a
                    // delay. A failure here would make every node unready at the same time.
                    Ok(Ok(EvictionPolicy::NoEviction) | Err(_)) | Err(_) => Ok("ok".to_owned()),
                }
            }
        })
        .check("schema", move || {
            let problem = schema.problem();
            async move { problem.map_or(Ok(()), Err) }
        })
        .check("draining", move || {
            let draining = stop.is_cancelled();
            async move { if draining { Err("this node is draining".to_owned()) } else { Ok(()) } }
        })
}
