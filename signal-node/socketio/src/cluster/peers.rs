//! Signatures between the nodes that share one public address.
//!
//! A session id contains the name of its node and is signed. If a request reaches another node,
//! that node hands it over to the session's node. A client cannot forge an id that names a node,
//! and an id reveals no address: only the [`PeerDirectory`] knows the addresses.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::future::BoxFuture;
use http::Request;
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use switchboard_core::ClusterKey;

/// Header with the signature of a hand-over. On the public port it has no effect.
pub(crate) const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-switchboard-handover");

/// Headers of a client's upgrade request that its session needs.
pub(crate) const FORWARDED_HEADERS: [HeaderName; 4] = [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION];

/// Maximum age of a signature, and maximum time by which it may lie in the future. The clocks of
/// the nodes differ by less.
const SIGNATURE_AGE_MAX: Duration = Duration::from_secs(60);

/// Number of characters of the random part of a session id, and of the signature in it: 120 bits
/// each.
const RANDOM_LENGTH: usize = 20;

/// Looks up the addresses of the other nodes.
pub trait PeerDirectory: Send + Sync + 'static {
    /// Returns `host:port` of a node's internal listener. Returns `None` if the node is not alive,
    /// or if the lookup fails.
    fn address<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Option<String>>;

    /// Returns whether a node still reports that it is alive; true if the lookup fails. Called once
    /// a second while a request waits for that node.
    fn is_alive<'a>(&'a self, node: &'a str) -> BoxFuture<'a, bool>;

    /// Drops a cached address, because the node did not answer there.
    fn mark_suspect(&self, node: &str);
}

/// Access of this node to the other nodes.
#[derive(Clone)]
pub struct Peers {
    node: Arc<str>,
    key: ClusterKey,
    pub(crate) directory: Arc<dyn PeerDirectory>,
    /// Answer of this node to health checks.
    pub(super) healthy: Arc<AtomicBool>,
}

impl Peers {
    /// Creates the access for the node of this name. All nodes share the key. Health checks of
    /// other nodes are answered with the value of `healthy`.
    #[must_use]
    pub fn new(node: &str, key: ClusterKey, directory: Arc<dyn PeerDirectory>, healthy: Arc<AtomicBool>) -> Self {
        Self { node: node.into(), key, directory, healthy }
    }

    /// Returns `host:port` of a node's internal listener, or `None` if the directory does not know
    /// it.
    pub async fn address(&self, node: &str) -> Option<String> {
        self.directory.address(node).await
    }

    /// Creates the id of a new session on this node: `<random><signature><node>`.
    pub(crate) fn new_sid(&self) -> String {
        let mut sid = random_sid();
        let signature = self.key.sign(&["sid", &sid, &self.node]);
        sid.push_str(&signature[..RANDOM_LENGTH]);
        sid.push_str(&self.node);
        sid
    }

    /// Returns the other node that created this session id. Returns `None` for an id of this node
    /// and for a forged one.
    pub(crate) fn owner<'s>(&self, sid: &'s str) -> Option<&'s str> {
        let (random, rest) = sid.split_at_checked(RANDOM_LENGTH)?;
        let (signature, node) = rest.split_at_checked(RANDOM_LENGTH)?;
        // A session of this node that is not open here has ended.
        let other = node != &*self.node;
        // Needs no constant time: a forged id only makes a node look for a session that does not
        // exist.
        (other && self.key.verify_beginning(&["sid", random, node], signature)).then_some(node)
    }

    /// Signs a request to a node: `<time>.<digest of the body>.<signature>`. The signature covers
    /// everything on which the node acts: method, target, [`FORWARDED_HEADERS`] and body.
    pub(crate) fn sign<B>(&self, to: &str, request: &Request<B>, body: &[u8]) -> String {
        let (now, digest) = (seconds().to_string(), ClusterKey::digest(body));
        let signature = self.key.sign(&signed_parts(to, request, &now, &digest));
        format!("{now}.{digest}.{signature}")
    }

    /// Returns the digest of the body, if another node signed this request to this node at most 60
    /// seconds ago. The caller compares the digest with the body, because the signature is verified
    /// before the body is read.
    pub(crate) fn verify<'s, B>(&self, signature: &'s str, request: &Request<B>) -> Option<&'s str> {
        let (time, rest) = signature.split_once('.')?;
        let (digest, signature) = rest.split_once('.')?;
        let fresh = time.parse::<u64>().is_ok_and(|time| time.abs_diff(seconds()) <= SIGNATURE_AGE_MAX.as_secs());
        let signed = fresh && self.key.verify(&signed_parts(&self.node, request, time, digest), signature);
        signed.then_some(digest)
    }
}

/// Returns the parts of a request that its signature covers.
fn signed_parts<'r, B>(to: &'r str, request: &'r Request<B>, time: &'r str, digest: &'r str) -> Vec<&'r [u8]> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let parts = ["handover", to, request.method().as_str(), target, time, digest].map(str::as_bytes);
    let headers = FORWARDED_HEADERS.into_iter();
    let headers = headers.map(|name| request.headers().get(name).map_or(&b""[..], HeaderValue::as_bytes));
    parts.into_iter().chain(headers).collect()
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Creates a random id of 120 bits.
pub(crate) fn random_sid() -> String {
    URL_SAFE.encode(rand::random::<[u8; 15]>())
}

fn seconds() -> u64 {
    // A clock before 1970 is wrong: no signature is valid then.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_core::{KeyRing, Secret};

    struct Nowhere;

    impl PeerDirectory for Nowhere {
        fn address<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<String>> {
            Box::pin(async { None })
        }

        fn is_alive<'a>(&'a self, _: &'a str) -> BoxFuture<'a, bool> {
            Box::pin(async { false })
        }

        fn mark_suspect(&self, _: &str) {}
    }

    fn peers(node: &str, secret: impl Into<KeyRing>) -> Peers {
        Peers::new(node, ClusterKey::derive(secret), Arc::new(Nowhere), Arc::default())
    }

    #[test]
    fn a_session_id_names_its_node_to_peers_and_cannot_be_forged() {
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

    fn request(method: &str, target: &str) -> Request<()> {
        Request::builder().method(method).uri(target).body(()).expect("a valid request")
    }

    #[test]
    fn a_signature_is_valid_only_for_its_receiver_and_its_request() {
        let (one, two) = (peers("n1", "s"), peers("n2", "s"));
        let sent = request("POST", "http://10.0.0.2:9202/socket.io/?sid=a");
        let signed = one.sign("n2", &sent, b"4hello");
        // The authority names the connection and does not reach the other node.
        let received = request("POST", "/socket.io/?sid=a");
        assert_eq!(two.verify(&signed, &received), Some(&*ClusterKey::digest(b"4hello")));
        assert!(two.verify(&signed, &request("GET", "/socket.io/?sid=a")).is_none());
        assert!(two.verify(&signed, &request("POST", "/socket.io/?sid=b")).is_none());
        assert!(peers("n3", "s").verify(&signed, &received).is_none());
        assert!(peers("n2", "other").verify(&signed, &received).is_none());
        for name in FORWARDED_HEADERS {
            let mut changed = request("POST", "/socket.io/?sid=a");
            changed.headers_mut().insert(name.clone(), HeaderValue::from_static("x"));
            assert!(two.verify(&signed, &changed).is_none(), "{name}");
        }
        let [time, digest, signature] = signed.split('.').collect::<Vec<_>>()[..] else { panic!("{signed}") };
        let earlier = time.parse::<u64>().expect("seconds") - 1;
        assert!(two.verify(&format!("{earlier}.{digest}.{signature}"), &received).is_none());
        let other = ClusterKey::digest(b"4other");
        assert!(two.verify(&format!("{time}.{other}.{signature}"), &received).is_none());
    }

    #[test]
    fn nodes_in_neighbouring_steps_of_a_rotation_accept_each_other() {
        let ring = |current: &str, previous: &[&str]| {
            KeyRing::new(Secret::new(current), previous.iter().map(|secret| Secret::new(*secret)))
        };
        let steps = [ring("old", &[]), ring("old", &["new"]), ring("new", &["old"]), ring("new", &[])];
        let request = request("POST", "/socket.io/?sid=a");
        let accepts = |one: &KeyRing, two: &KeyRing| {
            let (one, two) = (peers("n1", one), peers("n2", two));
            let accepted = two.verify(&one.sign("n2", &request, b"4hello"), &request).is_some();
            assert_eq!(two.owner(&one.new_sid()), accepted.then_some("n1"));
            accepted
        };
        for (one, next) in steps.iter().zip(&steps[1..]) {
            assert!(accepts(one, next) && accepts(next, one), "{one:?} {next:?}");
        }
        assert!(!accepts(&steps[0], &steps[3]) && !accepts(&steps[2], &steps[0]), "a step was left out");
    }

    #[test]
    fn a_signature_expires() {
        let (one, received) = (peers("n1", "s"), request("GET", "/"));
        let old = (seconds() - SIGNATURE_AGE_MAX.as_secs() - 2).to_string();
        let digest = ClusterKey::digest(b"");
        let signature = one.key.sign(&signed_parts("n1", &received, &old, &digest));
        assert!(one.verify(&format!("{old}.{digest}.{signature}"), &received).is_none());
        assert!(one.verify(&one.sign("n1", &received, b""), &received).is_some());
    }
}
