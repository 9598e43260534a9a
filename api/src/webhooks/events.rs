//! Converts recorded facts to webhook events. `docs/PROTOCOL.md`, "Webhooks", is the contract.

use serde_json::{Value, json};
use switchboard_core::domain::{AppId, Timestamp, WebhookEvent};
use switchboard_records::{CallChange, CallFact, CallUpdate, Delivery, Stay};

use super::directory::Endpoints;

/// Type of the event that tests an endpoint. It is about no call.
pub(super) const PING: &str = "ping";

/// Returns the deliveries of `facts`: one for each event and endpoint that gets it.
#[must_use]
pub fn deliveries(facts: &[CallFact], endpoints: &Endpoints) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for fact in facts {
        let app = fact.room.app();
        for event in events(&fact.change) {
            let mut receivers = endpoints.receivers(&app, event).peekable();
            // An event that no endpoint gets costs no more than this.
            if receivers.peek().is_some() {
                let place = u8::from(event != WebhookEvent::CallStarted);
                let event = Event { fact, id: id(fact, event), kind: event, place };
                let body = event.body(&app);
                deliveries.extend(receivers.map(|endpoint| event.delivery(&endpoint.name, body.clone())));
            }
        }
    }
    deliveries
}

/// Returns the body of an event that tests an endpoint.
pub(super) fn ping(id: &str, app: &AppId, webhook: &str, at: Timestamp) -> String {
    let data = json!({ "webhookId": webhook });
    json!({ "id": id, "type": PING, "createdAt": at, "app": app, "data": data }).to_string()
}

/// Returns the types of the events of a change, in their order.
fn events(change: &CallChange) -> Vec<WebhookEvent> {
    match change {
        CallChange::Created(_) => vec![],
        CallChange::Joined { first: true, .. } => vec![WebhookEvent::CallStarted, WebhookEvent::ParticipantJoined],
        CallChange::Joined { .. } => vec![WebhookEvent::ParticipantJoined],
        CallChange::Left { .. } => vec![WebhookEvent::ParticipantLeft],
        CallChange::Denied { .. } => vec![WebhookEvent::ParticipantDenied],
        CallChange::Role { .. } => vec![WebhookEvent::ParticipantRoleChanged],
        CallChange::Chat(_) => vec![WebhookEvent::ChatMessage],
        CallChange::Updated(_) => vec![WebhookEvent::CallUpdated],
        CallChange::Emptied => vec![WebhookEvent::CallEmptied],
        CallChange::Reopened => vec![WebhookEvent::CallReopened],
        CallChange::Ended { .. } => vec![WebhookEvent::CallEnded],
    }
}

/// Returns the id of an event: that of its fact, which a start shares with a join.
fn id(fact: &CallFact, event: WebhookEvent) -> String {
    match event {
        WebhookEvent::CallStarted => format!("{}:started", fact.event_id),
        _ => fact.event_id.clone(),
    }
}

struct Event<'a> {
    fact: &'a CallFact,
    id: String,
    kind: WebhookEvent,
    /// Position among the events of one fact: a call starts before its first participant joins.
    place: u8,
}

impl Event<'_> {
    fn delivery(&self, endpoint: &str, body: String) -> Delivery {
        Delivery {
            id: format!("{endpoint}/{}", self.id),
            endpoint: endpoint.to_owned(),
            event_id: self.id.clone(),
            event: self.kind.as_str().to_owned(),
            call_id: self.fact.call.to_string(),
            order: format!("{}-{}", self.fact.order, self.place),
            body,
            attempts: 0,
            created_at: self.fact.at,
            queued_at: None,
        }
    }

    fn body(&self, app: &AppId) -> String {
        let (room, at) = (&self.fact.room, self.fact.at);
        let mut data = json!({ "callId": self.fact.call, "roomId": room.name() });
        if !room.is_of_default_app() {
            data["appId"] = app.as_str().into();
        }
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), self.details()) {
            data.extend(more);
        }
        json!({ "id": self.id, "type": self.kind, "createdAt": at, "app": app, "data": data }).to_string()
    }

    /// Returns the data of the event besides the call.
    fn details(&self) -> Value {
        let at = self.fact.at;
        match &self.fact.change {
            CallChange::Created(_) => Value::Null,
            CallChange::Joined { .. } if self.kind == WebhookEvent::CallStarted => json!({ "startedAt": at }),
            CallChange::Joined { who, name, role, count, .. } => {
                let mut participant = participant(who);
                participant["name"] = name.as_str().into();
                participant["role"] = role.as_str().into();
                json!({ "participant": participant, "currentParticipants": count })
            }
            CallChange::Left { who, reason, .. } => json!({ "participant": participant(who), "reason": reason }),
            // The participant had no connection in the call.
            CallChange::Denied { who } => {
                let participant = json!({ "userId": who.user, "peerId": who.peer, "isGuest": who.user.is_guest() });
                json!({ "participant": participant })
            }
            CallChange::Role { who, role } => {
                let mut participant = participant(who);
                participant["role"] = role.as_str().into();
                json!({ "participant": participant })
            }
            CallChange::Chat(chat) => json!({ "message": {
                "id": chat.id, "from": chat.from, "name": chat.name, "to": chat.to, "message": chat.message,
                "timestamp": at,
            } }),
            CallChange::Updated(update) => json!({ "call": call(update) }),
            CallChange::Emptied => json!({ "emptiedAt": at }),
            CallChange::Reopened => json!({ "reopenedAt": at }),
            CallChange::Ended { reason } => json!({ "endedAt": at, "reason": reason }),
        }
    }
}

fn participant(who: &Stay) -> Value {
    json!({ "userId": who.user, "peerId": who.peer, "connectionId": who.join, "isGuest": who.user.is_guest() })
}

/// Returns a changed call. The hash of a passcode stays here.
fn call(update: &CallUpdate) -> Value {
    let CallUpdate { title, host, settings, max_participants, locked, revision, access } = update;
    let mut call = json!({
        "title": title, "settings": settings, "maxParticipants": max_participants, "locked": locked,
        "revision": revision,
    });
    if let Some(host) = host {
        call["hostId"] = json!(host);
    }
    if let Some(access) = access {
        call["type"] = json!(access.call_type);
        call["hasPasscode"] = access.passcode.is_some().into();
    }
    call
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::webhooks::options::Endpoint;
    use switchboard_core::domain::{CallId, CallSettings, CallType, PeerId, Role, RoomId, UserId};
    use switchboard_records::{CallAccess, ChatMessage};

    fn fact(room: &str, change: CallChange) -> CallFact {
        CallFact {
            event_id: "3:7-0".to_owned(),
            order: "7".to_owned(),
            at: Timestamp(1_767_225_600_007),
            call: CallId::parse("0123456789abcdef01234567").unwrap(),
            room: RoomId::parse(room).unwrap(),
            change,
        }
    }

    /// Returns the events for an endpoint that gets every type.
    fn sent(change: CallChange) -> Vec<(String, Value)> {
        let endpoint = Endpoint { events: WebhookEvent::ALL.to_vec(), ..Endpoint::parse("http://a.test").unwrap() };
        let each = deliveries(&[fact("r", change)], &Endpoints::new(vec![endpoint])).into_iter();
        each.map(|one| (one.event_id, serde_json::from_str(&one.body).unwrap())).collect()
    }

    fn stay() -> Stay {
        let user = UserId::parse("0123456789abcdef01234567").unwrap();
        Stay { peer: PeerId::parse(user.as_str()).unwrap(), user, join: "6-0".to_owned() }
    }

    #[test]
    fn each_period_of_a_call_has_its_own_start() {
        for (first, types) in [(true, &["call.started", "participant.joined"][..]), (false, &["participant.joined"])] {
            let joined = CallChange::Joined { who: stay(), name: "Ann".to_owned(), role: Role::Host, count: 1, first };
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
            assert_eq!(body["app"], "default");
        }
    }

    #[test]
    fn a_change_a_role_a_refusal_and_a_message_are_sent_without_secrets() {
        let access =
            CallAccess { call_type: CallType::Private, passcode: Some("$argon2$hash".to_owned()), invited: Vec::new() };
        let update = CallUpdate {
            title: "T".to_owned(),
            host: Some(stay().user),
            settings: CallSettings::default(),
            max_participants: 5,
            locked: true,
            revision: 3,
            access: Some(access),
        };
        let [(_, body)] = &sent(CallChange::Updated(Box::new(update)))[..] else { panic!("one event") };
        let call = &body["data"]["call"];
        assert_eq!(
            (&body["type"], &call["title"], &call["hasPasscode"]),
            (&json!("call.updated"), &json!("T"), &json!(true))
        );
        assert!(!body.to_string().contains("argon2"));
        let [(_, body)] = &sent(CallChange::Role { who: stay(), role: Role::Moderator })[..] else { panic!("one") };
        assert_eq!(
            (&body["type"], &body["data"]["participant"]["role"]),
            (&json!("participant.role_changed"), &json!("moderator"))
        );
        let [(_, body)] = &sent(CallChange::Denied { who: stay() })[..] else { panic!("one") };
        assert_eq!(
            (&body["type"], &body["data"]["participant"]["connectionId"]),
            (&json!("participant.denied"), &Value::Null)
        );
        let (id, from, name, message) = ("m1".to_owned(), stay().user, "Ann".to_owned(), "hi".to_owned());
        let chat = CallChange::Chat(Box::new(ChatMessage { id, from, name, to: None, message }));
        let [(_, body)] = &sent(chat)[..] else { panic!("one") };
        assert_eq!((&body["type"], &body["data"]["message"]["message"]), (&json!("chat.message"), &json!("hi")));
    }

    #[test]
    fn an_app_gets_the_events_of_its_calls_that_it_asks_for_and_the_deployment_those_of_earlier_versions() {
        let apps = ["acme", "other"].map(|app| AppId::parse(app).unwrap());
        let mut endpoints = Endpoints::new(vec![Endpoint::parse("http://all.test").unwrap()]);
        for app in &apps {
            let events = vec![WebhookEvent::CallEnded, WebhookEvent::ParticipantDenied];
            let endpoint = Endpoint {
                name: app.to_string(),
                app: Some(app.clone()),
                events,
                ..Endpoint::parse("http://a.test").unwrap()
            };
            endpoints.replace(app, vec![endpoint.into()]);
        }
        let deployment = endpoints.of_deployment().next().unwrap().name.clone();
        let ended = || CallChange::Ended { reason: "host".to_owned() };
        let to = |endpoints: &Endpoints, room: &str, change| {
            deliveries(&[fact(room, change)], endpoints).into_iter().map(|one| one.endpoint).collect::<Vec<_>>()
        };
        assert_eq!(to(&endpoints, "acme.r", ended()), [deployment.clone(), "acme".to_owned()]);
        assert_eq!(to(&endpoints, "other.r", ended()), [deployment.clone(), "other".to_owned()]);
        assert_eq!(to(&endpoints, "r", ended()), std::slice::from_ref(&deployment));
        assert_eq!(to(&endpoints, "acme.r", CallChange::Emptied), [deployment]);
        assert_eq!(to(&endpoints, "acme.r", CallChange::Denied { who: stay() }), ["acme"]);
        endpoints.replace(&apps[0], Vec::new());
        assert!(to(&endpoints, "acme.r", CallChange::Denied { who: stay() }).is_empty());
        assert!(endpoints.get("acme").is_none() && endpoints.get("other").is_some());
    }
}
