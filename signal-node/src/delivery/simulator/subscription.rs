//! The subscription of a node: what it brings, and how it is lost and comes back.

use switchboard_core::wire::envelope::Envelope;

use super::store::P;
use super::world::{ToClient, World};

impl World {
    /// Handles the next message of a node's subscription.
    pub(crate) fn take_message(&mut self, node: usize) -> bool {
        let Some(message) = self.nodes[node].inbox.pop_front() else { return false };
        self.note(format!("node {node} receives {}", String::from_utf8_lossy(&message)));
        let envelope = Envelope::parse(&message).expect("scripts publish envelopes");
        let is_canary = matches!(envelope, Envelope::Canary { .. });
        let read = self.nodes[node].hub.deliver(P, envelope);
        self.read(node, read);
        if is_canary {
            self.tick(node);
        }
        true
    }

    /// Tells quiet clients their new offsets after a canary.
    fn tick(&mut self, node: usize) {
        for session in self.nodes[node].sessions.clone() {
            let fresh = self.nodes[node].hub.fresh_offset(P, &self.sessions[session].link);
            if let Some(offset) = fresh {
                self.send(session, ToClient::Tick { offset: offset.id });
                self.tally.add("ticked");
            }
        }
    }

    /// The subscription breaks: what was on its way is lost.
    pub(crate) fn lose_subscription(&mut self, node: usize) {
        self.note(format!("node {node} loses its subscription"));
        let state = &mut self.nodes[node];
        (state.subscribed, state.unreported) = (false, false);
        state.inbox.clear();
        state.hub.subscription_lost(P);
    }

    /// The subscription is back, and messages arrive before delivery knows that.
    fn subscribe_again(&mut self, node: usize) {
        self.note(format!("node {node} subscribes again"));
        (self.nodes[node].subscribed, self.nodes[node].unreported) = (true, true);
    }

    /// Takes the next step of making a lost subscription again.
    pub(crate) fn repair_subscription(&mut self, node: usize) {
        if !self.nodes[node].subscribed {
            self.subscribe_again(node);
        } else if self.nodes[node].unreported {
            self.report_subscription(node);
        }
    }

    /// Tells delivery that the subscription is back: events published meanwhile are in the logs.
    fn report_subscription(&mut self, node: usize) {
        self.note(format!("node {node} knows that it is subscribed"));
        self.tally.add("gaps");
        self.nodes[node].unreported = false;
        for request in self.nodes[node].hub.subscription_restored(P) {
            if self.rules.catch_up {
                self.read(node, Some(request));
            } else {
                // Without the rule: as if nothing had been missed.
                drop(request.link.apply_log(request.gap_count, None, &[]));
            }
        }
    }
}
