//! Free ports of 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;
use rand::RngExt;

/// Range of the ports, below the kernel's ephemeral range (from 32768). An outgoing connection of
/// a busy test can then never take the port of a server that is restarting.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// Finds a port that nothing listens on. It is not reserved, so a caller chooses another port when
/// its server cannot bind (see [`crate::process::retry`]).
///
/// # Errors
/// When 1000 random ports are all in use.
pub fn free() -> anyhow::Result<u16> {
    Ok(listen()?.0)
}

/// Finds `count` different free ports.
///
/// # Errors
/// When 1000 random ports are all in use.
pub fn several(count: usize) -> anyhow::Result<Vec<u16>> {
    // The listeners stay open until all ports are found, so that none is found twice.
    let taken = (0..count).map(|_| listen()).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(taken.iter().map(|(port, _)| *port).collect())
}

fn listen() -> anyhow::Result<(u16, TcpListener)> {
    let mut rng = rand::rng();
    let mut ports = (0..1000).map(|_| rng.random_range(RANGE));
    let bound = ports.find_map(|port| Some((port, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?)));
    bound.context("no free port on 127.0.0.1")
}

/// Whether a server could bind this port of 127.0.0.1 now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
