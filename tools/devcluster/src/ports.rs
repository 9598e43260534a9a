//! Free ports of 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;
use rand::RngExt;

/// Below the kernel's ephemeral range (from 32768): an outgoing connection of a busy test can then never sit on the
/// port of a server that is down for a moment and is about to come back on it.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port that nothing listens on. It is not reserved: whoever starts a server on it tries again with another one when
/// the server could not bind (see [`crate::process::retry`]).
///
/// # Errors
/// When a thousand random ports are all taken.
pub fn free() -> anyhow::Result<u16> {
    Ok(listen()?.0)
}

/// As many ports, no two the same.
///
/// # Errors
/// As [`free`].
pub fn several(count: usize) -> anyhow::Result<Vec<u16>> {
    // Kept until all are there: none is found twice.
    let taken = (0..count).map(|_| listen()).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(taken.iter().map(|(port, _)| *port).collect())
}

fn listen() -> anyhow::Result<(u16, TcpListener)> {
    let mut rng = rand::rng();
    let mut tries = (0..1000).map(|_| rng.random_range(RANGE));
    let bound = tries.find_map(|port| Some((port, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?)));
    bound.context("no free port on 127.0.0.1")
}

/// Whether a server could listen on this port of 127.0.0.1 now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
