#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use switchboard_common::domain::{
    CallId, CallSettings, CallType, Code, ConnectionState, MediaState, PeerId, PublicUser, Refusal, Role, RoomId,
    RoomMeta, UserId,
};
use switchboard_common::wire::client_event::{self, Limits};

use super::effect::{Logged, LoggedKind};
use super::{Effect, Place, SessionView, Stamp, handle};

fn user(id: &str) -> PublicUser {
    PublicUser::new(UserId::parse(id).unwrap(), "Ann".to_owned(), None)
}

fn place(role: Role) -> Place {
    Place {
        room: RoomId::parse("R").unwrap(),
        peer: PeerId::parse("0000000000000000000000aa#2").unwrap(),
        role,
        state: ConnectionState::Connected,
        media: MediaState::default(),
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
        passcode_hash: None,
        invited: Vec::new(),
        created_at: String::new(),
        version: 0,
    }
}

fn ask_as(user: &PublicUser, place: Option<&Place>, name: &str, argument: &Value) -> Result<Effect, Refusal> {
    let raw = RawValue::from_string(argument.to_string()).unwrap();
    let event = client_event::parse(name, Some(&raw), &Limits::default())?;
    let user_json = serde_json::to_string(user).unwrap();
    let session = SessionView { user, user_json: &user_json, place };
    handle(event, &session, Stamp { now: "2026-01-01T00:00:00.000Z", id: "m1" })
}

fn ask(place: Option<&Place>, name: &str, argument: &Value) -> Result<Effect, Refusal> {
    ask_as(&user("0000000000000000000000aa"), place, name, argument)
}

fn logged(effect: Effect) -> (Logged, Value) {
    let Effect::Log(logged) = effect else { panic!("{effect:?}") };
    let event: Value = serde_json::from_str(&format!("[{}]", logged.event)).unwrap();
    (logged, event)
}

#[test]
fn an_offer_says_who_sent_it_whatever_the_payload_claims() {
    let argument = json!({ "to": "b#3", "from": "somebody-else", "offer": { "type": "offer", "sdp": "v=0\r\n" } });
    let (logged, event) = logged(ask(Some(&place(Role::Participant)), "webrtc:offer", &argument).unwrap());
    assert_eq!(logged.kind, LoggedKind::One(PeerId::parse("b#3").unwrap()));
    assert_eq!(event[0], "webrtc:offer");
    assert_eq!(event[1]["from"], "0000000000000000000000aa#2");
    assert_eq!(event[1]["to"], "b#3");
    assert_eq!(event[1]["offer"]["sdp"], "v=0\r\n");
    assert_eq!(event[1]["user"]["name"], "Ann");
    assert_eq!(event[1]["roomId"], "R");
}

#[test]
fn whoever_is_in_no_room_or_in_the_lobby_signals_nobody() {
    let waiting = Place { state: ConnectionState::Waiting, ..place(Role::Participant) };
    for place in [None, Some(&waiting)] {
        for (name, argument) in [
            ("webrtc:offer", json!({ "to": "b", "offer": { "sdp": "" } })),
            ("webrtc:answer", json!({ "to": "b", "answer": { "sdp": "" } })),
            ("webrtc:ice-candidate", json!({ "to": "b", "candidate": null })),
            ("webrtc:connection-state", json!({ "to": "b", "state": "connected" })),
            ("webrtc:renegotiation-needed", json!({ "to": "b" })),
            ("participant:update-media-state", json!({ "videoEnabled": false })),
            ("webrtc:screen-share", json!({ "enabled": true })),
            ("chat:message", json!({ "message": "hi" })),
            ("chat:typing", json!({ "isTyping": true })),
        ] {
            assert_eq!(ask(place, name, &argument).unwrap_err().code, Code::NotInRoom, "{name}");
        }
    }
}

#[test]
fn only_the_host_ends_the_call() {
    for role in [Role::Guest, Role::Participant, Role::Moderator] {
        assert_eq!(ask(Some(&place(role)), "room:end-call", &json!({})).unwrap_err().code, Code::HostRequired);
    }
    assert!(matches!(ask(Some(&place(Role::Host)), "room:end-call", &json!({})), Ok(Effect::EndCall(_))));
    let elsewhere = ask(Some(&place(Role::Host)), "room:end-call", &json!({ "roomId": "OTHER" }));
    assert_eq!(elsewhere.unwrap_err().code, Code::NotInRoom);
}

#[test]
fn a_room_is_left_only_by_who_is_in_it() {
    assert!(matches!(ask(Some(&place(Role::Guest)), "room:leave", &json!("R")), Ok(Effect::Leave)));
    assert_eq!(ask(Some(&place(Role::Guest)), "room:leave", &json!("X")).unwrap_err().code, Code::NotInRoom);
    assert_eq!(ask(None, "room:leave", &json!({})).unwrap_err().code, Code::NotInRoom);
}

#[test]
fn media_follow_the_settings_of_the_call_but_going_off_is_always_allowed() {
    let mut strict = place(Role::Participant);
    let mut call = meta();
    call.settings.video_enabled = false;
    call.settings.allow_participant_screen_share = false;
    strict.meta = Arc::new(call);
    let off = json!({ "videoEnabled": false });
    let (logged_off, event) = logged(ask(Some(&strict), "participant:update-media-state", &off).unwrap());
    assert_eq!(logged_off.kind, LoggedKind::Media(MediaState { video_enabled: false, ..MediaState::default() }));
    assert_eq!(event[1]["mediaState"]["audioEnabled"], true, "what is left out stays");
    strict.media.video_enabled = false;
    let on = json!({ "videoEnabled": true });
    assert_eq!(ask(Some(&strict), "participant:update-media-state", &on).unwrap_err().code, Code::Forbidden);
    let share = json!({ "enabled": true });
    assert_eq!(ask(Some(&strict), "webrtc:screen-share", &share).unwrap_err().code, Code::Forbidden);
    strict.role = Role::Moderator;
    assert!(ask(Some(&strict), "webrtc:screen-share", &share).is_ok());
}

#[test]
fn a_chat_message_stays_text_and_its_sender_learns_id_and_time() {
    let argument = json!({ "message": "<b>\"hi\"</b>", "id": "mine" });
    let (logged, event) = logged(ask(Some(&place(Role::Guest)), "chat:message", &argument).unwrap());
    assert_eq!(event[1]["message"], "<b>\"hi\"</b>");
    assert_eq!(event[1]["id"], "m1");
    assert_eq!(logged.dedupe.as_deref(), Some("mine"));
    let ack: Value = serde_json::from_str(&format!("{{\"success\":true{}}}", logged.ack)).unwrap();
    assert_eq!((&ack["id"], &ack["timestamp"]), (&json!("m1"), &json!("2026-01-01T00:00:00.000Z")));
    let mut silent = place(Role::Host);
    let mut call = meta();
    call.settings.chat_enabled = false;
    silent.meta = Arc::new(call);
    assert_eq!(ask(Some(&silent), "chat:message", &argument).unwrap_err().code, Code::Forbidden);
}

#[test]
fn rooms_are_made_by_users_and_entered_by_name() {
    let (guest, nameless) = (user("guest-0123456789abcdef"), {
        let mut nameless = user("guest-0123456789abcdef");
        nameless.name.clear();
        nameless
    });
    assert_eq!(ask_as(&guest, None, "room:create", &json!({})).unwrap_err().code, Code::Unauthorized);
    assert!(matches!(ask(None, "room:create", &json!({ "title": "T" })), Ok(Effect::Create(_))));
    let seats = ask(None, "room:create", &json!({ "maxParticipants": 1 }));
    assert_eq!(seats.unwrap_err().code, Code::ValidationError);
    assert_eq!(ask_as(&nameless, None, "room:join", &json!({ "roomId": "R" })).unwrap_err().code, Code::Unauthorized);
    for name in ["x", "a\u{7}b"] {
        let join = ask_as(&nameless, None, "room:join", &json!({ "roomId": "R", "guestName": name }));
        assert_eq!(join.unwrap_err().code, Code::ValidationError, "{name:?}");
    }
    let join = json!({ "roomId": "R", "guestName": "Bo" });
    assert!(matches!(ask_as(&nameless, None, "room:join", &join), Ok(Effect::Join(_))));
    let again = ask(Some(&place(Role::Participant)), "room:join", &json!({ "roomId": "R" }));
    assert_eq!(again.unwrap_err().code, Code::AlreadyInRoom);
}

#[test]
fn a_candidate_to_somebody_gone_makes_no_noise() {
    let candidate = json!({ "to": "b", "candidate": { "candidate": "" } });
    let (quiet, _) = logged(ask(Some(&place(Role::Guest)), "webrtc:ice-candidate", &candidate).unwrap());
    let offer = json!({ "to": "b", "offer": { "sdp": "" } });
    let (loud, _) = logged(ask(Some(&place(Role::Guest)), "webrtc:offer", &offer).unwrap());
    assert!(!quiet.loud && loud.loud);
}
