//! Rules of every event, through `handle`.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use switchboard_core::domain::{
    AppId, CallId, CallPermissions, CallSettings, CallType, Code, ConditionalMediaChange, ConnectionState, MediaChange,
    PeerId, PublicUser, Refusal, Role, RoomId, RoomMeta, Timestamp, UserId,
};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::client_event::{self, EventName, Limits};
use switchboard_core::wire::contract;

use super::effect::{Logged, LoggedKind};
use super::{Effect, SeatView, SessionView, Stamp, handle};

fn user(id: &str) -> PublicUser {
    PublicUser::new(UserId::parse(id).unwrap(), "Ann".to_owned(), None)
}

fn seat(role: Role) -> SeatView {
    SeatView {
        room: RoomId::parse("R").unwrap(),
        peer: PeerId::parse("0000000000000000000000aa#2").unwrap(),
        role,
        state: ConnectionState::Connected,
        meta: Arc::new(meta()),
    }
}

fn meta() -> RoomMeta {
    RoomMeta {
        call_id: CallId::parse("0123456789abcdef01234567").unwrap(),
        name: "Call".to_owned(),
        host: UserId::parse("0000000000000000000000aa").unwrap(),
        call_type: CallType::Public,
        settings: CallSettings::default(),
        max_participants: 10,
        locked: false,
        passcode_hash: None,
        invited: Vec::new(),
        created_at: String::new(),
        version: 0,
    }
}

fn handle_as(user: &PublicUser, seat: Option<&SeatView>, name: &str, argument: &Value) -> Result<Effect, Refusal> {
    handle_in((&AppId::default(), CallPermissions::default()), user, seat, name, argument)
}

/// Handles an event of a user of an app with these permissions.
fn handle_in(
    (app, permissions): (&AppId, CallPermissions),
    user: &PublicUser,
    seat: Option<&SeatView>,
    name: &str,
    argument: &Value,
) -> Result<Effect, Refusal> {
    let raw = RawValue::from_string(argument.to_string()).unwrap();
    let event = client_event::parse(name, Some(&raw), &Limits::default())?;
    let user_json = serde_json::to_string(user).unwrap();
    let session = SessionView { user, user_json: &user_json, seat, has_grant: !app.is_default(), permissions };
    let handled = handle(event, &session, Stamp { at: Timestamp(1_767_225_600_000), nonce: 7 });
    if let Err(refusal) = &handled {
        let contract = contract::client_event(EventName::parse(name).unwrap());
        assert!(contract.may_refuse(refusal.code), "{name}: {} is not in the contract of events", refusal.code);
    }
    handled
}

fn handle_event(seat: Option<&SeatView>, name: &str, argument: &Value) -> Result<Effect, Refusal> {
    handle_as(&user("0000000000000000000000aa"), seat, name, argument)
}

fn logged(effect: Effect) -> (Logged, Value) {
    let Effect::Log(logged) = effect else { panic!("{effect:?}") };
    let event: Value = serde_json::from_str(&format!("[{}]", logged.event)).unwrap();
    assert_eq!(event[0], logged.event_kind.name(), "the kind matches the name in the event's text");
    (logged, event)
}

#[test]
fn an_offer_has_the_senders_identity_even_if_its_payload_names_another() {
    let argument = json!({ "to": "b#3", "from": "somebody-else", "offer": { "type": "offer", "sdp": "v=0\r\n" } });
    let (logged, event) = logged(handle_event(Some(&seat(Role::Participant)), "webrtc:offer", &argument).unwrap());
    assert_eq!(logged.kind, LoggedKind::Direct(PeerId::parse("b#3").unwrap()));
    assert_eq!(event[0], "webrtc:offer");
    assert_eq!(event[1]["from"], "0000000000000000000000aa#2");
    assert_eq!(event[1]["to"], "b#3");
    assert_eq!(event[1]["offer"]["sdp"], "v=0\r\n");
    assert_eq!(event[1]["user"]["name"], "Ann");
    assert_eq!(event[1]["roomId"], "R");
}

#[test]
fn each_signal_is_logged_with_its_own_kind() {
    for (name, argument, kind) in [
        ("webrtc:offer", json!({ "to": "b", "offer": { "sdp": "" } }), EventKind::Offer),
        ("webrtc:answer", json!({ "to": "b", "answer": { "sdp": "" } }), EventKind::Answer),
        ("webrtc:ice-candidate", json!({ "to": "b", "candidate": null }), EventKind::IceCandidate),
        ("webrtc:connection-state", json!({ "to": "b", "state": "connected" }), EventKind::ConnectionState),
        ("webrtc:renegotiation-needed", json!({ "to": "b" }), EventKind::RenegotiationNeeded),
    ] {
        let (logged, event) = logged(handle_event(Some(&seat(Role::Guest)), name, &argument).unwrap());
        assert_eq!((logged.event_kind, &event[0]), (kind, &json!(name)));
    }
}

#[test]
fn a_session_without_a_room_or_in_the_lobby_may_not_send() {
    let waiting = SeatView { state: ConnectionState::Waiting, ..seat(Role::Participant) };
    for seat in [None, Some(&waiting)] {
        for (name, argument) in [
            ("webrtc:offer", json!({ "to": "b", "offer": { "sdp": "" } })),
            ("webrtc:answer", json!({ "to": "b", "answer": { "sdp": "" } })),
            ("webrtc:ice-candidate", json!({ "to": "b", "candidate": null })),
            ("webrtc:connection-state", json!({ "to": "b", "state": "connected" })),
            ("webrtc:renegotiation-needed", json!({ "to": "b" })),
            ("participant:update-media-state", json!({ "videoEnabled": false })),
            ("webrtc:screen-share", json!({ "enabled": true })),
            ("participant:set-hand", json!({ "raised": true })),
            ("participant:reaction", json!({ "emoji": "👍" })),
            ("chat:message", json!({ "message": "hi" })),
            ("chat:typing", json!({ "isTyping": true })),
            ("chat:history", json!({})),
            ("webrtc:get-stats", json!({})),
        ] {
            assert_eq!(handle_event(seat, name, &argument).unwrap_err().code, Code::NotInRoom, "{name}");
        }
    }
}

#[test]
fn only_the_host_may_end_the_call() {
    for role in [Role::Guest, Role::Participant, Role::Moderator] {
        assert_eq!(handle_event(Some(&seat(role)), "room:end-call", &json!({})).unwrap_err().code, Code::HostRequired);
    }
    assert!(matches!(handle_event(Some(&seat(Role::Host)), "room:end-call", &json!({})), Ok(Effect::EndCall(_))));
    let elsewhere = handle_event(Some(&seat(Role::Host)), "room:end-call", &json!({ "roomId": "OTHER" }));
    assert_eq!(elsewhere.unwrap_err().code, Code::NotInRoom);
}

#[test]
fn only_a_session_in_the_room_may_leave_it() {
    assert!(matches!(handle_event(Some(&seat(Role::Guest)), "room:leave", &json!("R")), Ok(Effect::Leave)));
    assert_eq!(handle_event(Some(&seat(Role::Guest)), "room:leave", &json!("X")).unwrap_err().code, Code::NotInRoom);
    assert_eq!(handle_event(None, "room:leave", &json!({})).unwrap_err().code, Code::NotInRoom);
}

#[test]
fn media_changes_require_permissions_and_for_guests_and_participants_settings() {
    let change = MediaChange { video_enabled: Some(true), audio_enabled: None, screen_share_enabled: Some(false) };
    let wish = json!({ "videoEnabled": true, "screenShareEnabled": false });
    for role in [Role::Guest, Role::Participant, Role::Moderator, Role::Host] {
        let (required_settings, required_to_unmute) = match role {
            Role::Guest | Role::Participant => (
                [
                    "canPublish videoEnabled",
                    "canPublish audioEnabled",
                    "canShareScreen screenShareEnabled allowParticipantScreenShare",
                ],
                "allowParticipantUnmute",
            ),
            Role::Moderator | Role::Host => (["canPublish", "canPublish", "canShareScreen"], ""),
        };
        let expected = ConditionalMediaChange { change, role, required_settings, required_to_unmute };
        let (logged, event) = logged(handle_event(Some(&seat(role)), "participant:update-media-state", &wish).unwrap());
        assert_eq!(logged.kind, LoggedKind::Media(expected));
        assert_eq!(event[0], "participant:media-state-changed");
        assert_eq!(event[1]["peerId"], "0000000000000000000000aa#2");
        assert_eq!(event[1]["mediaState"], "\u{4}", "only the script knows the resulting state");
    }
    for name in ["webrtc:screen-share", "participant:screen-share-changed"] {
        let (logged, event) =
            logged(handle_event(Some(&seat(Role::Guest)), name, &json!({ "enabled": true })).unwrap());
        let LoggedKind::Media(switch) = logged.kind else { panic!("{logged:?}") };
        let alone = MediaChange { video_enabled: None, audio_enabled: None, screen_share_enabled: Some(true) };
        assert_eq!(switch.change, alone);
        assert_eq!((&event[0], &event[1]["enabled"]), (&json!("participant:screen-share-changed"), &json!(true)));
        assert_eq!(event[1]["user"]["name"], "Ann");
    }
}

#[test]
fn each_setting_and_permission_that_is_off_has_its_own_refusal_text() {
    let settings = ["videoEnabled", "audioEnabled", "screenShareEnabled", "allowParticipantUnmute", "chatEnabled"];
    for setting in settings.into_iter().chain(CallPermissions::NAMES) {
        let (refusal, other) = (super::media::setting_off(setting), super::media::setting_off("something else"));
        assert_eq!(refusal.code, Code::Forbidden);
        assert_ne!(refusal.message, other.message);
    }
}

#[test]
fn a_chat_message_keeps_its_text_and_gets_an_id_a_time_and_the_sender() {
    let argument = json!({ "message": "<b>\"hi\"</b>", "id": "mine", "to": "b#2", "from": "somebody-else" });
    let (logged, event) = logged(handle_event(Some(&seat(Role::Guest)), "chat:message", &argument).unwrap());
    assert_eq!(event[1]["message"], "<b>\"hi\"</b>");
    assert_eq!((&event[1]["id"], &event[1]["to"]), (&json!("6955b9000000000000000007"), &json!("b#2")));
    assert_eq!(event[1]["from"], "0000000000000000000000aa#2");
    assert_eq!(logged.client_event_id.as_deref(), Some("mine"));
    let to = Some(PeerId::parse("b#2").unwrap());
    let timestamp = "2026-01-01T00:00:00.000Z".into();
    assert_eq!(logged.kind, LoggedKind::Chat { to, id: "6955b9000000000000000007".into(), timestamp });
}

#[test]
fn typing_is_ephemeral_and_history_is_a_query() {
    let seat = seat(Role::Guest);
    let typing = handle_event(Some(&seat), "chat:typing", &json!({ "isTyping": true })).unwrap();
    let Effect::Ephemeral { event_kind, event, required_settings: "canChat chatEnabled" } = typing else {
        panic!("{typing:?}")
    };
    assert_eq!(event_kind, EventKind::ChatTyping);
    assert!(event.starts_with("\"chat:typing\",{") && event.contains("\"isTyping\":true"), "{event}");
    let history = handle_event(Some(&seat), "chat:history", &json!({ "before": "m7" })).unwrap();
    let Effect::History(wanted) = history else { panic!("{history:?}") };
    assert_eq!((wanted.before.as_deref(), wanted.limit), (Some("m7"), 50));
}

#[test]
fn a_hand_is_logged_with_its_time_and_a_reaction_is_ephemeral() {
    let seat = seat(Role::Guest);
    let raise = handle_event(Some(&seat), "participant:set-hand", &json!({ "raised": true, "id": "mine" })).unwrap();
    let (raise, event) = logged(raise);
    assert_eq!(raise.kind, LoggedKind::Hand { raised_at: Some("2026-01-01T00:00:00.000Z".into()) });
    assert_eq!((raise.client_event_id.as_deref(), &event[1]["raised"]), (Some("mine"), &json!(true)));
    assert_eq!(event[1]["handRaisedAt"], "\u{7}", "only the script knows since when the hand is up");
    let (lower, event) =
        logged(handle_event(Some(&seat), "participant:set-hand", &json!({ "raised": false })).unwrap());
    assert_eq!((lower.kind, &event[1]["raised"]), (LoggedKind::Hand { raised_at: None }, &json!(false)));
    let reaction = handle_event(Some(&seat), "participant:reaction", &json!({ "emoji": "👍" })).unwrap();
    let Effect::Ephemeral { event_kind: EventKind::Reaction, event, required_settings: "canChat" } = reaction else {
        panic!("{reaction:?}")
    };
    assert!(event.contains(r#""emoji":"👍""#) && event.contains("aa#2"), "{event}");
}

#[test]
fn only_moderators_and_host_see_the_statistics_of_the_call() {
    for (role, expected) in
        [(Role::Guest, false), (Role::Participant, false), (Role::Moderator, true), (Role::Host, true)]
    {
        let stats = handle_event(Some(&seat(role)), "webrtc:get-stats", &json!({})).unwrap();
        assert!(matches!(stats, Effect::Stats { with_call } if with_call == expected), "{role:?}: {stats:?}");
    }
}

#[test]
fn creating_a_room_requires_a_sign_in_and_joining_one_requires_a_name() {
    let (guest, nameless) = (user("guest-0123456789abcdef"), {
        let mut nameless = user("guest-0123456789abcdef");
        nameless.name.clear();
        nameless
    });
    assert_eq!(handle_as(&guest, None, "room:create", &json!({})).unwrap_err().code, Code::Unauthorized);
    assert!(matches!(handle_event(None, "room:create", &json!({ "title": "T" })), Ok(Effect::Create(_))));
    let seats = handle_event(None, "room:create", &json!({ "maxParticipants": 1 }));
    assert_eq!(seats.unwrap_err().code, Code::ValidationError);
    assert_eq!(
        handle_as(&nameless, None, "room:join", &json!({ "roomId": "R" })).unwrap_err().code,
        Code::Unauthorized
    );
    for name in ["x", "a\u{7}b"] {
        let join = handle_as(&nameless, None, "room:join", &json!({ "roomId": "R", "guestName": name }));
        assert_eq!(join.unwrap_err().code, Code::ValidationError, "{name:?}");
    }
    let join = json!({ "roomId": "R", "guestName": "Bo" });
    assert!(matches!(handle_as(&nameless, None, "room:join", &join), Ok(Effect::Join(_))));
    let empty = json!({ "roomId": "R", "guestName": "", "token": "", "passcode": "" });
    assert_eq!(handle_as(&nameless, None, "room:join", &empty).unwrap_err().code, Code::Unauthorized);
    let Ok(Effect::Join(join)) = handle_as(&guest, None, "room:join", &empty) else { panic!("no join") };
    assert_eq!((join.guest_name, join.token), (None, None));
    let again = handle_event(Some(&seat(Role::Participant)), "room:join", &json!({ "roomId": "R" }));
    assert!(matches!(again, Ok(Effect::JoinAgain)), "a repeated join is answered, not refused");
}

#[test]
fn a_refused_candidate_is_not_reported_and_a_refused_offer_is() {
    let candidate = json!({ "to": "b", "candidate": { "candidate": "" } });
    let (candidate, _) = logged(handle_event(Some(&seat(Role::Guest)), "webrtc:ice-candidate", &candidate).unwrap());
    let offer = json!({ "to": "b", "offer": { "sdp": "" } });
    let (offer, _) = logged(handle_event(Some(&seat(Role::Guest)), "webrtc:offer", &offer).unwrap());
    assert!(!candidate.report_refusal && offer.report_refusal);
}

#[test]
fn the_permissions_of_a_user_bound_every_role_and_switching_off_is_allowed() {
    let none = CallPermissions { can_publish: false, can_share_screen: false, can_chat: false };
    let (app, ann) = (AppId::parse("acme").unwrap(), user("0000000000000000000000aa"));
    for role in [Role::Participant, Role::Host] {
        let seat = seat(role);
        for (name, argument, permission) in [
            ("participant:update-media-state", json!({ "videoEnabled": true }), "canPublish"),
            ("participant:update-media-state", json!({ "audioEnabled": true }), "canPublish"),
            ("participant:update-media-state", json!({ "screenShareEnabled": true }), "canShareScreen"),
            ("webrtc:screen-share", json!({ "enabled": true }), "canShareScreen"),
            ("chat:message", json!({ "message": "hi" }), "canChat"),
            ("chat:typing", json!({ "isTyping": true }), "canChat"),
            ("participant:reaction", json!({ "emoji": "\u{1F44D}" }), "canChat"),
        ] {
            let refused = handle_in((&app, none), &ann, Some(&seat), name, &argument).unwrap_err();
            assert_eq!(refused.code, Code::Forbidden, "{name} needs {permission}");
            let mut permissions = serde_json::to_value(none).unwrap();
            permissions[permission] = true.into();
            let permissions = serde_json::from_value(permissions).unwrap();
            assert!(handle_in((&app, permissions), &ann, Some(&seat), name, &argument).is_ok(), "{name}");
        }
        for (name, argument) in [
            ("participant:update-media-state", json!({ "videoEnabled": false, "audioEnabled": false })),
            ("webrtc:screen-share", json!({ "enabled": false })),
            ("webrtc:offer", json!({ "to": "b", "offer": { "sdp": "" } })),
        ] {
            assert!(handle_in((&app, none), &ann, Some(&seat), name, &argument).is_ok(), "{name}");
        }
    }
}

#[test]
fn users_of_an_app_create_no_room_by_an_event_and_name_their_room_as_their_app_does() {
    let (app, ann) = (AppId::parse("acme").unwrap(), user("0000000000000000000000aa"));
    let as_app = |seat: Option<&SeatView>, name: &str, argument: &Value| {
        handle_in((&app, CallPermissions::default()), &ann, seat, name, argument)
    };
    assert_eq!(as_app(None, "room:create", &json!({ "title": "T" })).unwrap_err().code, Code::Forbidden);
    let seat = SeatView { room: RoomId::parse("acme.R").unwrap(), ..seat(Role::Host) };
    assert!(matches!(as_app(Some(&seat), "room:join", &json!({ "roomId": "R" })), Ok(Effect::JoinAgain)));
    assert!(matches!(as_app(Some(&seat), "room:leave", &json!({ "roomId": "R" })), Ok(Effect::Leave)));
    assert_eq!(as_app(Some(&seat), "room:leave", &json!({ "roomId": "other" })).unwrap_err().code, Code::NotInRoom);
    let offer = json!({ "to": "b", "offer": { "sdp": "" } });
    let (_, event) = logged(as_app(Some(&seat), "webrtc:offer", &offer).unwrap());
    assert_eq!(event[1]["roomId"], "R", "clients see the name alone");
}
