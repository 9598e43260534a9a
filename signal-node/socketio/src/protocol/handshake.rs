//! Facts about a socket from the HTTP request that opened it.

use std::sync::Arc;

use switchboard_core::client_address::ClientNetwork;
use tokio::time::Instant;

/// Facts about a socket from its opening request. Of a usual request it keeps no text but the
/// origin of a page of others, because it lives as long as the socket.
#[derive(Debug)]
pub struct Handshake {
    /// Engine.IO session id.
    pub sid: Arc<str>,
    /// Network of the client, behind the configured number of trusted proxies.
    pub network: ClientNetwork,
    /// Transport that opened the socket.
    pub transport: TransportKind,
    /// Time of the opening request. Heartbeat and timeouts count from it.
    pub opened: Instant,
    /// Origin of the page that opened the socket, as the browser sent it; `None` without one, or if
    /// it is this server's own address.
    pub origin: Option<Box<str>>,
    /// What the opening request carried beside Engine.IO's own parameters; `None` if nothing.
    pub extras: Option<Box<RequestExtras>>,
}

/// Parts of an opening request that only the application understands.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RequestExtras {
    /// Header `Authorization`.
    pub authorization: Option<String>,
    /// Parameters of the query that are not Engine.IO's, as the client sent them: `name=value`,
    /// joined with `&`.
    pub query: String,
}

impl RequestExtras {
    /// Parameters of Engine.IO and of the stock clients.
    const OWN_PARAMETERS: [&'static str; 6] = ["EIO", "transport", "sid", "t", "b64", "j"];

    /// Collects the extras of a request; `None` if there are none.
    pub(crate) fn of(authorization: Option<&str>, query: &str) -> Option<Box<Self>> {
        let is_own = |pair: &&str| Self::OWN_PARAMETERS.contains(&pair.split('=').next().unwrap_or_default());
        let query: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !is_own(pair)).collect();
        let extras = Self { authorization: authorization.map(str::to_owned), query: query.join("&") };
        (extras != Self::default()).then(|| Box::new(extras))
    }
}

/// Kind of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// WebSocket frames.
    WebSocket,
    /// HTTP long-polling.
    Polling,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_request_has_no_extras_and_others_keep_what_is_not_engine_ios() {
        let usual = "EIO=4&transport=polling&t=abc&b64=1&j=0";
        assert_eq!(RequestExtras::of(None, usual), None);
        let extras = RequestExtras::of(Some("Bearer x"), &format!("token=a.b.c&{usual}&room=r"));
        let expected =
            RequestExtras { authorization: Some("Bearer x".to_owned()), query: "token=a.b.c&room=r".to_owned() };
        assert_eq!(extras.as_deref(), Some(&expected));
    }
}
