//! Tests of the parser: each event, and arbitrary input.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use super::*;
use proptest::prelude::*;

fn code(name: &str, argument: &str) -> Option<Code> {
    let raw = RawValue::from_string(argument.to_owned()).unwrap();
    parse(name, Some(&raw), &Limits::default()).err().map(|refusal| refusal.code)
}

#[test]
fn an_offer_keeps_the_json_text_of_the_client() {
    let raw = RawValue::from_string(r#"{"to":"u#2","offer":{"type":"offer",  "sdp":"v=0\r\n"},"x":1}"#.into()).unwrap();
    let ClientEvent::Signal(signal) = parse("webrtc:offer", Some(&raw), &Limits::default()).unwrap() else { panic!() };
    assert_eq!(signal.to.unwrap().as_str(), "u#2");
    assert_eq!(signal.body[0].1.get(), r#"{"type":"offer",  "sdp":"v=0\r\n"}"#);
}

#[test]
fn a_missing_or_mistyped_field_is_refused_with_the_right_code() {
    let long = format!(r#"{{"to":"u","offer":{{"sdp":"{}"}}}}"#, "x".repeat(129 * 1024));
    for (name, argument, expected) in [
        ("nonsense", "{}", Code::UnknownEvent),
        ("room:join", "{}", Code::ValidationError),
        ("room:join", r#"{"roomId":{"$gt":""}}"#, Code::ValidationError),
        ("room:join", r#"{"roomId":"a b"}"#, Code::ValidationError),
        ("room:join", "[]", Code::ValidationError),
        ("room:join", "7", Code::ValidationError),
        ("room:leave", "7", Code::ValidationError),
        ("webrtc:offer", r#"{"offer":{"sdp":""}}"#, Code::ValidationError),
        ("webrtc:offer", r#"{"to":"u"}"#, Code::ValidationError),
        ("webrtc:offer", r#"{"to":"u","offer":"v=0"}"#, Code::ValidationError),
        ("webrtc:offer", r#"{"to":"u","offer":{"sdp":7}}"#, Code::ValidationError),
        ("webrtc:offer", &long, Code::PayloadTooLarge),
        ("webrtc:answer", r#"{"to":"u","answer":{"sdp":""},"id":""}"#, Code::ValidationError),
        ("webrtc:ice-candidate", r#"{"to":"u","candidate":7}"#, Code::ValidationError),
        ("participant:update-media-state", r#"{"videoEnabled":"yes"}"#, Code::ValidationError),
        ("participant:set-hand", "{}", Code::ValidationError),
        ("participant:set-hand", r#"{"raised":1}"#, Code::ValidationError),
        ("participant:set-hand", r#"{"raised":true,"id":"a b"}"#, Code::ValidationError),
        ("participant:reaction", "{}", Code::ValidationError),
        ("participant:reaction", r#"{"emoji":"ok"}"#, Code::ValidationError),
        ("participant:reaction", r#"{"emoji":"👍👍"}"#, Code::ValidationError),
        ("participant:reaction", r#"{"emoji":"\ud83d"}"#, Code::ValidationError),
        ("chat:message", r#"{"message":" "}"#, Code::ValidationError),
        ("chat:message", r#"{"message":"a\u0000"}"#, Code::ValidationError),
        ("chat:message", r#"{"message":"a\u0085"}"#, Code::ValidationError),
        ("chat:message", r#"{"message":["a"]}"#, Code::ValidationError),
        ("chat:message", &format!(r#"{{"message":"{}"}}"#, "é".repeat(4001)), Code::ValidationError),
        ("chat:typing", r#"{"isTyping":"yes"}"#, Code::ValidationError),
        ("chat:history", r#"{"limit":0}"#, Code::ValidationError),
        ("chat:history", r#"{"limit":101}"#, Code::ValidationError),
        ("chat:history", r#"{"limit":-1}"#, Code::ValidationError),
        ("chat:history", r#"{"before":7}"#, Code::ValidationError),
    ] {
        assert_eq!(code(name, argument), Some(expected), "{name} {argument}");
    }
}

#[test]
fn a_whole_number_may_be_written_as_a_double() {
    for (name, argument, accepted) in [
        ("chat:history", r#"{"limit":10.0}"#, true),
        ("chat:history", r#"{"limit":10.5}"#, false),
        ("room:create", r#"{"maxParticipants":8.0}"#, true),
        ("room:create", r#"{"maxParticipants":8.5}"#, false),
        ("room:update", r#"{"maxParticipants":8e0}"#, true),
        ("room:update", r#"{"maxParticipants":"8"}"#, false),
    ] {
        assert_eq!(code(name, argument), (!accepted).then_some(Code::ValidationError), "{name} {argument}");
    }
}

#[test]
fn a_description_of_100_kib_is_accepted_because_many_tracks_need_it() {
    let long = format!(r#"{{"to":"u","offer":{{"sdp":"{}"}}}}"#, "x".repeat(100 * 1024));
    assert_eq!(code("webrtc:offer", &long), None);
}

#[test]
fn line_ends_of_other_systems_in_a_chat_message_become_line_feeds() {
    for (sent, expected) in [(r"a\r\nb", "a\nb"), (r"a\rb\r", "a\nb\n"), (r"\r\n\r\nb", "\n\nb"), (r"a\n\rb", "a\n\nb")]
    {
        let raw = RawValue::from_string(format!(r#"{{"message":"{sent}"}}"#)).unwrap();
        let Ok(ClientEvent::Chat(chat)) = parse("chat:message", Some(&raw), &Limits::default()) else {
            panic!("{sent}")
        };
        assert_eq!(chat.message, expected, "{sent}");
    }
    assert_eq!(code("chat:message", r#"{"message":"\r\n"}"#), Some(Code::ValidationError));
}

#[test]
fn a_hand_and_a_reaction_are_read() {
    let parsed = |name: &str, argument: &str| {
        let raw = RawValue::from_string(argument.to_owned()).unwrap();
        format!("{:?}", parse(name, Some(&raw), &Limits::default()).unwrap())
    };
    let hand = parsed("participant:set-hand", r#"{"raised":true,"id":"7"}"#);
    assert_eq!(hand, r#"SetHand { raised: true, id: Some("7") }"#);
    let reaction = parsed("participant:reaction", r#"{"emoji":"\ud83d\udc4d"}"#);
    assert_eq!(reaction, r#"Reaction { emoji: "👍" }"#);
}

#[test]
fn the_end_of_candidates_is_accepted() {
    assert_eq!(code("webrtc:ice-candidate", r#"{"to":"u","candidate":null}"#), None);
    assert_eq!(code("webrtc:ice-candidate", r#"{"to":"u"}"#), Some(Code::ValidationError));
}

#[test]
fn null_in_an_optional_field_or_as_the_argument_means_that_it_is_missing() {
    for (name, argument, with_nulls) in [
        ("room:create", "{}", r#"{"id":null,"name":null,"isPrivate":null,"maxParticipants":null}"#),
        ("room:create", "{}", "null"),
        ("room:join", r#"{"roomId":"R"}"#, r#"{"roomId":"R","passcode":null,"guestName":null,"token":null}"#),
        ("room:admit", r#"{"peerId":"u"}"#, r#"{"peerId":"u","all":null}"#),
        ("participant:kick", r#"{"peerId":"u"}"#, r#"{"peerId":"u","ban":null,"reason":null}"#),
        ("room:update", r#"{"name":"N"}"#, r#"{"name":"N","settings":null,"maxParticipants":null}"#),
        ("participant:update-media-state", "{}", r#"{"videoEnabled":null,"audioEnabled":null,"id":null}"#),
        ("chat:message", r#"{"message":"m"}"#, r#"{"message":"m","to":null,"id":null}"#),
        ("chat:history", "{}", r#"{"before":null,"limit":null}"#),
        ("chat:history", "{}", "null"),
    ] {
        let parsed = |argument: &str| {
            let raw = RawValue::from_string(argument.to_owned()).unwrap();
            format!("{:?}", parse(name, Some(&raw), &Limits::default()).unwrap())
        };
        assert_eq!(parsed(argument), parsed(with_nulls), "{name} {with_nulls}");
    }
}

#[test]
fn text_that_was_cut_within_an_emoji_is_accepted() {
    let raw = RawValue::from_string(r#"{"message":"hi \ud83d"}"#.to_owned()).unwrap();
    let Ok(ClientEvent::Chat(chat)) = parse("chat:message", Some(&raw), &Limits::default()) else { panic!() };
    assert_eq!(chat.message, "hi \u{FFFD}");
    assert_eq!(code("room:join", r#"{"roomId":"R","guestName":"\ude00Ann"}"#), None);
    assert_eq!(code("room:update", r#"{"name":"N \ud83d"}"#), None);
}

#[test]
fn the_room_of_room_leave_is_an_object_a_string_or_absent() {
    for (argument, named) in [(r#"{"roomId":"R"}"#, true), (r#""R""#, true), ("{}", false), ("null", false)] {
        let raw = RawValue::from_string(argument.to_owned()).unwrap();
        let Ok(ClientEvent::Leave(room)) = parse("room:leave", Some(&raw), &Limits::default()) else { panic!() };
        assert_eq!(room.is_some(), named);
    }
    assert!(matches!(parse("room:leave", None, &Limits::default()), Ok(ClientEvent::Leave(None))));
}

proptest! {
    #[test]
    fn no_argument_panics(
        name in prop::sample::select(vec!["room:create", "room:join", "room:leave", "webrtc:offer",
            "webrtc:ice-candidate", "webrtc:data-channel", "participant:update-media-state", "participant:set-hand",
            "participant:reaction", "chat:message", "chat:history", "x"]),
        key in "(to|offer|id|roomId|message|candidate|[a-z]{1,4})",
        value in "(\"[a-z#é ]{0,9}\"|[0-9]{1,20}|null|true|\\[[0-9]{0,2}\\]|\\{\"sdp\":\"[a-z]{0,3}\"\\})",
    ) {
        if let Ok(raw) = RawValue::from_string(format!("{{\"{key}\":{value}}}")) {
            let _ = parse(name, Some(&raw), &Limits::default());
        }
    }
}

#[test]
fn an_argument_that_nests_too_deep_is_refused_and_a_real_one_is_not() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"to":"u","candidate":{{"candidate":"","x":{open}{close}}}}}"#)
    };
    assert_eq!(code("webrtc:ice-candidate", &nested(14)), None);
    for levels in [15, 1500] {
        assert_eq!(code("webrtc:ice-candidate", &nested(levels)), Some(Code::ValidationError));
    }
}
