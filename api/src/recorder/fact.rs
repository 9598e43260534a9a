//! Converts a fact of the room scripts to a fact of the records.

use serde::Deserialize;
use switchboard_core::domain::{CallSettings, CallType, PeerId, Role, Timestamp, UserId};
use switchboard_records::{CallAccess, CallChange, CallFact, CallUpdate, ChatMessage, NewCall, Stay};
use switchboard_rooms::{Fact, LogId, RoomMeta};

#[derive(Deserialize)]
struct JoinedDetails {
    user: JoinedUser,
    role: Role,
    #[serde(default)]
    first: bool,
}

#[derive(Deserialize)]
struct JoinedUser {
    #[serde(default)]
    name: String,
}

/// Payload of `chat:message`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChatDetails {
    id: String,
    from_user: JoinedUser,
    #[serde(default)]
    to: Option<PeerId>,
    message: String,
}

#[derive(Deserialize)]
struct RoleDetails {
    role: Role,
}

/// The call as its room knows it. `type` and the fields after it are present together or absent
/// together.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdatedDetails {
    title: String,
    #[serde(rename = "hostId", default)]
    host: Option<UserId>,
    settings: CallSettings,
    max_participants: u32,
    locked: bool,
    revision: u64,
    #[serde(rename = "type", default)]
    call_type: Option<CallType>,
    #[serde(default)]
    passcode_hash: Option<String>,
    #[serde(rename = "invitedUserIds", default)]
    invited: Vec<UserId>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReasonDetails {
    reason: String,
}

/// Reads a fact.
///
/// # Errors
/// The reason why the fact can never be recorded.
pub(super) fn read(fact: &Fact) -> Result<CallFact, String> {
    let change = match fact.kind.as_str() {
        "created" => {
            let meta: RoomMeta = details(fact)?;
            CallChange::Created(Box::new(NewCall {
                title: meta.name,
                host: meta.host,
                call_type: meta.call_type,
                settings: meta.settings,
                max_participants: meta.max_participants,
            }))
        }
        "joined" => {
            let JoinedDetails { user, role, first } = details(fact)?;
            CallChange::Joined { who: present(fact)?, name: user.name, role, count: fact.count, first }
        }
        "left" => {
            CallChange::Left { who: present(fact)?, reason: details::<ReasonDetails>(fact)?.reason, count: fact.count }
        }
        "chat" => {
            let ChatDetails { id, from_user, to, message } = details(fact)?;
            let to = to.map(|to| UserId::parse(to.user())).transpose().map_err(|_| "the recipient is not a user")?;
            CallChange::Chat(Box::new(ChatMessage { id, from: present(fact)?.user, name: from_user.name, to, message }))
        }
        "denied" => CallChange::Denied { who: present(fact)? },
        "role" => CallChange::Role { who: present(fact)?, role: details::<RoleDetails>(fact)?.role },
        "updated" => {
            let UpdatedDetails {
                title,
                host,
                settings,
                max_participants,
                locked,
                revision,
                call_type,
                passcode_hash,
                invited,
            } = details(fact)?;
            let access = call_type.map(|call_type| CallAccess { call_type, passcode: passcode_hash, invited });
            CallChange::Updated(Box::new(CallUpdate {
                title,
                host,
                settings,
                max_participants,
                locked,
                revision,
                access,
            }))
        }
        "emptied" => CallChange::Emptied,
        "reopened" => CallChange::Reopened,
        "ended" => CallChange::Ended { reason: details::<ReasonDetails>(fact)?.reason },
        _ => return Err("unknown kind".to_owned()),
    };
    Ok(CallFact {
        event_id: fact.event_id.clone(),
        order: order(fact.id),
        at: Timestamp(i64::try_from(fact.id.ms).map_err(|_| "the time is out of range")?),
        call: fact.call.clone(),
        room: fact.room.clone(),
        change,
    })
}

fn details<'a, T: Deserialize<'a>>(fact: &'a Fact) -> Result<T, String> {
    serde_json::from_str(&fact.details).map_err(|error| format!("invalid details: {error}"))
}

fn present(fact: &Fact) -> Result<Stay, String> {
    let about = fact.about.as_ref().ok_or("the participant is missing")?;
    Ok(Stay { user: about.user.clone(), peer: about.peer.clone(), join: about.join_id.to_string() })
}

/// Formats a stream id so that texts sort in the order of the ids.
fn order(id: LogId) -> String {
    format!("{:015}-{:020}", id.ms, id.seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_core::domain::{CallId, RoomId};
    use switchboard_rooms::Presence;

    fn fact(kind: &str, details: &str) -> Fact {
        let user = UserId::parse("guest-0123456789abcdef").unwrap();
        Fact {
            id: LogId { ms: 7, seq: 2 },
            event_id: "3:7-2".to_owned(),
            kind: kind.to_owned(),
            call: CallId::parse("0123456789abcdef01234567").unwrap(),
            room: RoomId::parse("r").unwrap(),
            about: Some(Presence {
                peer: PeerId::parse(user.as_str()).unwrap(),
                user,
                join_id: LogId { ms: 6, seq: 0 },
            }),
            count: 3,
            details: details.to_owned(),
        }
    }

    #[test]
    fn every_kind_of_fact_is_read() {
        let joined = read(&fact("joined", r#"{"user":{"name":"Ada","_id":"x"},"role":"guest","node":"n1"}"#)).unwrap();
        let CallChange::Joined { who, name, role, count, first } = joined.change else { panic!("{joined:?}") };
        assert_eq!((who.join.as_str(), name.as_str(), role, count), ("6-0", "Ada", Role::Guest, 3));
        assert!(!first);
        let first = read(&fact("joined", r#"{"first":true,"user":{"name":"Ada"},"role":"guest"}"#)).unwrap();
        assert!(matches!(first.change, CallChange::Joined { first: true, .. }));
        for (kind, change) in [("emptied", CallChange::Emptied), ("reopened", CallChange::Reopened)] {
            assert_eq!(read(&fact(kind, "{}")).unwrap().change, change);
        }
        assert_eq!(joined.at, Timestamp(7));
        let left = read(&fact("left", r#"{"reason":"timeout"}"#)).unwrap();
        assert!(matches!(left.change, CallChange::Left { reason, .. } if reason == "timeout"));
        let payload =
            r#"{"id":"m1","from":"x","to":"guest-b#2","fromUser":{"name":"Ada"},"message":"hi","type":"text"}"#;
        let CallChange::Chat(said) = read(&fact("chat", payload)).unwrap().change else { panic!("not said") };
        assert_eq!((said.id.as_str(), said.name.as_str(), said.message.as_str()), ("m1", "Ada", "hi"));
        assert_eq!((said.from.as_str(), said.to.unwrap().as_str()), ("guest-0123456789abcdef", "guest-b"));
        let denied = read(&fact("denied", "{}")).unwrap();
        assert!(matches!(denied.change, CallChange::Denied { who } if who.peer.as_str() == "guest-0123456789abcdef"));
        let role = read(&fact("role", r#"{"role":"moderator"}"#)).unwrap();
        assert!(matches!(role.change, CallChange::Role { role: Role::Moderator, .. }));
        let update = r#"{"title":"T","settings":{"chatEnabled":false},"maxParticipants":5,"locked":true,"revision":3}"#;
        let CallChange::Updated(updated) = read(&fact("updated", update)).unwrap().change else {
            panic!("not updated")
        };
        assert_eq!((updated.max_participants, updated.locked, updated.revision, &updated.access), (5, true, 3, &None));
        assert!(!updated.settings.chat_enabled);
        let ended = read(&fact("ended", "{}")).unwrap();
        assert!(matches!(ended.change, CallChange::Ended { .. }));
    }

    #[test]
    fn an_invalid_fact_is_refused_with_its_reason() {
        let mut nobody = fact("left", "{}");
        nobody.about = None;
        for (bad, why) in [
            (nobody, "participant is missing"),
            (fact("joined", "{"), "details"),
            (fact("x", "{}"), "kind"),
            (fact("created", "{}"), "details"),
        ] {
            let problem = read(&bad).unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn formatted_stream_ids_sort_in_stream_order() {
        let ids = [(9, 9), (9, 10), (10, 0), (1_800_000_000_000, 0)].map(|(ms, seq)| order(LogId { ms, seq }));
        assert!(ids.is_sorted());
    }
}
