//! Rooms that are there besides, each with somebody in it who says nothing: what others do must not cost more for them.
//!
//! They are made through the store, by a node of their own that beats as any node does, and ended at the end.

use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use switchboard_core::domain::{
    CallId, CallSettings, CallType, MediaState, NodeId, PublicUser, Role, RoomId, RoomMeta, SessionHandle, UserId,
};
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{Join, Joined, Partition, Proof, RoomOptions, Rooms};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Scripts under way at once.
const AT_ONCE: usize = 256;
const BEAT: Duration = Duration::from_secs(1);
/// How long the recorders may take for the facts of so many rooms before anything is measured.
const RECORDED: Duration = Duration::from_secs(300);

/// The rooms.
#[derive(Debug)]
pub(crate) struct Ballast {
    rooms: Rooms,
    names: Vec<(RoomId, CallId)>,
    beating: JoinHandle<()>,
}

impl Ballast {
    /// Makes so many rooms on the Redis at `address`, and waits until their facts are recorded.
    pub(crate) async fn lay(address: &str, count: usize, bar: &ProgressBar) -> anyhow::Result<Self> {
        let url = RedisUrl::parse(&format!("redis://{address}")).context("the address of Redis")?;
        let node = NodeId::parse(&format!("ballast-{:08x}", rand::random::<u32>())).context("a node's name")?;
        let rooms = Rooms::connect(&url, RoomOptions::default(), node).await?;
        beat(&rooms, 1).await?;
        let beating = tokio::spawn(go_on_beating(rooms.clone()));
        let mut ballast = Self { rooms, names: Vec::with_capacity(count), beating };
        for number in 0..count {
            let room = RoomId::parse(&format!("ballast-{number:x}-{:08x}", rand::random::<u32>()));
            let call = CallId::parse(&format!("{:08x}{:016x}", number, rand::random::<u64>()));
            ballast.names.push((room.context("a room's name")?, call.context("a call's id")?));
        }
        let rooms = &ballast.rooms;
        stream::iter(ballast.names.iter().zip(0_u64..))
            .map(|((room, call), number)| async move {
                fill(rooms, room, call, number).await?;
                bar.inc(1);
                anyhow::Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        ballast.recorded().await?;
        Ok(ballast)
    }

    async fn recorded(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let mut waiting = 0;
            for number in 0..self.rooms.partitions() {
                waiting += self.rooms.outbox_len(Partition(number)).await?;
            }
            if waiting == 0 {
                return Ok(());
            }
            anyhow::ensure!(begun.elapsed() < RECORDED, "{waiting} facts are still not recorded: does an api run?");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the rooms.
    pub(crate) async fn lift(self) -> anyhow::Result<()> {
        let rooms = &self.rooms;
        stream::iter(&self.names)
            .map(|(room, call)| async move { rooms.end(room, call, "load test").await.map(drop) })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(())
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

async fn beat(rooms: &Rooms, counter: u64) -> anyhow::Result<()> {
    let all = (0..rooms.partitions()).map(|number| rooms.beat(Partition(number), counter, counter == 1));
    futures_util::future::try_join_all(all).await?;
    Ok(())
}

async fn go_on_beating(rooms: Rooms) {
    for counter in 2.. {
        sleep(BEAT).await;
        // One that is missed is made up for by the next.
        let _missed = beat(&rooms, counter).await;
    }
}

async fn fill(rooms: &Rooms, room: &RoomId, call: &CallId, number: u64) -> anyhow::Result<()> {
    let id = |number: u64| UserId::parse(&format!("{number:024x}")).context("a user's id");
    let (host, user) = (id(0)?, id(number + 1)?);
    let meta = RoomMeta {
        call_id: call.clone(),
        name: "Ballast".to_owned(),
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
        user: user.clone(),
        pid: format!("{number:064x}"),
        old_pid: None,
        handle: SessionHandle(number),
        role: Role::Participant,
        waits: false,
        public: PublicUser::new(user, "Nobody".to_owned(), None),
        media: MediaState::default(),
        given: None,
        proof: Proof::default(),
    };
    match rooms.join(join).await? {
        Joined::Seated { .. } => Ok(()),
        other => anyhow::bail!("nobody could be seated: {other:?}"),
    }
}
