//! Idle rooms with one participant each. They show whether the cost of a relay depends on the
//! number of rooms in Redis.
//!
//! They are created through the room store as a node of their own, which sends heartbeats like
//! every node, and closed at the end of the run.

use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use switchboard_core::domain::{
    CallId, CallSettings, CallType, MediaState, NodeId, PublicUser, Role, RoomId, RoomMeta, SessionHandle, UserId,
};
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{Join, Joined, Partition, Proof, RoomOptions, Rooms};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Scripts in flight.
const CONCURRENT_MAX: usize = 256;
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Time limit for the api to record the facts of all rooms before the measurement starts.
const RECORD_TIMEOUT: Duration = Duration::from_secs(300);

/// The created rooms. Heartbeats stop when this value is dropped.
#[derive(Debug)]
pub(crate) struct BackgroundRooms {
    rooms: Rooms,
    calls: Vec<(RoomId, CallId)>,
    heartbeats: JoinHandle<()>,
}

impl BackgroundRooms {
    /// Creates `count` rooms in the Redis at `address` and waits until the api has recorded their
    /// facts.
    pub(crate) async fn create(address: &str, count: usize, bar: &ProgressBar) -> anyhow::Result<Self> {
        let url = RedisUrl::parse(&format!("redis://{address}")).context("the address of Redis is malformed")?;
        let node = NodeId::parse(&format!("background-{:08x}", rand::random::<u32>()))
            .context("the generated node id is malformed")?;
        let rooms = Rooms::connect(&url, RoomOptions::default(), node).await?;
        rooms.register_node().await?;
        let heartbeats = tokio::spawn(send_heartbeats(rooms.clone()));
        let mut background_rooms = Self { rooms, calls: Vec::with_capacity(count), heartbeats };
        for number in 0..count {
            let room = RoomId::parse(&format!("background-{number:x}-{:08x}", rand::random::<u32>()));
            let call = CallId::parse(&format!("{:08x}{:016x}", number, rand::random::<u64>()));
            background_rooms.calls.push((
                room.context("the generated room id is malformed")?,
                call.context("the generated call id is malformed")?,
            ));
        }
        let rooms = &background_rooms.rooms;
        stream::iter(background_rooms.calls.iter().zip(0_u64..))
            .map(|((room, call), number)| async move {
                open_with_participant(rooms, room, call, number).await?;
                bar.inc(1);
                anyhow::Ok(())
            })
            .buffer_unordered(CONCURRENT_MAX)
            .try_collect::<()>()
            .await?;
        background_rooms.wait_recorded().await?;
        Ok(background_rooms)
    }

    async fn wait_recorded(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let mut waiting = 0;
            for number in 0..self.rooms.partitions() {
                waiting += self.rooms.outbox_len(Partition(number)).await?;
            }
            if waiting == 0 {
                return Ok(());
            }
            anyhow::ensure!(
                started.elapsed() < RECORD_TIMEOUT,
                "{waiting} facts are not recorded after {RECORD_TIMEOUT:?}: check that an api runs"
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Closes the rooms.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        let rooms = &self.rooms;
        stream::iter(&self.calls)
            .map(|(room, call)| async move { rooms.end(room, call, "load test").await.map(drop) })
            .buffer_unordered(CONCURRENT_MAX)
            .try_collect::<()>()
            .await?;
        Ok(())
    }
}

impl Drop for BackgroundRooms {
    fn drop(&mut self) {
        self.heartbeats.abort();
    }
}

async fn send_heartbeats(rooms: Rooms) {
    for counter in 2.. {
        sleep(HEARTBEAT_INTERVAL).await;
        // The next heartbeat makes up for a failed one.
        let _missed = join_all(rooms.groups().map(|group| rooms.beat(group, counter, false, 0))).await;
    }
}

async fn open_with_participant(rooms: &Rooms, room: &RoomId, call: &CallId, number: u64) -> anyhow::Result<()> {
    let id = |number: u64| UserId::parse(&format!("{number:024x}")).context("the generated user id is malformed");
    let (host, user) = (id(0)?, id(number + 1)?);
    let meta = RoomMeta {
        call_id: call.clone(),
        name: "Background".to_owned(),
        host,
        call_type: CallType::Public,
        settings: CallSettings::default(),
        max_participants: 2,
        locked: false,
        passcode_hash: None,
        invited: Vec::new(),
        created_at: "2026-01-01T00:00:00.000Z".to_owned(),
        version: 1,
    };
    rooms.open(room, &meta).await?;
    let join = Join {
        room: room.clone(),
        meta_version: 1,
        grant: None,
        user: user.clone(),
        pid: format!("{number:064x}"),
        old_pid: None,
        handle: SessionHandle(number),
        role: Role::Participant,
        waits: false,
        public: PublicUser::new(user, "Background".to_owned(), None),
        media: MediaState::default(),
        given: None,
        permissions: None,
        given_permissions: None,
        proof: Proof::default(),
    };
    match rooms.join(join).await? {
        Joined::Seated { .. } => Ok(()),
        other => anyhow::bail!("the background participant got no seat: {other:?}"),
    }
}
