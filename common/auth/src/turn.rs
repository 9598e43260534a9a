//! ICE servers for clients, with TURN credentials.
//!
//! Only participants of a room get TURN servers; all others get STUN servers alone. With a shared
//! secret, each participant gets credentials that expire. coturn checks them with its option
//! `use-auth-secret` (draft-uberti-behave-turn-rest-00): `username = <expiry>:<room>.<user>`, and
//! `credential = base64(HMAC-SHA1(secret, username))`. `expiry` is in seconds since the Unix epoch.
//! coturn counts its `user-quota` by the part after the colon, so new credentials of a participant
//! share the quota of the old ones.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha1::Sha1;

use switchboard_core::KeyRing;
use switchboard_core::domain::{RoomId, UserId};

/// Entry of `iceServers`, in the form that `RTCPeerConnection` takes (W3C WebRTC, `RTCIceServer`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IceServer {
    /// URLs with the scheme `stun:`, `turn:` or `turns:`.
    pub urls: Vec<String>,
    /// User name; TURN only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password; TURN only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Credentials of clients at the TURN server.
#[derive(Clone)]
pub enum TurnCredentials {
    /// No credentials.
    None,
    /// One user name and password for all clients.
    Static {
        /// User name.
        username: String,
        /// Password.
        credential: String,
    },
    /// Credentials per participant, derived from a secret that the TURN server also has.
    Secret {
        /// Shared secrets. The current one signs; the TURN server accepts the others too, until the
        /// credentials that they signed have expired.
        keys: KeyRing,
        /// Lifetime of a credential.
        ttl: Duration,
    },
}

/// ICE servers of the deployment.
#[derive(Clone)]
pub struct IceConfig {
    /// STUN URLs; may be empty.
    pub stun: Vec<String>,
    /// TURN URLs; may be empty.
    pub turn: Vec<String>,
    /// Credentials for the TURN servers.
    pub credentials: TurnCredentials,
}

impl std::fmt::Debug for IceConfig {
    /// Shows no credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceConfig").field("stun", &self.stun).field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// ICE servers for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceGrant {
    /// Servers; empty if none is configured.
    pub servers: Vec<IceServer>,
    /// Seconds until the credentials expire. `None`: there are none that expire.
    pub ttl: Option<u64>,
}

impl IceConfig {
    /// Returns the ICE servers for a client without a seat: STUN only.
    #[must_use]
    pub fn without_seat(&self) -> IceGrant {
        let servers = if self.stun.is_empty() {
            Vec::new()
        } else {
            vec![IceServer { urls: self.stun.clone(), username: None, credential: None }]
        };
        IceGrant { servers, ttl: None }
    }

    /// Returns the ICE servers for a participant of `room` at `now_s` (seconds since the Unix
    /// epoch).
    #[must_use]
    pub fn for_participant(&self, room: &RoomId, user: &UserId, now_s: u64) -> IceGrant {
        let IceGrant { mut servers, mut ttl } = self.without_seat();
        if !self.turn.is_empty() {
            let (username, credential) = match &self.credentials {
                TurnCredentials::None => (None, None),
                TurnCredentials::Static { username, credential } => (Some(username.clone()), Some(credential.clone())),
                TurnCredentials::Secret { keys, ttl: lifetime } => {
                    let username = format!("{}:{room}.{user}", now_s + lifetime.as_secs());
                    let credential = sign(keys.load().current().secret().expose(), &username);
                    ttl = Some(lifetime.as_secs());
                    (Some(username), Some(credential))
                }
            };
            servers.push(IceServer { urls: self.turn.clone(), username, credential });
        }
        IceGrant { servers, ttl }
    }
}

fn sign(secret: &str, username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn config(credentials: TurnCredentials) -> IceConfig {
        IceConfig { stun: vec!["stun:s:3478".into()], turn: vec!["turn:t:3478".into()], credentials }
    }

    #[test]
    fn a_credential_from_a_secret_equals_the_one_that_coturn_computes() {
        let (room, user) = (RoomId::parse("AB12").unwrap(), UserId::parse("guest-0123456789abcdef").unwrap());
        let ice = config(TurnCredentials::Secret { keys: "north".into(), ttl: Duration::from_secs(600) });
        let mut grant = ice.for_participant(&room, &user, 1_000);
        assert_eq!(grant.ttl, Some(600));
        let turn = grant.servers.pop().unwrap();
        assert_eq!(turn.username.as_deref(), Some("1600:AB12.guest-0123456789abcdef"));
        // printf 1600:AB12.guest-0123456789abcdef |
        //   openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(turn.credential.as_deref(), Some("1IzyZ5dpmIdMgJilNpr7M1qt39U="));
    }

    #[test]
    fn static_credentials_are_sent_with_turn_servers_only() {
        let (room, user) = (RoomId::parse("r").unwrap(), UserId::parse("u").unwrap());
        let ice = config(TurnCredentials::Static { username: "n".into(), credential: "p".into() });
        let IceGrant { servers, ttl } = ice.for_participant(&room, &user, 0);
        assert_eq!(ttl, None);
        assert_eq!((servers[0].username.as_deref(), servers[1].username.as_deref()), (None, Some("n")));
        assert_eq!(servers[1].credential.as_deref(), Some("p"));
        assert_eq!(ice.without_seat().servers, servers[..1], "without a seat there is STUN only");
    }
}
