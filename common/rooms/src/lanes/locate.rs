//! Finds the server of each partition: by the slot map of a Redis Cluster, or by asking Sentinels
//! for the master.

use std::io;
use std::time::Duration;

use redis::{Value, cmd};
use tokio::time::timeout;

use super::topology::Address;
use crate::conn::connection::{Connection, ConnectionError};
use crate::conn::{Deployment, Purpose, RedisUrl, Sentinels};
use crate::values::text;

/// How long one server or Sentinel may take to answer, before the next one is asked.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the server of each of these slots. A standalone Redis has all, and so has the master
/// that Sentinels name. In a cluster, the first of the `known` servers decides whose slot map has
/// all of them. `None` if no server or no Sentinel answers with it.
pub(crate) async fn locate(url: &RedisUrl, known: &[Address], slots: &[u16]) -> Option<Vec<Address>> {
    match url.deployment() {
        Deployment::Standalone => Some(vec![url.hosts()[0].clone(); slots.len()]),
        Deployment::Cluster => slot_map(url, known, slots).await,
        Deployment::Sentinel(sentinels) => find_master(url, sentinels).await.map(|master| vec![master; slots.len()]),
    }
}

/// Returns the servers in the order in which they are asked, each once, and the `suspect` last.
pub(crate) fn search_order<'a>(servers: impl Iterator<Item = &'a Address>, suspect: &Address) -> Vec<Address> {
    let mut order: Vec<Address> = Vec::new();
    for address in servers {
        if !order.contains(address) {
            order.push(address.clone());
        }
    }
    order.sort_by_key(|address| address == suspect);
    order
}

/// Asks one Sentinel after the other for the master. `None` if none names a server that is a
/// master: a failover may be under way.
async fn find_master(url: &RedisUrl, sentinels: &Sentinels) -> Option<Address> {
    let mut refused: Vec<Address> = Vec::new();
    for sentinel in url.hosts() {
        let master = match within(ANSWER_TIMEOUT, ask_sentinel(url, sentinels, sentinel)).await {
            Ok(master) => master,
            Err(error) => {
                url.failed(Purpose::Sentinel, sentinel, &error);
                continue;
            }
        };
        url.recovered(Purpose::Sentinel, sentinel);
        if refused.contains(&master) {
            continue;
        }
        // A Sentinel that is cut off from the others still names the old master.
        match within(ANSWER_TIMEOUT, Connection::open(url, &master.0, master.1)).await {
            Ok(_) => {
                url.recovered(Purpose::Master, &master);
                return Some(master);
            }
            Err(error) => {
                url.failed(Purpose::Master, &master, &error);
                refused.push(master);
            }
        }
    }
    None
}

async fn ask_sentinel(url: &RedisUrl, sentinels: &Sentinels, address: &Address) -> Result<Address, ConnectionError> {
    let mut connection = Connection::open_sentinel(url, sentinels, address).await?;
    let mut command = cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(&sentinels.master);
    let reply = connection.query(&command).await?;
    let master = match &reply {
        Value::Array(items) => match &items[..] {
            [host, port] => text(host).zip(text(port).and_then(|port| port.parse().ok())),
            _ => None,
        },
        Value::Nil => {
            let unknown = format!("SENTINEL: it knows no master named {}", sentinels.master);
            return Err(ConnectionError::Refused(unknown));
        }
        _ => None,
    };
    let (host, port) = master.ok_or_else(|| ConnectionError::refused("SENTINEL", &reply))?;
    Ok((host.to_owned(), port))
}

/// Gives an attempt up after a time.
pub(crate) async fn within<T>(
    limit: Duration,
    attempt: impl Future<Output = Result<T, ConnectionError>>,
) -> Result<T, ConnectionError> {
    timeout(limit, attempt).await.unwrap_or_else(|late| Err(io::Error::from(late).into()))
}

async fn slot_map(url: &RedisUrl, known: &[Address], slots: &[u16]) -> Option<Vec<Address>> {
    for address in known {
        let map = match within(ANSWER_TIMEOUT, read_slots(url, address)).await {
            Ok(map) => map,
            Err(error) => {
                url.failed(Purpose::SlotMap, address, &error);
                continue;
            }
        };
        url.recovered(Purpose::SlotMap, address);
        let server = |slot: &u16| map.iter().find(|(first, last, _)| (first..=last).contains(&slot));
        let servers: Option<Vec<Address>> =
            slots.iter().map(|slot| server(slot).map(|(_, _, address)| address.clone())).collect();
        if servers.is_some() {
            return servers;
        }
    }
    None
}

async fn read_slots(url: &RedisUrl, address: &Address) -> Result<Vec<(u16, u16, Address)>, ConnectionError> {
    let mut connection = Connection::open(url, &address.0, address.1).await?;
    let reply = connection.query(cmd("CLUSTER").arg("SLOTS")).await?;
    if matches!(reply, Value::ServerError(_)) {
        return Err(ConnectionError::refused("CLUSTER SLOTS", &reply));
    }
    Ok(parse_slots(&reply, &address.0, url.tls()))
}

/// Reads the reply to `CLUSTER SLOTS`: first slot, last slot, master.
fn parse_slots(reply: &Value, asked: &str, tls: bool) -> Vec<(u16, u16, Address)> {
    let range = |value: &Value| {
        let Value::Array(fields) = value else { return None };
        let (Value::Int(first), Value::Int(last), Value::Array(master)) =
            (fields.first()?, fields.get(1)?, fields.get(2)?)
        else {
            return None;
        };
        let host = host_of(master, asked, tls)?;
        let Value::Int(port) = master.get(1)? else { return None };
        Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, (host, u16::try_from(*port).ok()?)))
    };
    match reply {
        Value::Array(ranges) => ranges.iter().filter_map(range).collect(),
        _ => Vec::new(),
    }
}

/// Returns the host of a server in the slot map. Over TLS it is the announced hostname, because a
/// certificate rarely names an address. A server that does not know its own host leaves it empty;
/// then it is the host that was `asked`.
fn host_of(server: &[Value], asked: &str, tls: bool) -> Option<String> {
    let metadata = |wanted: &str| {
        let Value::Array(pairs) = server.get(3)? else { return None };
        pairs.chunks_exact(2).find(|pair| text(&pair[0]) == Some(wanted)).and_then(|pair| text(&pair[1]))
    };
    let known = |host: &&str| !host.is_empty() && *host != "?";
    let host = match server.first()? {
        Value::BulkString(host) => Some(std::str::from_utf8(host).ok()?),
        _ => None,
    };
    let announced = metadata("hostname").filter(known).filter(|_| tls);
    // "?" says that a hostname is preferred and this server announces none.
    let address = || metadata("ip").filter(known).filter(|_| host == Some("?"));
    Some(announced.or_else(|| host.filter(known)).or_else(address).unwrap_or(asked).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    /// Returns the host of a server that prefers `endpoint` and has this metadata.
    fn host(endpoint: Value, metadata: &[(&str, &str)], tls: bool) -> String {
        let metadata = metadata.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect();
        let master = Value::Array(vec![endpoint, Value::Int(7), bulk("id"), Value::Array(metadata)]);
        let reply = Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(16_383), master])]);
        let slots = parse_slots(&reply, "asked", tls);
        assert!(matches!(&slots[..], [(0, 16_383, (_, 7))]), "{slots:?}");
        slots[0].2.0.clone()
    }

    #[test]
    fn over_tls_the_announced_hostname_of_a_cluster_member_is_its_host() {
        let name = [("hostname", "redis-0.example")];
        assert_eq!(host(bulk("192.0.2.1"), &name, true), "redis-0.example");
        assert_eq!(host(bulk("192.0.2.1"), &name, false), "192.0.2.1");
        assert_eq!(host(bulk("192.0.2.1"), &[], true), "192.0.2.1");
        let address = [("ip", "192.0.2.1")];
        assert_eq!(host(bulk("redis-0.example"), &address, false), "redis-0.example");
        assert_eq!(host(bulk("?"), &address, true), "192.0.2.1");
        for unknown in [Value::Nil, bulk(""), bulk("?")] {
            assert_eq!(host(unknown, &[], true), "asked");
        }
    }
}
