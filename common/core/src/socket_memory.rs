//! Memory of a signaling node, and the sockets that fit in it. Measured, see `docs/OPERATIONS.md`,
//! "Sizing".

/// Memory that is not for sockets: the program, its buffers, and rooms.
pub const BASE_BYTES: u64 = 128 * 1024 * 1024;

/// Memory of one socket: 3.5 KiB for a joined session and its usual queue, and 14 KiB for each of
/// the two HTTP connections that a long-polling client holds. A WebSocket needs less.
pub const SOCKET_BYTES: u64 = 32 * 1024;

/// Returns how many of these bytes of memory are for send queues of clients that do not read.
#[must_use]
pub const fn send_queues(memory: u64) -> u64 {
    memory / 4
}

/// Returns how many sockets fit in this memory, in bytes.
#[must_use]
pub const fn sockets_that_fit(memory: u64) -> u64 {
    memory.saturating_sub(BASE_BYTES + send_queues(memory)) / SOCKET_BYTES
}
