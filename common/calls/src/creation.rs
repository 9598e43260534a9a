//! Creating a call: its record, and its room if the creator chose the room id.
//!
//! A generated room id is random, so nobody has it. One that an app's backend chose may be opened
//! at the same moment by the first join with a token for it. So the room id is reserved first, and
//! the script that creates rooms respects that. Nobody can join by a reservation. The record then
//! decides, and is never removed again: from its insert on, users may read it and join.

use switchboard_core::domain::{
    AppId, CallId, CallSettings, CallStatus, CallType, Code, PublicUser, Refusal, Role, RoomId, RoomName, Timestamp,
    UserId, check_admits_somebody,
};
use switchboard_records::{
    CallRecord, ParticipantCounts, ParticipantRecord, ProfileRecord, RecordedLines, Records, RecordsError,
};
use switchboard_rooms::{Opened, Reserved, Rooms};

use crate::CallError;
use crate::admission::PENDING_INTERVAL;

/// Room ids that are tried. There are 32^12, so three collisions in a row do not happen by
/// accident.
const ROOM_ATTEMPTS_MAX: usize = 3;

/// Attempts to reserve a room id while another request creates a call with it, which takes
/// milliseconds. Then the request is refused with `SERVICE_UNAVAILABLE`.
const RESERVE_ATTEMPTS_MAX: usize = 5;

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
    /// request made it, and it is returned. A chosen room id is taken from a call that is over.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`: nobody could join. `ROOM_EXISTS`: another call has the chosen room id.
    /// `SERVICE_UNAVAILABLE`: another request creates a call with that room id at this moment.
    /// `CallError::NotFound`: the call of the earlier attempt is deleted. Otherwise a store failed;
    /// the call may exist then, and the attempt can be repeated.
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
        check_admits_somebody(new.call_type, &host_id, &new.invited)?;
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
        if chosen.is_none() {
            return Ok(self.store(&app, &mut call, false).await?.unwrap_or(call));
        }
        self.reserve(&call).await?;
        let stored = self.store(&app, &mut call, true).await;
        if let Err(CallError::Refused(_) | CallError::NotFound) = &stored
            && let Err(error) = self.rooms.release(&call.room, &call.id).await
        {
            tracing::warn!(%error, call_id = %call.id, "reservation of a room id not given up; it expires");
        }
        let call = stored?.unwrap_or(call);
        self.open(&call).await?;
        Ok(call)
    }

    /// Opens the room of a call with a chosen room id, unless the call is over. It closes by
    /// itself, as every empty room.
    ///
    /// # Errors
    /// Redis failed, or lost the reservation, and another call has the room:
    /// `SERVICE_UNAVAILABLE`.
    pub async fn open(&self, call: &CallRecord) -> Result<(), CallError> {
        if call.status.is_over() {
            return Ok(());
        }
        match self.rooms.open(&call.room, &call.room_meta()).await? {
            // A call that has ended at this moment was created all the same.
            Opened::Open | Opened::Ended => Ok(()),
            Opened::Taken => Err(Code::ServiceUnavailable.into()),
        }
    }

    /// Stores the call. If its room id is taken, takes it from a call that is over, or tries again
    /// with another one if it was not chosen. Returns the call with this id that exists already, if
    /// there is one.
    async fn store(
        &self,
        app: &AppId,
        call: &mut CallRecord,
        is_chosen: bool,
    ) -> Result<Option<CallRecord>, CallError> {
        let mut is_taken = false;
        for _ in 0..ROOM_ATTEMPTS_MAX {
            call.join_link = join_link(self.frontend, &call.room);
            match self.records.insert_call(call).await {
                Err(RecordsError::Duplicate) => {}
                done => return Ok(done.map(|()| None)?),
            }
            if self.records.has_call(&call.id).await? {
                return self.records.call(app, &call.id).await?.map(Some).ok_or(CallError::NotFound);
            }
            if !is_chosen {
                call.room = generated_room(app);
            } else if !self.records.release_room(&call.room).await? {
                if is_taken {
                    return Err(Code::RoomExists.into());
                }
                // A repetition of this request may have released the room a moment ago, or created
                // the call. The next insert shows it.
                is_taken = true;
            }
        }
        Err(RecordsError::Duplicate.into())
    }

    /// Reserves the room id. While another request creates a call with it, waits for the outcome.
    async fn reserve(&self, call: &CallRecord) -> Result<(), CallError> {
        for _ in 0..RESERVE_ATTEMPTS_MAX {
            match self.rooms.reserve(&call.room, &call.id).await? {
                Reserved::Done => return Ok(()),
                Reserved::Exists => return Err(Code::RoomExists.into()),
                Reserved::Pending => tokio::time::sleep(PENDING_INTERVAL).await,
            }
        }
        Err(Refusal::new(Code::ServiceUnavailable, "Another request creates a call in this room; try again").into())
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
