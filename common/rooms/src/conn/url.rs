//! The parser of `REDIS_URL`.
//!
//! | URL | Redis |
//! |---|---|
//! | `redis://[user[:password]@]host:port[/db]` | a standalone server |
//! | `redis+cluster://[user[:password]@]host:port,host:port` | a cluster, by some of its members |
//! | `redis+sentinel://[user[:password]@]host:port,host:port/master-name[/db][?query]` | a master that Sentinels name |
//!
//! `rediss`, `rediss+cluster` and `rediss+sentinel` are the same over TLS. The credentials of a
//! Sentinel URL are for the Sentinels too, unless the query has `sentinel_password` and, for an ACL
//! user, `sentinel_username`. An empty `sentinel_password` means that the Sentinels need none.

use switchboard_core::percent;

use super::connection::ConnectionError;
use super::failures::{Failures, OptionalCommand, Purpose};
use super::tls::ClientCertificate;

/// Default port of a Redis server.
const REDIS_PORT: u16 = 6379;
/// Default port of a Sentinel.
const SENTINEL_PORT: u16 = 26_379;

/// A parsed `REDIS_URL`. Clones share the log of failed connections, so that a process logs each
/// cause once.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    tls: bool,
    deployment: Deployment,
    credentials: Option<Credentials>,
    hosts: Vec<(String, u16)>,
    database: u8,
    client_certificate: Option<ClientCertificate>,
    failures: Failures,
}

/// Kind of Redis that a URL names.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Deployment {
    /// One server.
    Standalone,
    /// A Redis Cluster.
    Cluster,
    /// A master and its replicas. The hosts of the URL are Sentinels.
    Sentinel(Sentinels),
}

/// How to ask the Sentinels of a URL.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sentinels {
    /// Name of the master in the configuration of the Sentinels.
    pub(crate) master: String,
    /// Credentials for the Sentinels.
    pub(crate) credentials: Option<Credentials>,
}

/// Arguments of `AUTH`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// ACL user; the default user when `None`.
    pub(crate) user: Option<String>,
    pub(crate) password: String,
}

/// Why a `REDIS_URL` cannot be used. The text never repeats the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RedisUrlError(&'static str);

impl RedisUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// If the scheme, a host, a port, the master's name, the database or the query is not as the
    /// module describes.
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or(RedisUrlError("it has no scheme; use redis, redis+cluster or redis+sentinel, or rediss for TLS"))?;
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((text, rest)) => {
                let (user, password) = text
                    .split_once(':')
                    .ok_or(RedisUrlError("its user has no password; use user:password@ or :password@"))?;
                (Credentials::decode(user, password)?, rest)
            }
            None => (None, rest),
        };
        if rest.contains('#') {
            return Err(RedisUrlError("it has a fragment (#), which is not supported"));
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (tls, deployment, database) = match scheme {
            "redis" | "rediss" => (scheme == "rediss", Deployment::Standalone, path),
            "redis+cluster" | "redis-cluster" => (false, Deployment::Cluster, path),
            "rediss+cluster" | "rediss-cluster" => (true, Deployment::Cluster, path),
            "redis+sentinel" | "rediss+sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                let master = decode(master)?;
                if master.is_empty() || master.contains(char::is_whitespace) {
                    return Err(RedisUrlError("it names no master; use host:port,host:port/master-name"));
                }
                let credentials = sentinel_credentials(query.unwrap_or(""), credentials.as_ref())?;
                let sentinels = Sentinels { master, credentials };
                (scheme == "rediss+sentinel", Deployment::Sentinel(sentinels), database)
            }
            _ => {
                return Err(RedisUrlError(
                    "its scheme must be redis, redis+cluster or redis+sentinel, or rediss for TLS",
                ));
            }
        };
        let is_sentinel = matches!(deployment, Deployment::Sentinel(_));
        if query.is_some() && !is_sentinel {
            return Err(RedisUrlError("it has a query (?), which only redis+sentinel has"));
        }
        let port = if is_sentinel { SENTINEL_PORT } else { REDIS_PORT };
        let hosts = hosts.split(',').map(|text| host(text, port)).collect::<Result<Vec<_>, _>>()?;
        if deployment == Deployment::Standalone && hosts.len() != 1 {
            return Err(RedisUrlError("several hosts need the scheme redis+cluster or redis+sentinel"));
        }
        let database = match database {
            "" => 0,
            text => text.parse().map_err(|_| RedisUrlError("its database is not a number from 0 to 255"))?,
        };
        if deployment == Deployment::Cluster && database != 0 {
            return Err(RedisUrlError("a cluster has only database 0"));
        }
        let (client_certificate, failures) = (None, Failures::default());
        Ok(Self { tls, deployment, credentials, hosts, database, client_certificate, failures })
    }

    /// Presents a certificate to the servers.
    ///
    /// # Errors
    /// If the URL is not one over TLS.
    pub fn with_client_certificate(self, certificate: ClientCertificate) -> Result<Self, RedisUrlError> {
        if !self.tls {
            return Err(RedisUrlError("needs a REDIS_URL over TLS: rediss, rediss+cluster or rediss+sentinel"));
        }
        Ok(Self { client_certificate: Some(certificate), ..self })
    }

    /// Returns the kind of Redis that the URL names.
    pub(crate) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Returns whether connections use TLS.
    pub(crate) fn tls(&self) -> bool {
        self.tls
    }

    /// Returns the credentials for the servers.
    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Returns the number of the database.
    pub(crate) fn database(&self) -> u8 {
        self.database
    }

    /// Returns the certificate that the servers may ask for.
    pub(crate) fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_ref()
    }

    /// Logs why a connection to a server failed, unless that was logged already.
    pub(crate) fn failed(&self, purpose: Purpose, server: &(String, u16), error: &ConnectionError) {
        let words = match error {
            // A server without TLS waits for the rest of a command.
            ConnectionError::Io(late) if self.tls && late.kind() == std::io::ErrorKind::TimedOut => {
                format!("{error}; does it speak TLS on this port?")
            }
            _ => self.without_secrets(&error.to_string()),
        };
        self.failures.failed(purpose, server, self.tls, &words);
    }

    /// Logs that a connection to a server works, if a failure was logged before.
    pub(crate) fn recovered(&self, purpose: Purpose, server: &(String, u16)) {
        self.failures.recovered(purpose, server);
    }

    /// Logs once that the user of this URL may not run a command that nodes can do without.
    pub(crate) fn denied(&self, command: OptionalCommand, reason: &str) {
        self.failures.denied(command, &self.without_secrets(reason));
    }

    /// Returns whether the command was denied before.
    pub(crate) fn is_denied(&self, command: OptionalCommand) -> bool {
        self.failures.is_denied(command)
    }

    /// Removes passwords from a server's words: a server that does not know `AUTH` repeats its
    /// arguments.
    fn without_secrets(&self, words: &str) -> String {
        let sentinels = match &self.deployment {
            Deployment::Sentinel(sentinels) => sentinels.credentials.as_ref(),
            Deployment::Standalone | Deployment::Cluster => None,
        };
        let passwords = self.credentials.iter().chain(sentinels).map(|it| &*it.password);
        passwords
            .filter(|password| !password.is_empty())
            .fold(words.to_owned(), |words, password| words.replace(password, "[secret]"))
    }

    /// Returns the hosts and ports that the URL names: servers, or Sentinels.
    #[must_use]
    pub fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }
}

impl std::fmt::Debug for RedisUrl {
    /// Writes the URL without its credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let deployment = match &self.deployment {
            Deployment::Standalone => "standalone",
            Deployment::Cluster => "cluster",
            Deployment::Sentinel(_) => "sentinel",
        };
        f.debug_struct("RedisUrl").field("deployment", &deployment).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Decodes a user and a password; `None` if both are empty.
    fn decode(user: &str, password: &str) -> Result<Option<Self>, RedisUrlError> {
        let (user, password) = (decode(user)?, decode(password)?);
        let user = Some(user).filter(|user| !user.is_empty());
        // A user of an ACL may have no password; `AUTH user ""` is then right.
        Ok((user.is_some() || !password.is_empty()).then_some(Self { user, password }))
    }
}

/// Reads the query of a Sentinel URL. Without one, the Sentinels have the credentials of Redis.
fn sentinel_credentials(query: &str, redis: Option<&Credentials>) -> Result<Option<Credentials>, RedisUrlError> {
    let (mut user, mut password) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "sentinel_username" => &mut user,
            "sentinel_password" => &mut password,
            _ => return Err(RedisUrlError("its query may have only sentinel_username and sentinel_password")),
        };
        if place.replace(value).is_some() {
            return Err(RedisUrlError("a name is twice in its query"));
        }
    }
    match (user, password) {
        (None, None) => Ok(redis.cloned()),
        (Some(_), None) => Err(RedisUrlError("its sentinel_username has no sentinel_password")),
        (user, Some(password)) => Credentials::decode(user.unwrap_or(""), password),
    }
}

fn host(text: &str, default_port: u16) -> Result<(String, u16), RedisUrlError> {
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
        None => default_port,
        Some(Ok(port @ 1..)) => port,
        Some(_) => return Err(RedisUrlError("a port is not a number from 1 to 65535")),
    };
    Ok((name.to_owned(), port))
}

/// Percent-decodes a part of the URL, without the blanks around it: a password that a Secret adds
/// to the URL often ends with a newline. A blank that belongs to it is percent-encoded.
fn decode(text: &str) -> Result<String, RedisUrlError> {
    percent::decode(text.trim()).ok_or(RedisUrlError("a part of it is not percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn login(credentials: Option<&Credentials>) -> Option<(Option<&str>, &str)> {
        credentials.map(|it| (it.user.as_deref(), &*it.password))
    }

    #[test]
    fn a_sentinel_url_names_the_master_and_may_have_other_credentials_for_the_sentinels() {
        let sentinels = |text: &str| {
            let url = RedisUrl::parse(text).unwrap();
            let Deployment::Sentinel(sentinels) = url.deployment().clone() else { panic!("{text}") };
            (url, sentinels)
        };
        let (url, asked) = sentinels("rediss+sentinel://me:p@a,[::1]:3/my%2Fcalls/2");
        assert!(url.tls && url.database == 2 && asked.master == "my/calls");
        assert_eq!(url.hosts(), [("a".to_owned(), 26_379), ("::1".to_owned(), 3)]);
        assert_eq!(login(url.credentials()), Some((Some("me"), "p")));
        assert_eq!(login(asked.credentials.as_ref()), Some((Some("me"), "p")));
        let (url, asked) = sentinels("redis+sentinel://:p@a/calls?sentinel_username=s&sentinel_password=q%40%26");
        assert!(!url.tls && url.database == 0);
        assert_eq!(login(url.credentials()), Some((None, "p")));
        assert_eq!(login(asked.credentials.as_ref()), Some((Some("s"), "q@&")));
        assert_eq!(url.without_secrets("AUTH p q@&"), "AUTH [secret] [secret]");
        let (_, asked) = sentinels("redis+sentinel://:p@a/calls?sentinel_password=");
        assert_eq!(login(asked.credentials.as_ref()), None);
        let (_, asked) = sentinels("redis+sentinel://a/calls");
        assert_eq!(login(asked.credentials.as_ref()), None);
    }

    #[test]
    fn each_form_of_url_is_parsed() {
        let url = RedisUrl::parse("redis://127.0.0.1:7000/3").unwrap();
        assert!(url.deployment == Deployment::Standalone && !url.tls);
        assert_eq!((url.hosts(), url.database), (&[("127.0.0.1".to_owned(), 7000)][..], 3));
        let url = RedisUrl::parse("rediss+cluster://me:p%40ss@a:1,b,[::1]:3").unwrap();
        assert!(url.deployment == Deployment::Cluster && url.tls);
        assert_eq!(login(url.credentials()), Some((Some("me"), "p@ss")));
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
            "redis://a/256",
            "redis://a?db=3",
            "rediss://a/0#insecure",
            "redis://::1:6379",
            "redis://[::1",
            "redis://[a]:1",
            "redis://:100%@a",
            "redis+cluster://a,,b",
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel://a//0",
            "redis+sentinel://a/m/x",
            "redis+sentinel://a/m/0/1",
            "redis+sentinel://a/m?db=3",
            "redis+sentinel://a/m?sentinel_username=secret",
            "redis+sentinel://a/m?sentinel_password=secret&sentinel_password=b",
            "redis+cluster://a?sentinel_password=secret",
        ] {
            let refused = RedisUrl::parse(bad).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        let url = RedisUrl::parse("redis://ann:@[2001:db8::1]").unwrap();
        assert_eq!(login(url.credentials()), Some((Some("ann"), "")));
        assert_eq!(url.hosts(), [("2001:db8::1".to_owned(), 6379)]);
        let url = RedisUrl::parse("redis://:p#?/@ss@a/2").unwrap();
        assert_eq!((login(url.credentials()), url.database), (Some((None, "p#?/@ss")), 2));
        let url = RedisUrl::parse("redis://ann:p ss%20\n@a").unwrap();
        assert_eq!(login(url.credentials()), Some((Some("ann"), "p ss ")));
    }
}
