//! The nodes that share one public address: which of them has a session, and how they prove to each other who they are.
//!
//! A session id names its node and is signed, so that a request that lands elsewhere can be handed over, and a client can
//! neither invent a node nor tell an address: the [`Directory`] alone knows those.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::future::BoxFuture;
use switchboard_core::ClusterKey;

/// A hand-over signed longer ago, or further ahead, is refused. Nodes' clocks agree better than this.
const VALIDITY: Duration = Duration::from_secs(60);

/// Characters of a random session id, and of the part of its signature that it carries: 120 bits of each.
const RANDOM: usize = 20;

/// Where the other nodes take hand-overs.
pub trait Directory: Send + Sync + 'static {
    /// `host:port` of a node; none if it does not live, or nobody can tell.
    fn address<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Option<String>>;

    /// Whether a node still says that it lives. Asked again and again while something waits for it; true when nobody can tell.
    fn lives<'a>(&'a self, node: &'a str) -> BoxFuture<'a, bool>;

    /// The address did not answer: what is remembered of it is to be doubted.
    fn doubt(&self, node: &str);
}

/// What a node knows of its peers.
#[derive(Clone)]
pub struct Peers {
    node: Arc<str>,
    key: ClusterKey,
    pub(super) directory: Arc<dyn Directory>,
    /// What this node says of itself to those who ask.
    pub(super) well: Arc<AtomicBool>,
}

impl Peers {
    /// For the node of this name, which tells the others whether it is well. All nodes have the same key.
    #[must_use]
    pub fn new(node: &str, key: ClusterKey, directory: Arc<dyn Directory>, well: Arc<AtomicBool>) -> Self {
        Self { node: node.into(), key, directory, well }
    }

    /// Where a node takes hand-overs, and questions.
    pub async fn address(&self, node: &str) -> Option<String> {
        self.directory.address(node).await
    }

    /// The id of a new session here: `<random><signature><node>`.
    pub(super) fn new_sid(&self) -> String {
        let mut sid = random_sid();
        let signature = self.key.sign(&["sid", &sid, &self.node]);
        sid.push_str(&signature[..RANDOM]);
        sid.push_str(&self.node);
        sid
    }

    /// The other node that gave this id to a session.
    pub(super) fn owner<'s>(&self, sid: &'s str) -> Option<&'s str> {
        let (random, rest) = sid.split_at_checked(RANDOM)?;
        let (signature, node) = rest.split_at_checked(RANDOM)?;
        // Its own sessions are known here: one that is not has ended.
        let other = node != &*self.node;
        // In constant time or not: a forged id would only have a node look for a session that is not there.
        (other && self.key.sign(&["sid", random, node])[..RANDOM] == *signature).then_some(node)
    }

    /// Proves a hand-over of this request to a node: `<time>.<signature>`.
    pub(super) fn prove(&self, to: &str, method: &str, target: &str) -> String {
        let now = seconds();
        format!("{now}.{}", self.key.sign(&["handover", to, method, target, &now.to_string()]))
    }

    /// Whether a peer handed this request over to this very node, a moment ago.
    pub(super) fn accepts(&self, proof: &str, method: &str, target: &str) -> bool {
        let Some((time, signature)) = proof.split_once('.') else { return false };
        let fresh = time.parse::<u64>().is_ok_and(|time| time.abs_diff(seconds()) <= VALIDITY.as_secs());
        fresh && self.key.verify(&["handover", &self.node, method, target, time], signature)
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("node", &self.node).finish_non_exhaustive()
    }
}

/// An id that nobody can guess.
pub(super) fn random_sid() -> String {
    URL_SAFE.encode(rand::random::<[u8; 15]>())
}

fn seconds() -> u64 {
    // A clock before 1970 is no clock: then nothing is handed over.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl Directory for Nowhere {
        fn address<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<String>> {
            Box::pin(async { None })
        }

        fn lives<'a>(&'a self, _: &'a str) -> BoxFuture<'a, bool> {
            Box::pin(async { false })
        }

        fn doubt(&self, _: &str) {}
    }

    fn peers(node: &str, secret: &str) -> Peers {
        Peers::new(node, ClusterKey::derive(secret), Arc::new(Nowhere), Arc::default())
    }

    #[test]
    fn a_session_id_tells_its_node_to_peers_and_cannot_be_made_up() {
        let (one, two) = (peers("n1", "s"), peers("n2", "s"));
        let sid = one.new_sid();
        assert_eq!(two.owner(&sid), Some("n1"));
        assert_eq!(one.owner(&sid), None);
        assert_eq!(peers("n2", "other").owner(&sid), None);
        for forged in [
            sid.replace("n1", "n3"),
            format!("{sid}0"),
            sid[..40].to_owned(),
            format!("{}n1", &sid[..20]),
            "\u{fffd}".repeat(20),
            String::new(),
        ] {
            assert_eq!(two.owner(&forged), None, "{forged}");
        }
    }

    #[test]
    fn a_proof_holds_for_its_receiver_and_its_request_alone() {
        let (one, two) = (peers("n1", "s"), peers("n2", "s"));
        let proof = one.prove("n2", "GET", "/socket.io/?sid=a");
        assert!(two.accepts(&proof, "GET", "/socket.io/?sid=a"));
        assert!(!two.accepts(&proof, "POST", "/socket.io/?sid=a"));
        assert!(!two.accepts(&proof, "GET", "/socket.io/?sid=b"));
        assert!(!peers("n3", "s").accepts(&proof, "GET", "/socket.io/?sid=a"));
        assert!(!peers("n2", "other").accepts(&proof, "GET", "/socket.io/?sid=a"));
        let (time, signature) = proof.split_once('.').expect("time and signature");
        let earlier = time.parse::<u64>().expect("seconds") - 1;
        assert!(!two.accepts(&format!("{earlier}.{signature}"), "GET", "/socket.io/?sid=a"));
    }

    #[test]
    fn a_proof_does_not_last() {
        let one = peers("n1", "s");
        let old = (seconds() - VALIDITY.as_secs() - 2).to_string();
        let signature = one.key.sign(&["handover", "n1", "GET", "/", &old]);
        assert!(!one.accepts(&format!("{old}.{signature}"), "GET", "/"));
    }
}
