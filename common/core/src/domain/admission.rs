//! Decides whether a user may join a call, and with which role. The REST API and the signaling node
//! call the same function.

use super::call::CallType;
use super::ids::UserId;
use super::participant::Role;
use super::refusal::{Code, Refusal};

/// Admission rules of a call, read from the call record or from the room's metadata.
#[derive(Clone, Debug)]
pub struct AccessPolicy<'a> {
    /// Public, private or invited only.
    pub call_type: CallType,
    /// User who created the call, or got the host role by transfer.
    pub host: &'a UserId,
    /// Users on the call's invitation list.
    pub invited: &'a [UserId],
    /// Whether the call has a passcode.
    pub has_passcode: bool,
    /// Whether users wait in the lobby until a host or moderator admits them.
    pub waiting_room: bool,
    /// Whether guests bypass the lobby.
    pub auto_admit_guests: bool,
}

/// Facts about the user that [`admit`] decides on.
#[derive(Clone, Copy, Debug)]
pub struct JoinRequest<'a> {
    /// User or guest who wants to join.
    pub user: &'a UserId,
    /// Whether the supplied passcode is correct; `None` if no passcode was supplied.
    pub passcode: Option<bool>,
    /// Valid join token for this room and user.
    pub join_token: Option<JoinToken>,
    /// Whether the user has a seat in the room, with or without a socket.
    pub seated: bool,
    /// Role assigned to the user in the open room: by a role change, or because the user acts as
    /// host while the host is away.
    pub assigned_role: Option<Role>,
}

/// Contents of a valid join token that [`admit`] decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Role.
    pub role: Role,
    /// Whether the token was issued under the passcode that the call has now.
    pub passcode_is_current: bool,
    /// Whether the backend of an app says it. Its role counts whatever it is.
    pub is_by_app: bool,
}

/// Result of a successful admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Role that the participant gets.
    pub role: Role,
    /// Whether the participant starts in the lobby.
    pub waits: bool,
}

/// Returns whether only invited users may join, besides the host: the call is for them alone, or it
/// is private and names them. Whoever names users does not expect others to walk in. A public call
/// is for everyone with the link, invited or not.
#[must_use]
pub fn requires_invitation(call_type: CallType, invited: &[UserId]) -> bool {
    match call_type {
        CallType::Public => false,
        CallType::Private => !invited.is_empty(),
        CallType::InvitedOnly => true,
    }
}

/// Checks that a call with these rules admits somebody. A call that nobody owns and that is for
/// invited users alone admits those whom it names, and no role in a token takes their place.
///
/// # Errors
/// `VALIDATION_ERROR` for `invitedUserIds`.
pub fn check_admits_somebody(call_type: CallType, host: &UserId, invited: &[UserId]) -> Result<(), Refusal> {
    if call_type != CallType::InvitedOnly || !host.is_nobody() || !invited.is_empty() {
        return Ok(());
    }
    let rule = "must name a user: the call is for invited users alone and has no hostId, so nobody could join";
    Err(Refusal::field(Code::ValidationError, "invitedUserIds", rule))
}

/// Returns whether the user must supply the passcode. A join token stands for the passcode that the
/// call had when the token was issued. After a change of the passcode it does so only for
/// moderators, invited users and users with a seat.
#[must_use]
pub fn needs_passcode(policy: &AccessPolicy<'_>, request: &JoinRequest<'_>) -> bool {
    let token_suffices = request.join_token.is_some_and(|token| {
        token.passcode_is_current
            || request.seated
            || policy.invited.contains(request.user)
            || request.assigned_role.unwrap_or(token.role) >= Role::Moderator
    });
    policy.has_passcode && request.user != policy.host && !token_suffices
}

/// Decides whether a user may join a call, and returns the role and whether they wait in the lobby.
///
/// The role is, in this order: host for the call's host; the role assigned in the open room;
/// any role from the backend of an app; moderator from a join token; guest or participant.
///
/// # Errors
/// - `UNAUTHORIZED`: a guest may join public calls only.
/// - `FORBIDDEN`: the call requires an invitation, and the user has none.
/// - `INVALID_PASSCODE`: the user [must supply](needs_passcode) the passcode, and did not.
pub fn admit(policy: &AccessPolicy<'_>, request: JoinRequest<'_>) -> Result<Admission, Refusal> {
    let is_host = request.user == policy.host;
    let is_guest = request.user.is_guest();
    if is_guest && policy.call_type != CallType::Public {
        return Err(Refusal::new(Code::Unauthorized, "Sign in to join this call"));
    }
    if requires_invitation(policy.call_type, policy.invited) && !is_host && !policy.invited.contains(request.user) {
        return Err(Refusal::new(Code::Forbidden, "You are not invited to this call"));
    }
    if needs_passcode(policy, &request) && request.passcode != Some(true) {
        return Err(Code::InvalidPasscode.into());
    }
    let role = match (request.assigned_role, request.join_token) {
        _ if is_host => Role::Host,
        (Some(role), _) => role,
        (None, Some(JoinToken { role, is_by_app: true, .. })) => role,
        (None, Some(JoinToken { role: Role::Moderator, .. })) => Role::Moderator,
        _ if is_guest => Role::Guest,
        _ => Role::Participant,
    };
    let waits = policy.waiting_room && role < Role::Moderator && !(is_guest && policy.auto_admit_guests);
    Ok(Admission { role, waits })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn id(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    fn policy<'a>(host: &'a UserId, invited: &'a [UserId]) -> AccessPolicy<'a> {
        AccessPolicy {
            call_type: CallType::Public,
            host,
            invited,
            has_passcode: false,
            waiting_room: false,
            auto_admit_guests: true,
        }
    }

    fn by(user: &UserId) -> JoinRequest<'_> {
        JoinRequest { user, passcode: None, join_token: None, assigned_role: None, seated: false }
    }

    const fn token(role: Role) -> Option<JoinToken> {
        Some(JoinToken { role, passcode_is_current: true, is_by_app: false })
    }

    #[test]
    fn the_host_joins_without_passcode_or_lobby_and_with_the_host_role() {
        let host = id("aaaaaaaaaaaaaaaaaaaaaaaa");
        let mut policy = policy(&host, &[]);
        policy.has_passcode = true;
        policy.waiting_room = true;
        policy.call_type = CallType::InvitedOnly;
        assert_eq!(admit(&policy, by(&host)).unwrap(), Admission { role: Role::Host, waits: false });
    }

    #[test]
    fn the_backend_of_an_app_says_who_hosts_and_a_join_token_does_not() {
        let (nobody, ann) = (UserId::nobody(), id("ann"));
        let by_app = |role| Some(JoinToken { role, passcode_is_current: true, is_by_app: true });
        for role in [Role::Host, Role::Moderator, Role::Participant] {
            let request = JoinRequest { join_token: by_app(role), ..by(&ann) };
            assert_eq!(admit(&policy(&nobody, &[]), request).unwrap().role, role);
            // A role that was assigned in the room since comes first.
            let assigned = JoinRequest { assigned_role: Some(Role::Moderator), ..request };
            assert_eq!(admit(&policy(&nobody, &[]), assigned).unwrap().role, Role::Moderator);
        }
        let join = JoinRequest { join_token: token(Role::Host), ..by(&ann) };
        assert_eq!(admit(&policy(&nobody, &[]), join).unwrap().role, Role::Participant);
    }

    #[test]
    fn a_guest_may_join_public_calls_only() {
        let (host, guest) = (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("guest-0123456789abcdef"));
        let mut policy = policy(&host, &[]);
        assert_eq!(admit(&policy, by(&guest)).unwrap().role, Role::Guest);
        policy.call_type = CallType::Private;
        assert_eq!(admit(&policy, by(&guest)).unwrap_err().code, Code::Unauthorized);
    }

    #[test]
    fn a_list_of_invited_users_keeps_others_out_of_every_call_that_is_not_public() {
        let (host, ann, bob) =
            (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbbbbbb"), id("cccccccccccccccccccccccc"));
        let list = [ann.clone()];
        for (call_type, invited, bob_may) in [
            (CallType::Public, &list[..], true),
            (CallType::Private, &list, false),
            (CallType::Private, &[], true),
            (CallType::InvitedOnly, &list, false),
            (CallType::InvitedOnly, &[], false),
        ] {
            let mut policy = policy(&host, invited);
            policy.call_type = call_type;
            assert_eq!(admit(&policy, by(&ann)).is_ok(), bob_may || invited.contains(&ann), "{call_type:?}");
            assert_eq!(admit(&policy, by(&bob)).map_err(|refusal| refusal.code).is_ok(), bob_may, "{call_type:?}");
            if !bob_may {
                assert_eq!(admit(&policy, by(&bob)).unwrap_err().code, Code::Forbidden);
            }
            assert_eq!(admit(&policy, by(&host)).unwrap().role, Role::Host);
        }
    }

    #[test]
    fn a_call_for_invited_users_alone_has_an_owner_or_names_a_user() {
        let (host, nobody, ann) = (id("aaaaaaaaaaaaaaaaaaaaaaaa"), UserId::nobody(), [id("ann")]);
        for (call_type, host, invited, admits) in [
            (CallType::InvitedOnly, &nobody, &[][..], false),
            (CallType::InvitedOnly, &nobody, &ann, true),
            (CallType::InvitedOnly, &host, &[], true),
            (CallType::Private, &nobody, &[], true),
            (CallType::Public, &nobody, &[], true),
        ] {
            let checked = check_admits_somebody(call_type, host, invited);
            assert_eq!(checked.is_ok(), admits, "{call_type:?}");
        }
        let policy = AccessPolicy { call_type: CallType::InvitedOnly, ..policy(&nobody, &[]) };
        let by_app = Some(JoinToken { role: Role::Host, passcode_is_current: true, is_by_app: true });
        let request = JoinRequest { join_token: by_app, ..by(&ann[0]) };
        assert_eq!(admit(&policy, request).unwrap_err().code, Code::Forbidden, "the role of a token is no invitation");
    }

    #[test]
    fn a_passcode_is_required_unless_the_request_has_a_join_token() {
        let (host, ann) = (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbbbbbb"));
        let mut policy = policy(&host, &[]);
        policy.has_passcode = true;
        assert_eq!(admit(&policy, by(&ann)).unwrap_err().code, Code::InvalidPasscode);
        assert_eq!(
            admit(&policy, JoinRequest { passcode: Some(false), ..by(&ann) }).unwrap_err().code,
            Code::InvalidPasscode
        );
        assert!(admit(&policy, JoinRequest { passcode: Some(true), ..by(&ann) }).is_ok());
        assert!(admit(&policy, JoinRequest { join_token: token(Role::Participant), ..by(&ann) }).is_ok());
    }

    #[test]
    fn a_join_token_of_an_earlier_passcode_admits_only_moderators_invited_users_and_users_with_a_seat() {
        let (host, ann) = (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbbbbbb"));
        let invited = [ann.clone()];
        let old = |role| Some(JoinToken { role, passcode_is_current: false, is_by_app: false });
        let ask = |invited: &[UserId], request: JoinRequest<'_>| {
            admit(&AccessPolicy { has_passcode: true, ..policy(&host, invited) }, request)
                .map(|admission| admission.role)
        };
        let stranger = JoinRequest { join_token: old(Role::Participant), ..by(&ann) };
        assert_eq!(ask(&[], stranger).unwrap_err().code, Code::InvalidPasscode);
        assert_eq!(ask(&[], JoinRequest { passcode: Some(true), ..stranger }), Ok(Role::Participant));
        assert_eq!(ask(&[], JoinRequest { seated: true, ..stranger }), Ok(Role::Participant));
        assert_eq!(ask(&invited, stranger), Ok(Role::Participant));
        assert_eq!(ask(&[], JoinRequest { join_token: old(Role::Moderator), ..stranger }), Ok(Role::Moderator));
        assert_eq!(ask(&[], JoinRequest { assigned_role: Some(Role::Moderator), ..stranger }), Ok(Role::Moderator));
        let demoted = JoinRequest { join_token: old(Role::Moderator), assigned_role: Some(Role::Guest), ..stranger };
        assert!(ask(&[], demoted).is_err(), "no moderator any more");
        assert!(
            ask(&invited, JoinRequest { seated: true, ..by(&ann) }).is_err(),
            "without a token the passcode is asked"
        );
    }

    #[test]
    fn a_role_assigned_in_the_room_takes_precedence_over_the_join_token() {
        let (host, ann, guest) =
            (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbbbbbb"), id("guest-0123456789abcdef"));
        let mut policy = policy(&host, &[]);
        policy.waiting_room = true;
        for role in [Role::Moderator, Role::Host] {
            let admission = admit(&policy, JoinRequest { assigned_role: Some(role), ..by(&ann) }).unwrap();
            assert_eq!(admission, Admission { role, waits: false });
        }
        let demoted = JoinRequest { assigned_role: Some(Role::Guest), join_token: token(Role::Moderator), ..by(&ann) };
        assert_eq!(admit(&policy, demoted).unwrap(), Admission { role: Role::Guest, waits: true });
        assert_eq!(
            admit(&policy, JoinRequest { assigned_role: Some(Role::Guest), ..by(&host) }).unwrap().role,
            Role::Host
        );
        policy.call_type = CallType::Private;
        assert!(
            admit(&policy, JoinRequest { assigned_role: Some(Role::Moderator), ..by(&guest) }).is_err(),
            "an assigned role does not bypass the call type"
        );
    }

    #[test]
    fn users_wait_in_the_lobby_and_guests_bypass_it_only_if_the_call_allows() {
        let (host, ann, guest) =
            (id("aaaaaaaaaaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbbbbbbbbbb"), id("guest-0123456789abcdef"));
        let mut policy = policy(&host, &[]);
        policy.waiting_room = true;
        assert!(admit(&policy, by(&ann)).unwrap().waits);
        assert!(!admit(&policy, by(&guest)).unwrap().waits);
        policy.auto_admit_guests = false;
        assert!(admit(&policy, by(&guest)).unwrap().waits);
    }
}
