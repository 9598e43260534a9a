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
        let mut data = json!({ "callId": self.fact.call, "roomId": self.fact.room });
        if let (Some(data), Some(more)) = (data.as_object_mut(), self.more.as_object()) {
            data.extend(more.clone());
        }
        json!({ "id": self.id, "type": self.kind, "createdAt": at, "data": data }).to_string()
    }
}
