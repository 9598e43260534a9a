//! Converts recorded facts to webhook events. `docs/PROTOCOL.md`, "Webhooks", is the contract.

use serde_json::{Value, json};
use switchboard_core::domain::Timestamp;
use switchboard_records::{CallChange, CallFact, Delivery, Stay};

/// Types of events.
pub const EVENTS: [&str; 6] =
    ["call.started", "call.emptied", "call.ended", "call.reopened", "participant.joined", "participant.left"];

/// Returns the deliveries of `facts`: one for each event and endpoint.
#[must_use]
pub fn deliveries(facts: &[CallFact], endpoints: &[String]) -> Vec<Delivery> {
    let events: Vec<_> = facts.iter().flat_map(events).collect();
    let each = |endpoint: &String| events.iter().map(|event| event.delivery(endpoint)).collect::<Vec<_>>();
    endpoints.iter().flat_map(each).collect()
}

struct Event<'a> {
    fact: &'a CallFact,
    id: String,
    kind: &'static str,
    /// Position among the events of one fact, because a fact can cause two events.
    place: u8,
    more: Value,
}

fn events(fact: &CallFact) -> Vec<Event<'_>> {
    let event = |kind, more| Event { fact, id: fact.event_id.clone(), kind, place: 1, more };
    match &fact.change {
        CallChange::Created(_) | CallChange::Chat(_) | CallChange::Role { .. } | CallChange::Updated(_) => Vec::new(),
        CallChange::Joined { who, name, role, count, first } => {
            let mut participant = participant(who);
            participant["name"] = name.as_str().into();
            participant["role"] = role.as_str().into();
            let joined =
                event("participant.joined", json!({ "participant": participant, "currentParticipants": count }));
            let started = first.then(|| Event {
                id: format!("{}:started", fact.event_id),
                place: 0,
                ..event("call.started", json!({ "startedAt": fact.at }))
            });
            started.into_iter().chain([joined]).collect()
        }
        CallChange::Left { who, reason, .. } => {
            vec![event("participant.left", json!({ "participant": participant(who), "reason": reason }))]
        }
        CallChange::Emptied => vec![event("call.emptied", json!({ "emptiedAt": fact.at }))],
        CallChange::Reopened => vec![event("call.reopened", json!({ "reopenedAt": fact.at }))],
        CallChange::Ended { reason } => {
            vec![event("call.ended", json!({ "endedAt": fact.at, "reason": reason }))]
        }
    }
}

fn participant(who: &Stay) -> Value {
    json!({ "userId": who.user, "peerId": who.peer, "connectionId": who.join, "isGuest": who.user.is_guest() })
}

impl Event<'_> {
    fn delivery(&self, endpoint: &str) -> Delivery {
        Delivery {
            id: format!("{endpoint}/{}", self.id),
            endpoint: endpoint.to_owned(),
            event_id: self.id.clone(),
            event: self.kind.to_owned(),
            call_id: self.fact.call.to_string(),
            order: format!("{}-{}", self.fact.order, self.place),
            body: self.body(self.fact.at),
            attempts: 0,
            created_at: self.fact.at,
        }
    }

    fn body(&self, at: Timestamp) -> String {
        let room = &self.fact.room;
        let mut data = json!({ "callId": self.fact.call, "roomId": room.name() });
        if !room.is_of_default_app() {
            data["appId"] = room.app().as_str().into();
        }
        if let (Some(data), Some(more)) = (data.as_object_mut(), self.more.as_object()) {
            data.extend(more.clone());
        }
        json!({ "id": self.id, "type": self.kind, "createdAt": at, "data": data }).to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use switchboard_core::domain::{CallId, PeerId, Role, RoomId, UserId};

    fn sent(change: CallChange) -> Vec<(String, Value)> {
        let fact = CallFact {
            event_id: "3:7-0".to_owned(),
            order: "7".to_owned(),
            at: Timestamp(1_767_225_600_007),
            call: CallId::parse("0123456789abcdef01234567").unwrap(),
            room: RoomId::parse("r").unwrap(),
            change,
        };
        let each = deliveries(&[fact], &["hook".to_owned()]).into_iter();
        each.map(|one| (one.event_id, serde_json::from_str(&one.body).unwrap())).collect()
    }

    #[test]
    fn each_period_of_a_call_has_its_own_start() {
        let user = UserId::parse("0123456789abcdef01234567").unwrap();
        let who = Stay { peer: PeerId::parse(user.as_str()).unwrap(), user, join: "6-0".to_owned() };
        for (first, types) in [(true, &["call.started", "participant.joined"][..]), (false, &["participant.joined"])] {
            let joined =
                CallChange::Joined { who: who.clone(), name: "Ann".to_owned(), role: Role::Host, count: 1, first };
            let sent = sent(joined);
            assert_eq!(sent.iter().map(|(_, body)| body["type"].as_str().unwrap()).collect::<Vec<_>>(), types);
            if first {
                assert_eq!(sent[0].0, "3:7-0:started", "of this join, not of the call");
            }
        }
    }

    #[test]
    fn a_call_that_waits_again_is_announced() {
        for (change, kind, time) in
            [(CallChange::Emptied, "call.emptied", "emptiedAt"), (CallChange::Reopened, "call.reopened", "reopenedAt")]
        {
            let [(_, body)] = &sent(change)[..] else { panic!("one event") };
            assert_eq!((&body["type"], &body["data"][time]), (&json!(kind), &json!("2026-01-01T00:00:00.007Z")));
        }
    }
}
