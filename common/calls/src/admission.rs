//! Admission to a call: find it by its room, decide, open the room.
//!
//! The decision rests on a look at the room and may be out of date a moment later. The script that
//! takes the seat compares the room's version and the assigned role again, so a stale decision is
//! repeated, not applied.

use std::borrow::Cow;
use std::time::Duration;

use switchboard_auth::{JoinGrant, PasswordHasher, Tokens};
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::admission::{admit, needs_passcode};
use switchboard_core::domain::call_fields::PARTICIPANTS_DEFAULT;
use switchboard_core::domain::{
    Admission, AppId, CallSettings, CallType, Code, JoinRequest, JoinToken, PublicUser, Rate, Refusal, Role, RoomId,
    RoomMeta, RoomName, SessionHandle, Timestamp, UserId,
};
use switchboard_records::{CallRecord, Records, RecordsError};
use switchboard_rooms::rate_limit::{GuessClass, PasscodeRates, RateLimiter, Subject};
use switchboard_rooms::{Created, Join, JoinStanding, Joined, Opened, Proof, RoomPeek, Rooms};

use crate::app_limits::count_open_entry;
use crate::{AppDirectory, CallError};

/// Decisions of admission for one join at most, if the room changes each time. Then the join is
/// refused with `SERVICE_UNAVAILABLE`.
pub const ADMISSION_ATTEMPTS_MAX: u32 = 5;
/// Time between two attempts while a call with the room id is being created.
pub(crate) const PENDING_INTERVAL: Duration = Duration::from_millis(100);

/// What admission works with.
#[derive(Clone, Copy)]
pub struct JoinAccess<'a> {
    /// Room state.
    pub rooms: &'a Rooms,
    /// Records, for calls whose room is not open.
    pub records: &'a Records,
    /// Verifies passcodes.
    pub hasher: &'a PasswordHasher,
    /// Verifies join tokens.
    pub tokens: &'a Tokens,
    /// Counts attempts at passcodes over all pods.
    pub limiter: &'a RateLimiter,
    /// Rates of attempts at one call's passcode.
    pub passcode_rates: PasscodeRates,
    /// Rate at which one user may create rooms. `None`: no limit.
    pub creations: Option<Rate>,
    /// Limits of apps.
    pub apps: &'a AppDirectory,
}

/// When the call's record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordRead {
    /// At the same time as the room, with the profiles of its users: the caller shows the call.
    Always,
    /// Only when the room is not open: the caller needs what the room's meta says, and no more.
    IfClosed,
}

/// A call that was found by its room.
#[derive(Clone, Debug)]
pub struct FoundCall {
    /// The call's facts, from the open room, else from its record.
    pub meta: RoomMeta,
    /// The record, brought up to the room's version. With [`RecordRead::IfClosed`] it is `None`
    /// while the room is open.
    pub record: Option<CallRecord>,
    /// Seats taken.
    pub participants: u32,
    /// How the room treats this user: assigned role, ban, removal.
    pub standing: JoinStanding,
}

/// A user who asks to join.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The user's or guest's id.
    pub user: &'a UserId,
    /// Issue time of the oldest token shown: milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// The client's address as rates count it; `None` when it is unknown.
    pub address: Option<ClientNetwork>,
    /// The passcode as the user typed it.
    pub passcode: Option<&'a str>,
    /// Valid join token for this room and user. Its issuer has checked the passcode.
    pub join_token: Option<&'a JoinGrant>,
}

impl JoinAccess<'_> {
    /// Returns the room that a client of `app` means by `typed`. A person may type a code in lower
    /// case, and a client may have chosen such an id for its own room: an existing room with that
    /// very id comes first. Costs a store nothing unless the id has the form of a code in another
    /// case. `bound` is the only room that the client's token is good for.
    pub async fn resolve(&self, app: &AppId, bound: Option<&RoomId>, typed: &RoomName) -> RoomId {
        if let Some(bound) = bound.filter(|bound| typed.may_mean(bound)) {
            return bound.clone();
        }
        let (code, typed) = (typed.as_code(), app.room(typed));
        let Some(code) = code.map(|code| app.room(&code)) else { return typed };
        let (record, peek) = tokio::join!(self.records.call_by_room(&typed), self.rooms.peek(&typed));
        let exists = matches!(record, Ok(Some(_))) || matches!(peek, Ok(RoomPeek::Open { .. } | RoomPeek::Ended));
        if exists { typed } else { code }
    }

    /// Finds the call of a room that is open or can be opened, and how the room treats `user`.
    ///
    /// While MongoDB is away, or the record is still on its way there, an open room is enough.
    ///
    /// # Errors
    /// `CALL_ENDED`, [`CallError::NotFound`], or a store failed.
    pub async fn find(
        &self,
        room: &RoomId,
        user: &UserId,
        proof: &Proof,
        read: RecordRead,
    ) -> Result<FoundCall, CallError> {
        let peek = self.rooms.peek_for(room, user, proof);
        let ((room_peek, standing), record) = match read {
            RecordRead::Always => {
                let (record, peek) = tokio::join!(self.records.call_by_room_with_profiles(room), peek);
                (peek?, Some(record))
            }
            RecordRead::IfClosed => {
                let peek = peek.await?;
                let record = match &peek.0 {
                    RoomPeek::Absent => Some(self.records.call_by_room(room).await),
                    RoomPeek::Open { .. } | RoomPeek::Ended => None,
                };
                (peek, record)
            }
        };
        match room_peek {
            RoomPeek::Ended => Err(Code::CallEnded.into()),
            RoomPeek::Absent => closed(record, user, standing),
            RoomPeek::Open { meta, participants, .. } => {
                let record = match record {
                    Some(Ok(Some(mut call))) => {
                        call.apply_room(&meta);
                        Some(call)
                    }
                    Some(Ok(None) | Err(RecordsError::Unavailable(_))) => Some(CallRecord::from_room(room, &meta)),
                    Some(Err(error)) => return Err(error.into()),
                    None => None,
                };
                if record.as_ref().is_some_and(|call| call.status.is_over()) {
                    return Err(Code::CallEnded.into());
                }
                let meta = record.as_ref().map_or(*meta, CallRecord::room_meta);
                Ok(FoundCall { meta, record, participants, standing })
            }
        }
    }

    /// Creates the call of a room whose app lets its user `user` create it, by a token for that
    /// room. A user who hosts by the token owns the call, else nobody does. If the room exists by
    /// now, nothing happens. While the backend creates a call there, waits 100 ms for its record.
    ///
    /// # Errors
    /// The user's rate of rooms is exceeded, `CALL_ENDED`, or Redis failed.
    pub async fn create(&self, room: &RoomId, user: &UserId, role: Role, now: Timestamp) -> Result<(), CallError> {
        let app = room.app();
        let counted = self.limiter.check("room_create", Subject::of(&app, user), self.creations).await;
        counted.map_err(|exceeded| CallError::Refused(exceeded.into()))?;
        let meta = RoomMeta {
            call_id: Records::new_call_id(),
            name: room.name().to_owned(),
            host: if role == Role::Host { user.clone() } else { UserId::nobody() },
            call_type: CallType::Public,
            settings: CallSettings::default(),
            max_participants: self.apps.limits(&app).seats(PARTICIPANTS_DEFAULT),
            locked: false,
            passcode_hash: None,
            invited: Vec::new(),
            created_at: now.to_string(),
            version: 0,
        };
        // The recorder makes the record from the metadata.
        let details = serde_json::to_string(&meta).map_err(|_| Code::InternalError)?;
        match self.rooms.create(room, &meta, &details).await? {
            Created::Done | Created::Exists => Ok(()),
            Created::Ended => Err(Code::CallEnded.into()),
            Created::Pending => {
                tokio::time::sleep(PENDING_INTERVAL).await;
                Ok(())
            }
        }
    }

    /// Decides whether the candidate may join, with which role, and whether they wait in the lobby.
    ///
    /// A wrong passcode is counted after it was compared; a right one is not counted.
    ///
    /// # Errors
    /// `BANNED`, `REMOVED`, `UNAUTHORIZED` (a guest at a private call), `FORBIDDEN` (not invited),
    /// `INVALID_PASSCODE`, `SERVICE_UNAVAILABLE` (too many passcodes wait to be compared), or
    /// [`CallError::PasscodeRateExceeded`].
    pub async fn decide(
        &self,
        room: &RoomId,
        meta: &RoomMeta,
        standing: &JoinStanding,
        candidate: Candidate<'_>,
    ) -> Result<Admission, CallError> {
        let Candidate { user, issued_ms, address, passcode, join_token } = candidate;
        if let Some(code) = standing.keeps_out(issued_ms) {
            return Err(code.into());
        }
        let stored = meta.passcode_hash.as_deref();
        let join_token = join_token.map(|grant| JoinToken {
            role: standing.role_over(grant.role, grant.is_by_app.then_some(grant.issued_ms)),
            passcode_is_current: self.tokens.is_of_passcode(grant, room, stored),
            is_by_app: grant.is_by_app,
        });
        let policy = meta.access_policy();
        let mut request =
            JoinRequest { user, passcode: None, join_token, assigned_role: standing.given, seated: standing.seated };
        if let (Some(hash), Some(text)) = (stored, passcode)
            && needs_passcode(&policy, &request)
        {
            request.passcode = Some(self.check_passcode(room, address, hash, text).await?);
        }
        Ok(admit(&policy, request)?)
    }

    async fn check_passcode(
        &self,
        room: &RoomId,
        address: Option<ClientNetwork>,
        hash: &str,
        text: &str,
    ) -> Result<bool, CallError> {
        let rates = &self.passcode_rates;
        let secret = Subject::Passcode(room, hash);
        let guess = self.limiter.guess(GuessClass::Passcode, secret, address, rates.bounds()).await;
        let guess = guess.map_err(CallError::PasscodeRateExceeded)?;
        // One address may try the passcodes of many calls. Only those that cost a hash count here.
        let may_hash = async {
            let Some(from) = address else { return Ok(()) };
            let counted = self.limiter.check("passcode_hash", Subject::Address(from), rates.hashes);
            counted.await.map_err(CallError::PasscodeRateExceeded)
        };
        let right = self.hasher.verify_passcode(address, (hash, text), may_hash).await?;
        if right {
            guess.right().await;
        } else {
            guess.wrong().await;
        }
        Ok(right)
    }

    /// Checks that the app of a room may have one more participant there. Passes while Redis does
    /// not answer. Sockets do not ask: a node that enters takes a place.
    ///
    /// # Errors
    /// `APP_LIMIT_REACHED`.
    pub async fn check_app(&self, room: &RoomId) -> Result<(), CallError> {
        let app = room.app();
        let limits = self.apps.limits(&app);
        if !limits.bounds_entries() {
            return Ok(());
        }
        match self.rooms.ask_app(room, limits).await {
            Ok(entry) => {
                let refusal = self.apps.refusals().entry_refusal(&app, entry, &limits);
                refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
            }
            Err(_) => {
                count_open_entry();
                Ok(())
            }
        }
    }

    /// Asks the room whether a socket of this user would get a seat, or a place in the lobby, at
    /// this moment. The script that gives seats answers, so that the two cannot disagree. Returns
    /// false if the room changed since admission was decided: then it must be decided again.
    ///
    /// # Errors
    /// `APP_LIMIT_REACHED` for a user without a seat, as [`seat_refusal`], or Redis failed.
    pub async fn ask(
        &self,
        room: &RoomId,
        call: &FoundCall,
        user: &PublicUser,
        proof: &Proof,
        admission: Admission,
    ) -> Result<bool, CallError> {
        if !call.standing.seated {
            self.check_app(room).await?;
        }
        let join = Join {
            // No session: it has no private id and no handle yet.
            pid: "-".to_owned(),
            old_pid: None,
            handle: SessionHandle(0),
            room: room.clone(),
            meta_version: call.meta.version,
            grant: None,
            user: user.id.clone(),
            role: admission.role,
            waits: admission.waits,
            public: user.clone(),
            media: call.meta.settings.media_at_entry(admission.role),
            given: call.standing.given,
            permissions: None,
            given_permissions: call.standing.given_permissions,
            proof: proof.clone(),
        };
        match self.rooms.may_join(&join).await? {
            Joined::Possible => Ok(true),
            refused => seat_refusal(&refused).map_or(Ok(false), |refusal| Err(refusal.into())),
        }
    }

    /// Opens the room in Redis, or brings an open one to the version of the record that was read.
    /// The room has no more seats than its app allows at that moment.
    ///
    /// # Errors
    /// `CALL_ENDED`, `SERVICE_UNAVAILABLE` if another call has the room, or Redis failed.
    pub async fn open(&self, room: &RoomId, call: &FoundCall) -> Result<(), CallError> {
        if call.record.is_none() {
            return Ok(());
        }
        let seats = self.apps.limits(&room.app()).seats(call.meta.max_participants);
        let meta = if seats == call.meta.max_participants {
            Cow::Borrowed(&call.meta)
        } else {
            Cow::Owned(RoomMeta { max_participants: seats, ..call.meta.clone() })
        };
        match self.rooms.open(room, &meta).await? {
            Opened::Open => Ok(()),
            Opened::Ended => Err(Code::CallEnded.into()),
            // The record was read while another call took the room.
            Opened::Taken => Err(Code::ServiceUnavailable.into()),
        }
    }
}

/// Returns the refusal for a join that gave no seat; `None` if admission must be decided again.
#[must_use]
pub fn seat_refusal<R>(joined: &Joined<R>) -> Option<Refusal> {
    Some(match joined {
        Joined::Full => Code::RoomFull.into(),
        Joined::TooManyDevices => {
            Refusal::new(Code::RoomFull, "This account is in the room on as many devices as it may be")
        }
        Joined::Locked => Code::RoomLocked.into(),
        Joined::Banned => Code::Banned.into(),
        Joined::Removed => Code::Removed.into(),
        Joined::Ended => Code::CallEnded.into(),
        Joined::Fenced => Code::ServiceUnavailable.into(),
        Joined::Absent | Joined::Changed => return None,
        // These are no refusals.
        Joined::Seated { .. } | Joined::Waiting { .. } | Joined::Possible => Code::InternalError.into(),
    })
}

/// The call of a room that is not open, from its record.
fn closed(
    record: Option<Result<Option<CallRecord>, RecordsError>>,
    user: &UserId,
    standing: JoinStanding,
) -> Result<FoundCall, CallError> {
    let call = record.transpose()?.flatten().ok_or(CallError::NotFound)?;
    if call.status.is_over() {
        return Err(Code::CallEnded.into());
    }
    let meta = call.room_meta();
    // The room will have its host by right from the moment it opens.
    let given = if meta.host == *user { Some(Role::Host) } else { standing.given };
    Ok(FoundCall { meta, record: Some(call), participants: 0, standing: JoinStanding { given, ..standing } })
}
