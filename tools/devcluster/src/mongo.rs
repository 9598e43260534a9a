//! A real MongoDB: one `mongod` as a replica set of one member, so that it has transactions and change streams.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, error::ErrorKind};
use tempfile::TempDir;

use crate::ports;
use crate::process::{Echo, Process, Spec, find_program, retry};

const START: Duration = Duration::from_secs(60);
const REPLICA_SET: &str = "rs0";
/// The server's code for "the replica set is already initiated".
const ALREADY_INITIALIZED: i32 = 23;

/// How a server is started. The default is a throw-away one on a free port.
#[derive(Clone, Debug, Default)]
pub struct MongoOptions {
    /// The port; a free one when `None`.
    pub port: Option<u16>,
    /// Where data and log go; a temporary directory, removed with the server, when `None`.
    pub dir: Option<PathBuf>,
    /// Copies errors of its log to standard output.
    pub echo: bool,
}

/// A running `mongod` of its own; ended when dropped. Tests of one binary share one and take a database each.
#[derive(Debug)]
pub struct Mongo {
    process: Process,
    port: u16,
    _dir: Option<TempDir>,
}

impl Mongo {
    /// A throw-away server on a free port.
    ///
    /// # Errors
    /// When `mongod` is missing, or is not primary within a minute.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&MongoOptions::default()).await
    }

    /// A server as `options` say.
    ///
    /// # Errors
    /// As [`Mongo::start`].
    pub async fn start_with(options: &MongoOptions) -> anyhow::Result<Self> {
        match options.port {
            Some(port) => Self::start_on(port, options).await,
            None => retry(async || Self::start_on(ports::free()?, options).await).await,
        }
    }

    async fn start_on(port: u16, options: &MongoOptions) -> anyhow::Result<Self> {
        let (path, temporary) = match &options.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let dir = TempDir::with_prefix("switchboard-mongo-")?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        std::fs::create_dir_all(path.join("db"))?;
        // Its log tells every connection as a line of JSON; only errors belong on a terminal.
        let echo = if options.echo { Echo::Matching(is_error) } else { Echo::Off };
        let spec = Spec::new("mongo", find_program("mongod")?, &path)
            .args(arguments(port, &path))
            .echo(echo)
            .litter(temporary.as_ref().map(TempDir::path));
        let mut mongo = Self { process: Process::spawn(spec)?, port, _dir: temporary };
        mongo.wait_ready().await?;
        Ok(mongo)
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let client = connect(self.port).await?;
        let admin = client.database("admin");
        let ours = i64::from(self.process.id());
        self.process
            .ready(START, || async {
                // Ours, not another server that won the race for the port.
                let status = admin.run_command(doc! { "serverStatus": 1, "metrics": 0, "wiredTiger": 0 }).await;
                status.is_ok_and(|status| status.get_i64("pid").is_ok_and(|pid| pid == ours))
            })
            .await?;
        let host = format!("127.0.0.1:{}", self.port);
        let config = doc! { "_id": REPLICA_SET, "members": [{ "_id": 0, "host": &host }] };
        match admin.run_command(doc! { "replSetInitiate": config }).await {
            Ok(_) => {}
            Err(error) if is_code(&error, ALREADY_INITIALIZED) => move_member(&client, &host).await?,
            Err(error) => return Err(error).context("cannot initiate MongoDB's replica set"),
        }
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            let hello = admin.run_command(doc! { "hello": 1 }).await;
            if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("MongoDB was not primary within {START:?}; its log ends:\n{}", self.process.log_tail(15))
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The connection string of a database: one a test keeps tests that share the server apart.
    #[must_use]
    pub fn uri(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}?replicaSet={REPLICA_SET}&directConnection=true", self.port)
    }

    /// The process: its signals (pause, kill, ...) and its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts the server again on the same port and data, killing it first if it runs; primary when this returns.
    ///
    /// # Errors
    /// As [`Mongo::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.respawn()?;
        self.wait_ready().await
    }
}

fn arguments(port: u16, dir: &Path) -> Vec<String> {
    let fixed = format!(
        "--port {port} --bind_ip 127.0.0.1 --nounixsocket --replSet {REPLICA_SET} --oplogSize 100 --quiet \
         --wiredTigerCacheSizeGB 0.25 --setParameter diagnosticDataCollectionEnabled=false"
    );
    let mut arguments: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
    arguments.extend(["--dbpath".into(), dir.join("db").display().to_string()]);
    arguments
}

fn is_error(line: &str) -> bool {
    line.contains(r#""s":"E""#) || line.contains(r#""s":"F""#)
}

fn is_code(error: &mongodb::error::Error, code: i32) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(refusal) if refusal.code == code)
}

async fn connect(port: u16) -> anyhow::Result<Client> {
    let mut options = ClientOptions::parse(format!("mongodb://127.0.0.1:{port}/?directConnection=true")).await?;
    options.server_selection_timeout = Some(Duration::from_millis(500));
    Ok(Client::with_options(options)?)
}

/// Data of an earlier run names the port of that run; under another port the member does not find itself in its replica
/// set and would wait for ever.
async fn move_member(client: &Client, host: &str) -> anyhow::Result<()> {
    let configs = client.database("local").collection::<Document>("system.replset");
    let mut config = configs.find_one(doc! {}).await?.context("MongoDB's data holds no replica set")?;
    let member = config.get_array_mut("members")?.first_mut().and_then(|member| member.as_document_mut());
    let member = member.context("MongoDB's replica set has no member")?;
    if member.get_str("host").is_ok_and(|now| now == host) {
        return Ok(());
    }
    member.insert("host", host);
    let version = config.get_i32("version")?;
    config.insert("version", version + 1);
    let command = doc! { "replSetReconfig": config, "force": true };
    client.database("admin").run_command(command).await.context("cannot move MongoDB's replica set to its new port")?;
    Ok(())
}
