//! Properties of the codec for any input, and examples.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use super::*;
use proptest::prelude::*;

const MAX: usize = 10;

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn list(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}

proptest! {
    #[test]
    fn an_event_survives_encoding_and_decoding(
        namespace in "/[a-z/]{0,8}",
        id in proptest::option::of(0u64..1_000_000_000_000_000),
        name in any::<String>().prop_filter("reserved", |name| !RESERVED.contains(&name.as_str())),
        args in proptest::collection::vec(json_value(), 0..4),
        attachments in 0..=MAX,
    ) {
        let args = list(&args);
        let packet = Packet::Event(Event { namespace: &namespace, id, name: name.into(), args: &args, attachments });
        let encoded = packet.encode();
        prop_assert_eq!(Packet::decode(&encoded, MAX).unwrap(), packet);
    }

    #[test]
    fn an_ack_survives_encoding_and_decoding(
        namespace in "/[a-z/]{0,8}",
        id in 0u64..1_000_000_000_000_000,
        args in proptest::collection::vec(json_value(), 0..4),
        attachments in 0..=MAX,
    ) {
        let args = list(&args);
        let packet = Packet::Ack { namespace: &namespace, id, args: &args, attachments };
        let encoded = packet.encode();
        prop_assert_eq!(Packet::decode(&encoded, MAX).unwrap(), packet);
    }

    #[test]
    fn a_connect_disconnect_or_connect_error_survives_encoding_and_decoding(
        namespace in "/[a-z/]{0,8}",
        payload in proptest::option::of(json_value()),
    ) {
        let payload = payload.map(|value| serde_json::json!({ "auth": value }).to_string());
        let payload = payload.as_deref();
        let packets = [
            Packet::Connect { namespace: &namespace, payload },
            Packet::Disconnect { namespace: &namespace },
            Packet::ConnectError { namespace: &namespace, payload: payload.unwrap_or("\"no\"") },
        ];
        for packet in packets {
            let encoded = packet.encode();
            prop_assert_eq!(Packet::decode(&encoded, MAX).unwrap(), packet);
        }
    }

    #[test]
    fn no_text_makes_the_decoder_panic_and_each_accepted_packet_survives_encoding(
        text in prop_oneof![any::<String>(), "[0-6][0-9]{0,3}-?(/[a-z]{0,3},?)?[0-9]{0,20}[\\[{\"a,0:}\\] ]{0,12}"],
    ) {
        if let Ok(packet) = Packet::decode(&text, MAX) {
            let encoded = packet.encode();
            prop_assert_eq!(Packet::decode(&encoded, MAX).unwrap(), packet);
        }
    }
}

fn decode(text: &str) -> Result<Packet<'_>, DecodeError> {
    Packet::decode(text, MAX)
}

#[test]
fn a_namespace_is_accepted_with_and_without_a_comma() {
    assert_eq!(decode("0/custom"), decode("0/custom,"));
    assert_eq!(decode("1/custom"), Ok(Packet::Disconnect { namespace: "/custom" }));
    assert_eq!(decode("1/custom,"), Ok(Packet::Disconnect { namespace: "/custom" }));
    assert_eq!(decode("0"), Ok(Packet::Connect { namespace: "/", payload: None }));
}

#[test]
fn the_arguments_of_an_event_are_not_changed() {
    let text = r#"2/x,12[ "a\"b" , {"k": [1, 2]},  null ]"#;
    let Ok(Packet::Event(event)) = decode(text) else { panic!("not an event") };
    assert_eq!((event.namespace, event.id, &*event.name), ("/x", Some(12), "a\"b"));
    assert_eq!(event.args, r#"{"k": [1, 2]},  null"#);
    let Ok(Packet::Event(event)) = decode(r#"2["alone"]"#) else { panic!("not an event") };
    assert_eq!(event.args, "");
}

#[test]
fn attachments_are_counted_and_their_placeholders_checked() {
    let text = r#"52-["up",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]"#;
    assert!(matches!(decode(text), Ok(Packet::Event(Event { attachments: 2, .. }))));
    assert_eq!(decode(r#"51-["up",{"_placeholder":true,"num":1}]"#), Err(DecodeError::Placeholder));
    assert_eq!(decode(r#"51-["up",{"_placeholder":true,"num":-1}]"#), Err(DecodeError::Placeholder));
    assert_eq!(decode(r#"5["up"]"#), Err(DecodeError::Attachments));
    assert_eq!(decode(r#"50-["up"]"#), Err(DecodeError::Attachments));
    assert_eq!(decode(r#"511-["up"]"#), Err(DecodeError::TooManyAttachments));
    assert_eq!(decode(r#"599999999999999999999999-["up"]"#), Err(DecodeError::TooManyAttachments));
}

#[test]
fn each_malformed_packet_has_its_own_error() {
    for (text, error) in [
        ("", DecodeError::UnknownType),
        ("abc", DecodeError::UnknownType),
        ("7[]", DecodeError::UnknownType),
        ("0[]", DecodeError::Payload),
        ("0{", DecodeError::Payload),
        ("1x", DecodeError::Payload),
        ("2", DecodeError::Payload),
        ("2{}", DecodeError::Payload),
        ("2[]", DecodeError::Payload),
        ("2[1]", DecodeError::EventName),
        (r#"2["a","#, DecodeError::Payload),
        (r#"2["a"]x"#, DecodeError::Payload),
        (r#"2["connect"]"#, DecodeError::ReservedName),
        (r#"2["newListener"]"#, DecodeError::ReservedName),
        (r#"21234567890123456["a"]"#, DecodeError::Id),
        ("3[]", DecodeError::Id),
        ("31{}", DecodeError::Payload),
        ("4", DecodeError::Payload),
    ] {
        assert_eq!(decode(text), Err(error), "{text}");
    }
}

#[test]
fn the_beginning_of_an_event_tells_its_name_its_namespace_and_the_id_of_its_acknowledgement() {
    for (text, namespace, id, name, attachments) in [
        (r#"2["webrtc:offer",{"to":"a","offer":{"sdp":"v=0"#, "/", None, "webrtc:offer", 0),
        (r#"217["chat:message",{"message":"x"#, "/", Some(17), "chat:message", 0),
        (r#"2/custom,3["a\u0062c",1"#, "/custom", Some(3), "abc", 0),
        (r#"52-4["up",{"_placeholder":true"#, "/", Some(4), "up", 2),
        (r#"2[ "spaced" ,1"#, "/", None, "spaced", 0),
    ] {
        let head = EventHead { namespace, id, name: name.to_owned(), attachments };
        assert_eq!(EventHead::decode(text, 10), Some(head), "{text}");
    }
    for text in ["", "0{\"token\":\"", r#"31["x"#, r#"2["cut in the na"#, "2[7,", "2{", r#"511-["x","#, "2/ns"] {
        assert_eq!(EventHead::decode(text, 10), None, "{text}");
    }
}
