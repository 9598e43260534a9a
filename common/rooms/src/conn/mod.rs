//! Connections to Redis, and the parser of `REDIS_URL`.
//!
//! | file | content |
//! |---|---|
//! | `connection` | a connection to one server, for lanes and subscriptions |
//! | `failures` | failures of connections, each cause logged once |
//! | `resp` | the RESP2 codec |
//!
//! `redis://[user[:password]@]host:port[/db]` names a standalone server,
//! `redis+cluster://[user[:password]@]host:port,host:port` a cluster by some of its members.
//! `rediss` and `rediss+cluster` are the same over TLS.
//!
//! The `redis` library writes commands and defines the values of answers.

pub mod connection;
mod failures;
pub mod resp;

use connection::ConnectionError;
use failures::Failures;
pub(crate) use failures::Purpose;
use switchboard_core::percent;

/// A parsed `REDIS_URL`. Clones share the log of failed connections, so that a process logs each
/// cause once.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    tls: bool,
    cluster: bool,
    user: Option<String>,
    password: Option<String>,
    hosts: Vec<(String, u16)>,
    database: i64,
    failures: Failures,
}

/// Why a `REDIS_URL` cannot be used. The text never repeats the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RedisUrlError(&'static str);

impl RedisUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// If the scheme, a host, a port or the database is not as the module describes.
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or(RedisUrlError("it has no scheme; use redis, rediss, redis+cluster or rediss+cluster"))?;
        let (tls, cluster) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+cluster" | "redis-cluster" => (false, true),
            "rediss+cluster" | "rediss-cluster" => (true, true),
            _ => return Err(RedisUrlError("its scheme must be redis, rediss, redis+cluster or rediss+cluster")),
        };
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = match credentials.map(|text| text.split_once(':')) {
            None => (None, None),
            Some(None) => return Err(RedisUrlError("its user has no password; use user:password@ or :password@")),
            Some(Some((user, password))) => {
                let (user, password) = (credential(user)?, credential(password)?);
                let user = Some(user).filter(|user| !user.is_empty());
                // A user of an ACL may have no password; `AUTH user ""` is then right.
                let password = Some(password).filter(|password| !password.is_empty() || user.is_some());
                (user, password)
            }
        };
        if rest.contains(['?', '#']) {
            return Err(RedisUrlError("it has a query (?) or a fragment (#), which are not supported"));
        }
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = hosts.split(',').map(host).collect::<Result<Vec<_>, _>>()?;
        if !cluster && hosts.len() != 1 {
            return Err(RedisUrlError("several hosts need the scheme redis+cluster"));
        }
        let database = match database {
            "" => 0,
            text => text.parse::<u32>().map_err(|_| RedisUrlError("its database is not a number"))?.into(),
        };
        if cluster && database != 0 {
            return Err(RedisUrlError("a cluster has only database 0"));
        }
        Ok(Self { tls, cluster, user, password, hosts, database, failures: Failures::default() })
    }

    /// Returns whether the URL names a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// Logs why a connection to a server failed, unless that was logged already.
    pub(crate) fn failed(&self, purpose: Purpose, server: &(String, u16), error: &ConnectionError) {
        self.failures.failed(purpose, server, self.tls, &self.without_secrets(&error.to_string()));
    }

    /// Logs that a connection to a server works, if a failure was logged before.
    pub(crate) fn recovered(&self, purpose: Purpose, server: &(String, u16)) {
        self.failures.recovered(purpose, server);
    }

    /// Removes the password from a server's words: a server that does not know `AUTH` repeats its
    /// arguments.
    fn without_secrets(&self, words: &str) -> String {
        let password = self.password.as_deref().filter(|password| !password.is_empty());
        password.map_or_else(|| words.to_owned(), |password| words.replace(password, "[secret]"))
    }

    /// Returns the hosts and ports that the URL names.
    #[must_use]
    pub fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }
}

impl std::fmt::Debug for RedisUrl {
    /// Writes the URL without its credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisUrl").field("cluster", &self.cluster).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

fn host(text: &str) -> Result<(String, u16), RedisUrlError> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or(RedisUrlError("a host has a [ without a ]"))?;
            if name.parse::<std::net::Ipv6Addr>().is_err() || !(port.is_empty() || port.starts_with(':')) {
                return Err(RedisUrlError("a host in brackets is no IPv6 address"));
            }
            (name, port.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    if name.is_empty() {
        return Err(RedisUrlError("a host is empty"));
    }
    if name.contains(char::is_whitespace) {
        return Err(RedisUrlError("a host has a blank"));
    }
    if port.is_some_and(|port| port.contains(':')) {
        return Err(RedisUrlError("an IPv6 address needs brackets"));
    }
    let port = match port.map(str::parse) {
        None => 6379,
        Some(Ok(port @ 1..)) => port,
        Some(_) => return Err(RedisUrlError("a port is not a number from 1 to 65535")),
    };
    Ok((name.to_owned(), port))
}

/// Percent-decodes a credential, without the blanks around it: a password that a Secret adds to the
/// URL often ends with a newline. A blank that belongs to it is percent-encoded.
fn credential(text: &str) -> Result<String, RedisUrlError> {
    percent::decode(text.trim()).ok_or(RedisUrlError("its credentials are not percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn each_form_of_url_is_parsed() {
        let url = RedisUrl::parse("redis://127.0.0.1:7000/3").unwrap();
        assert!(!url.is_cluster());
        assert_eq!((url.hosts(), url.database), (&[("127.0.0.1".to_owned(), 7000)][..], 3));
        let url = RedisUrl::parse("rediss+cluster://me:p%40ss@a:1,b,[::1]:3").unwrap();
        assert!(url.is_cluster() && url.tls);
        assert_eq!(url.password.as_deref(), Some("p@ss"));
        assert_eq!(url.hosts(), [("a".to_owned(), 1), ("b".to_owned(), 6379), ("::1".to_owned(), 3)]);
        assert!(!format!("{url:?}").contains("p@ss"));
    }

    #[test]
    fn an_unusable_url_is_refused() {
        for bad in
            ["127.0.0.1", "http://a", "redis://", "redis://a:x", "redis://a,b", "redis+cluster://a/1", "redis://a/x"]
        {
            assert!(RedisUrl::parse(bad).is_err(), "{bad}");
        }
        // Parts that would be ignored, or mean something else.
        for bad in [
            "redis://secret@a",
            "redis://a:0",
            "redis://a:99999",
            "redis://a:",
            "redis://a/-1",
            "redis://a?db=3",
            "rediss://a/0#insecure",
            "redis://::1:6379",
            "redis://[::1",
            "redis://[a]:1",
            "redis://:100%@a",
            "redis+cluster://a,,b",
            "redis+sentinel://a",
        ] {
            let refused = RedisUrl::parse(bad).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        let url = RedisUrl::parse("redis://ann:@[2001:db8::1]").unwrap();
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("ann"), Some("")));
        assert_eq!(url.hosts(), [("2001:db8::1".to_owned(), 6379)]);
        let url = RedisUrl::parse("redis://:p#?/@ss@a/2").unwrap();
        assert_eq!((url.password.as_deref(), url.database), (Some("p#?/@ss"), 2));
        let url = RedisUrl::parse("redis://ann:p ss%20\n@a").unwrap();
        assert_eq!(url.password.as_deref(), Some("p ss "));
    }
}
