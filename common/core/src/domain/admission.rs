//! Who may enter a call, and as what. REST and sockets ask the same function.

use super::call::CallType;
use super::ids::UserId;
use super::participant::Role;
use super::refusal::{Code, Refusal};

/// The rules of a call's door, taken from its record or its room's meta.
#[derive(Clone, Debug)]
pub struct Entrance<'a> {
    /// Public, private or invited only.
    pub call_type: CallType,
    /// The user who made the call.
    pub host: &'a UserId,
    /// Users who are invited by name.
    pub invited: &'a [UserId],
    /// The call has a passcode.
    pub has_passcode: bool,
    /// Who joins waits to be let in.
    pub waiting_room: bool,
    /// With the waiting room on, guests do not wait.
    pub auto_admit_guests: bool,
}

/// Who stands at the door.
#[derive(Clone, Copy, Debug)]
pub struct Applicant<'a> {
    /// Its identity.
    pub user: &'a UserId,
    /// A given passcode was compared and is right; `None`: none was given.
    pub passcode: Option<bool>,
    /// The role of a valid join token for this room and identity: the passcode was passed when it was issued.
    pub join_token: Option<Role>,
    /// The role that it was given in the room as it is now: that of moderator, or of host while the host by right is away.
    pub given: Option<Role>,
}

/// An answer of yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The role to be seated with.
    pub role: Role,
    /// To the lobby first.
    pub waits: bool,
}

/// Decides whether and how `who` may enter.
///
/// # Errors
/// `UNAUTHORIZED` (a guest at a private call), `FORBIDDEN` (not invited), `INVALID_PASSCODE`.
pub fn admit(door: &Entrance<'_>, who: Applicant<'_>) -> Result<Admission, Refusal> {
    let is_host = who.user == door.host;
    let is_guest = who.user.is_guest();
    if is_guest && door.call_type != CallType::Public {
        return Err(Refusal::new(Code::Unauthorized, "Sign in to join this call"));
    }
    if door.call_type == CallType::InvitedOnly && !is_host && !door.invited.contains(who.user) {
        return Err(Refusal::new(Code::Forbidden, "You are not invited to this call"));
    }
    if door.has_passcode && !is_host && who.join_token.is_none() && who.passcode != Some(true) {
        return Err(Code::InvalidPasscode.into());
    }
    let role = match (who.given, who.join_token) {
        _ if is_host => Role::Host,
        (Some(role), _) => role,
        (None, Some(Role::Moderator)) => Role::Moderator,
        _ if is_guest => Role::Guest,
        _ => Role::Participant,
    };
    let waits = door.waiting_room && role < Role::Moderator && !(is_guest && door.auto_admit_guests);
    Ok(Admission { role, waits })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    fn door<'a>(host: &'a UserId, invited: &'a [UserId]) -> Entrance<'a> {
        Entrance {
            call_type: CallType::Public,
            host,
            invited,
            has_passcode: false,
            waiting_room: false,
            auto_admit_guests: true,
        }
    }

    fn at(user: &UserId) -> Applicant<'_> {
        Applicant { user, passcode: None, join_token: None, given: None }
    }

    #[test]
    fn the_host_enters_its_own_call_without_passcode_and_as_host() {
        let host = id("aaaaaaaaaaaaaaaaaaaaaaaa");
        let mut door = door(&host, &[]);
        door.has_passcode = true;
        door.waiting_room = true;
        door.call_type = CallType::InvitedOnly;
        assert_eq!(admit(&door, at(&host)).unwrap(), Admission { role: Role::Host, waits: false });
    }

    #[test]
    fn a_guest_enters_public_calls_only() {
        let (host, guest) = (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("guest-0123456789abcdef"));
        let mut door = door(&host, &[]);
        assert_eq!(admit(&door, at(&guest)).unwrap().role, Role::Guest);
        door.call_type = CallType::Private;
        assert_eq!(admit(&door, at(&guest)).unwrap_err().code, Code::Unauthorized);
    }

    #[test]
    fn an_invited_only_call_takes_the_invited() {
        let (host, ann, bob) =
            (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbbbbbb"), id("cccccccccccccccccccccccc"));
        let invited = [ann.clone()];
        let mut door = door(&host, &invited);
        door.call_type = CallType::InvitedOnly;
        assert_eq!(admit(&door, at(&ann)).unwrap().role, Role::Participant);
        assert_eq!(admit(&door, at(&bob)).unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn a_passcode_is_asked_for_unless_a_join_token_vouches() {
        let (host, ann) = (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbbbbbb"));
        let mut door = door(&host, &[]);
        door.has_passcode = true;
        assert_eq!(admit(&door, at(&ann)).unwrap_err().code, Code::InvalidPasscode);
        assert_eq!(
            admit(&door, Applicant { passcode: Some(false), ..at(&ann) }).unwrap_err().code,
            Code::InvalidPasscode
        );
        assert!(admit(&door, Applicant { passcode: Some(true), ..at(&ann) }).is_ok());
        assert!(admit(&door, Applicant { join_token: Some(Role::Participant), ..at(&ann) }).is_ok());
    }

    #[test]
    fn what_somebody_was_made_in_the_room_it_is_again() {
        let (host, ann, guest) =
            (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbbbbbb"), id("guest-0123456789abcdef"));
        let mut door = door(&host, &[]);
        door.waiting_room = true;
        for given in [Role::Moderator, Role::Host] {
            let admission = admit(&door, Applicant { given: Some(given), ..at(&ann) }).unwrap();
            assert_eq!(admission, Admission { role: given, waits: false });
        }
        let demoted = Applicant { given: Some(Role::Guest), join_token: Some(Role::Moderator), ..at(&ann) };
        assert_eq!(admit(&door, demoted).unwrap(), Admission { role: Role::Guest, waits: true });
        assert_eq!(admit(&door, Applicant { given: Some(Role::Guest), ..at(&host) }).unwrap().role, Role::Host);
        door.call_type = CallType::Private;
        assert!(
            admit(&door, Applicant { given: Some(Role::Moderator), ..at(&guest) }).is_err(),
            "the door is the same"
        );
    }

    #[test]
    fn the_lobby_holds_users_and_lets_guests_through_only_when_told_so() {
        let (host, ann, guest) =
            (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbbbbbb"), id("guest-0123456789abcdef"));
        let mut door = door(&host, &[]);
        door.waiting_room = true;
        assert!(admit(&door, at(&ann)).unwrap().waits);
        assert!(!admit(&door, at(&guest)).unwrap().waits);
        door.auto_admit_guests = false;
        assert!(admit(&door, at(&guest)).unwrap().waits);
    }
}
