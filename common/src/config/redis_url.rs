//! Where Redis is: one server, or the seeds of a cluster.

use std::fmt;

/// `redis://[user:password@]host[:port][/database]`, `rediss://...` (TLS), or `redis+cluster://[user:password@]host:port[,host:port...]`
/// (`rediss+cluster://` for TLS): the one syntax of `REDIS_URL`, from which both clients are built.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Through TLS.
    pub tls: bool,
    /// The servers are seeds of a Redis Cluster.
    pub cluster: bool,
    /// ACL user.
    pub username: Option<String>,
    /// Password of the user, or of the server.
    pub password: Option<String>,
    /// Host and port of each server; never empty, exactly one when it is no cluster.
    pub servers: Vec<(String, u16)>,
    /// Database number; 0 on a cluster.
    pub database: i64,
}

/// The default port of Redis.
const DEFAULT_PORT: u16 = 6379;

impl RedisUrl {
    /// What [`RedisUrl::parse`] reads, in words.
    pub const EXPECTED: &'static str =
        "redis://host:port, rediss://host:port or redis+cluster://host:port,host:port (user:password@ before the host)";

    /// Reads it; `None` when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (tls, cluster) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+cluster" => (false, true),
            "rediss+cluster" => (true, true),
            _ => return None,
        };
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (username, password) = match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            Some((user, password)) => (decode(user)?, decode(password)?),
            None => (None, None),
        };
        let (servers, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database =
            if database.is_empty() { 0 } else { database.parse().ok().filter(|number| (0..=15).contains(number))? };
        let servers: Vec<_> = servers.split(',').map(server).collect::<Option<_>>()?;
        let sound = if cluster { database == 0 } else { servers.len() == 1 };
        sound.then_some(Self { tls, cluster, username, password, servers, database })
    }

    /// The address of one of its servers in the plain `redis://` or `rediss://` form, with credentials.
    #[must_use]
    pub fn server_url(&self, host: &str, port: u16) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let user = self.username.as_deref().map(encode).unwrap_or_default();
        let credentials = match &self.password {
            Some(password) => format!("{user}:{}@", encode(password)),
            None => String::new(),
        };
        let database = if self.database == 0 { String::new() } else { format!("/{}", self.database) };
        format!("{scheme}://{credentials}{host}:{port}{database}")
    }
}

impl Default for RedisUrl {
    fn default() -> Self {
        Self {
            tls: false,
            cluster: false,
            username: None,
            password: None,
            servers: vec![("127.0.0.1".to_owned(), DEFAULT_PORT)],
            database: 0,
        }
    }
}

/// Without the credentials: this is what logs and errors may show.
impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let cluster = if self.cluster { "+cluster" } else { "" };
        let servers: Vec<_> = self.servers.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        write!(f, "{scheme}{cluster}://{}/{}", servers.join(","), self.database)
    }
}

/// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
fn server(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => DEFAULT_PORT,
    };
    let sound = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || matches!(c, '?' | '#' | '@'));
    sound.then(|| (host.to_owned(), port))
}

/// Undoes percent-encoding; an empty text is `Some(None)`, a broken one `None`.
fn decode(text: &str) -> Option<Option<String>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    let text = String::from_utf8(bytes).ok()?;
    Some((!text.is_empty()).then_some(text))
}

/// Percent-encodes everything but unreserved characters (RFC 3986, 2.3).
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}
