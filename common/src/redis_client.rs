//! Where Redis is: the one place that reads `REDIS_URL` and builds both clients' configurations from it.
//!
//! `redis://[user[:password]@]host:port[/db]` is a standalone server, `redis+cluster://[user[:password]@]host:port,host:port` a
//! cluster by some of its members; `rediss` and `rediss+cluster` the same over TLS.

use fred::types::config::{Config as FredConfig, Server, ServerConfig, TlsConfig, TlsConnector};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

/// A parsed `REDIS_URL`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    tls: bool,
    cluster: bool,
    user: Option<String>,
    password: Option<String>,
    hosts: Vec<(String, u16)>,
    database: i64,
}

/// A `REDIS_URL` that cannot be used. The message says why and never repeats the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RedisUrlError(&'static str);

impl RedisUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// When the scheme, a host, a port or the database is not as the module says.
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(RedisUrlError("it has no scheme"))?;
        let (tls, cluster) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+cluster" | "redis-cluster" => (false, true),
            "rediss+cluster" | "rediss-cluster" => (true, true),
            _ => return Err(RedisUrlError("its scheme is none of redis, rediss, redis+cluster, rediss+cluster")),
        };
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            Some((user, password)) => (text_of(user)?, text_of(password)?),
            None => (None, None),
        };
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = hosts.split(',').map(host).collect::<Result<Vec<_>, _>>()?;
        if !cluster && hosts.len() != 1 {
            return Err(RedisUrlError("several hosts need the scheme redis+cluster"));
        }
        let database = match database {
            "" => 0,
            text => text.parse().map_err(|_| RedisUrlError("its database is not a number"))?,
        };
        if cluster && database != 0 {
            return Err(RedisUrlError("a cluster has only database 0"));
        }
        Ok(Self { tls, cluster, user, password, hosts, database })
    }

    /// Whether it names a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// The servers it names.
    #[must_use]
    pub fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }

    /// How to reach one server with the same credentials: a member that the cluster itself named, or one of `hosts`.
    ///
    /// # Errors
    /// When the address makes no connection information.
    pub fn connection(&self, host: &str, port: u16) -> Result<ConnectionInfo, redis::RedisError> {
        let host = host.to_owned();
        let address = if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let mut settings = RedisConnectionInfo::default().set_db(self.database);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        Ok(address.into_connection_info()?.set_redis_settings(settings))
    }

    /// The configuration of `fred`, which carries the subscriptions.
    ///
    /// # Errors
    /// When TLS is asked for and cannot be set up.
    pub fn fred(&self) -> Result<FredConfig, fred::error::Error> {
        let servers = self.hosts.iter().map(|(host, port)| Server::new(host.as_str(), *port));
        let server = if self.cluster {
            ServerConfig::Clustered { hosts: servers.collect(), policy: Default::default() }
        } else {
            let (host, port) = &self.hosts[0];
            ServerConfig::Centralized { server: Server::new(host.as_str(), *port) }
        };
        let tls = if self.tls { Some(TlsConfig::from(TlsConnector::default_rustls()?)) } else { None };
        Ok(FredConfig {
            server,
            tls,
            username: self.user.clone(),
            password: self.password.clone(),
            database: u8::try_from(self.database).ok().filter(|_| !self.cluster),
            fail_fast: false,
            ..FredConfig::default()
        })
    }
}

impl std::fmt::Debug for RedisUrl {
    /// Leaves out the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisUrl").field("cluster", &self.cluster).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

fn host(text: &str) -> Result<(String, u16), RedisUrlError> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            (name, port.parse().map_err(|_| RedisUrlError("a port is not a number up to 65535"))?)
        }
        _ => (text, 6379),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() {
        return Err(RedisUrlError("a host is empty"));
    }
    Ok((name.to_owned(), port))
}

/// Percent-decodes a credential; an empty one is none.
fn text_of(text: &str) -> Result<Option<String>, RedisUrlError> {
    const BAD: RedisUrlError = RedisUrlError("its credentials are not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).ok_or(BAD)?;
        bytes.push(u8::from_str_radix(hex, 16).map_err(|_| BAD)?);
        rest = &rest[2..];
    }
    let decoded = String::from_utf8(bytes).map_err(|_| BAD)?;
    Ok((!decoded.is_empty()).then_some(decoded))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_form_of_url_is_read() {
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
    fn what_is_no_url_says_why() {
        for bad in
            ["127.0.0.1", "http://a", "redis://", "redis://a:x", "redis://a,b", "redis+cluster://a/1", "redis://a/x"]
        {
            assert!(RedisUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
