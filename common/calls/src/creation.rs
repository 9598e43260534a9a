//! Creating a call: its record first, then its room if the creator chose the room id.
//!
//! A generated room id is random, so nobody has it. One that an app's backend chose may be opened
//! at the same moment by the first join with a token for it. So the script that creates rooms
//! decides which call has the room.

use switchboard_core::domain::{
    AppId, CallId, CallSettings, CallStatus, CallType, Code, PublicUser, Role, RoomId, RoomName, Timestamp, UserId,
};
use switchboard_records::{
    CallRecord, ParticipantCounts, ParticipantRecord, ProfileRecord, RecordedLines, Records, RecordsError,
};
use switchboard_rooms::{Created, RoomPeek, Rooms};

use crate::CallError;

/// Room ids that are tried. There are 32^12, so three collisions in a row do not happen by
/// accident.
const ROOM_ATTEMPTS_MAX: usize = 3;

/// What creating works with.
#[derive(Clone, Copy)]
pub struct CallCreator<'a> {
    /// Rooms.
    pub rooms: &'a Rooms,
    /// Records.
    pub records: &'a Records,
    /// Address of the web page, without a slash at the end. Links to calls begin with it.
    pub frontend: &'a str,
}

/// Fields of a new call that its creator sets.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// Title.
    pub title: String,
    /// Description; may be empty.
    pub description: String,
    /// Date.
    pub scheduled_at: Option<Timestamp>,
    /// Users who may join.
    pub call_type: CallType,
    /// Settings.
    pub settings: CallSettings,
    /// Number of seats.
    pub max_participants: u32,
    /// Hash of the passcode.
    pub passcode: Option<String>,
    /// Users invited by name.
    pub invited: Vec<UserId>,
}

/// Place and owner of a new call.
#[derive(Clone, Debug)]
pub struct NewCallOwner {
    /// App of the call.
    pub app: AppId,
    /// User who owns the call; `None` if nobody does, and tokens say who hosts.
    pub host: Option<PublicUser>,
    /// Room id that the creator chose; `None` generates one.
    pub room: Option<RoomName>,
}

impl CallCreator<'_> {
    /// Creates the call `id`. If a call with this id exists already, an earlier attempt of the same
    /// request made it, and it is returned.
    ///
    /// # Errors
    /// `ROOM_EXISTS`: another call has the chosen room id, or had it within the last 10 minutes.
    /// `CallError::NotFound`: the call of the earlier attempt is deleted. Otherwise a store failed.
    pub async fn create(
        &self,
        id: CallId,
        new: NewCall,
        owner: NewCallOwner,
        now: Timestamp,
    ) -> Result<CallRecord, CallError> {
        let NewCallOwner { app, host, room: chosen } = owner;
        let (host_id, profiles) = match host {
            Some(host) => (host.id.clone(), vec![ProfileRecord { id: host.id, name: host.name, avatar: host.avatar }]),
            None => (UserId::nobody(), Vec::new()),
        };
        let room = chosen.as_ref().map_or_else(|| generated_room(&app), |name| app.room(name));
        let mut call = CallRecord {
            id,
            title: new.title,
            description: new.description,
            participants: expected_host(&host_id),
            host: host_id,
            counts: Some(ParticipantCounts::default()),
            present: 0,
            scheduled_at: new.scheduled_at,
            started_at: None,
            ended_at: None,
            duration: None,
            periods: Vec::new(),
            status: if new.scheduled_at.is_some() { CallStatus::Scheduled } else { CallStatus::Waiting },
            call_type: new.call_type,
            settings: new.settings,
            room,
            join_link: String::new(),
            passcode: new.passcode,
            max_participants: new.max_participants,
            locked: false,
            invited: new.invited,
            peak: 0,
            recorded: RecordedLines::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
            profiles,
        };
        if chosen.is_some() && self.is_taken(&call).await? {
            return Err(Code::RoomExists.into());
        }
        if let Some(earlier) = self.store(&app, &mut call, chosen.is_some()).await? {
            return Ok(earlier);
        }
        if chosen.is_some() && !self.reserve(&call).await? {
            self.records.remove_call(&call.id).await?;
            return Err(Code::RoomExists.into());
        }
        Ok(call)
    }

    /// Returns whether another call has the room open, so that no record is written in vain.
    async fn is_taken(&self, call: &CallRecord) -> Result<bool, CallError> {
        Ok(matches!(self.rooms.peek(&call.room).await?, RoomPeek::Open { meta, .. } if meta.call_id != call.id))
    }

    /// Stores the call. If its room id is taken and was not chosen, tries again with another one.
    /// Returns the call with this id that exists already, if there is one.
    async fn store(
        &self,
        app: &AppId,
        call: &mut CallRecord,
        is_chosen: bool,
    ) -> Result<Option<CallRecord>, CallError> {
        for _ in 0..ROOM_ATTEMPTS_MAX {
            call.join_link = join_link(self.frontend, &call.room);
            match self.records.insert_call(call).await {
                Err(RecordsError::Duplicate) => {}
                done => return Ok(done.map(|()| None)?),
            }
            if self.records.has_call(&call.id).await? {
                return self.records.call(app, &call.id).await?.map(Some).ok_or(CallError::NotFound);
            }
            if is_chosen {
                return Err(Code::RoomExists.into());
            }
            call.room = generated_room(app);
        }
        Err(RecordsError::Duplicate.into())
    }

    /// Creates the room, which nobody needs to enter: it closes by itself, as every empty room.
    /// Returns false if another call has the room, or a call in it ended a short time ago.
    async fn reserve(&self, call: &CallRecord) -> Result<bool, CallError> {
        let meta = call.room_meta();
        // The recorder makes no second record of it.
        let details = serde_json::to_string(&meta).map_err(|_| Code::InternalError)?;
        Ok(self.rooms.create(&call.room, &meta, &details).await? == Created::Done)
    }
}

/// Returns the participants of a call that nobody joined yet: its owner.
fn expected_host(host: &UserId) -> Vec<ParticipantRecord> {
    if host.is_nobody() { Vec::new() } else { vec![ParticipantRecord::expected(host.clone(), Role::Host)] }
}

fn generated_room(app: &AppId) -> RoomId {
    app.room(&RoomName::from_random(rand::random()))
}

/// Returns the address of the web page at which users join a room.
#[must_use]
pub fn join_link(frontend: &str, room: &RoomId) -> String {
    format!("{frontend}/r/{}", room.name())
}
