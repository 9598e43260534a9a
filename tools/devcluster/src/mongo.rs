//! A `mongod` process: a replica set of one member, because transactions and change streams need a
//! replica set.

mod command;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bson::{Document, doc};
use tempfile::TempDir;

use crate::ports;
use crate::process::{Echo, Process, Spec, retry};
use crate::programs::find_program;
use command::{CommandRefused, run_command};

/// Time limit for `mongod` to answer, and again for it to become primary.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const REPLICA_SET: &str = "rs0";
/// Error code of a replica set that is already initiated.
const ALREADY_INITIALIZED: i32 = 23;

/// Options of a server. The default is a throw-away server on a free port.
#[derive(Clone, Debug, Default)]
pub struct MongoOptions {
    /// Port; `None` selects a free port.
    pub port: Option<u16>,
    /// Directory of the data and the log; `None` selects a temporary directory, which is removed
    /// with the server.
    pub dir: Option<PathBuf>,
    /// Whether errors from the log are copied to standard output.
    pub echo: bool,
    /// Whether the server takes commands for tests, such as `configureFailPoint`.
    pub test_commands: bool,
}

/// A running `mongod`, stopped when this value is dropped. Tests of one binary share a server and
/// use a database each.
#[derive(Debug)]
pub struct Mongo {
    process: Process,
    port: u16,
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Mongo {
    /// Starts a throw-away server on a free port.
    ///
    /// # Errors
    /// When `mongod` is not installed, or is not primary in time.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&MongoOptions::default()).await
    }

    /// Starts a server with these options.
    ///
    /// # Errors
    /// When `mongod` is missing, does not start, or is not primary in time.
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
        // The log has a line of JSON for each connection; only errors belong on a terminal.
        let echo = if options.echo { Echo::Matching(is_error) } else { Echo::Off };
        let spec = Spec::new("mongo", find_program("mongod")?, &path)
            .args(arguments(port, &path, options.test_commands))
            .echo(echo)
            .temporary(temporary.as_ref().map(TempDir::path));
        let mut mongo = Self { process: Process::spawn(spec)?, port, dir: path, _temporary: temporary };
        mongo.wait_ready().await?;
        Ok(mongo)
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let (port, pid) = (self.port, i64::from(self.process.id()));
        self.process
            .wait_ready(START_TIMEOUT, || async {
                // Another server can have taken the port first; only our process id counts.
                let command = doc! { "serverStatus": 1, "metrics": 0, "wiredTiger": 0 };
                let status = run_command(port, "admin", command).await;
                status.is_ok_and(|status| status.get_i64("pid").is_ok_and(|found| found == pid))
            })
            .await?;
        let host = format!("127.0.0.1:{port}");
        let config = doc! { "_id": REPLICA_SET, "members": [{ "_id": 0, "host": &host }] };
        match run_command(port, "admin", doc! { "replSetInitiate": config }).await {
            Ok(_) => {}
            Err(error) if is_code(&error, ALREADY_INITIALIZED) => move_member(port, &host).await?,
            Err(error) => return Err(error).context("cannot initiate MongoDB's replica set"),
        }
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            let hello = run_command(port, "admin", doc! { "hello": 1 }).await;
            if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("MongoDB was not primary within {START_TIMEOUT:?}; its log ends:\n{}", self.process.log_tail(15))
    }

    /// Port of the server on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connection string of a database. Tests that share the server use a database each.
    #[must_use]
    pub fn uri(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}?replicaSet={REPLICA_SET}&directConnection=true", self.port)
    }

    /// The `mongod` process, for its signals and its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Inserts documents into a collection.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn insert(&self, database: &str, collection: &str, documents: Vec<Document>) -> anyhow::Result<()> {
        let command = doc! { "insert": collection, "documents": documents };
        run_command(self.port, database, command).await.map(drop)
    }

    /// Sets the schema version of a database, as another program would.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn set_schema_version(&self, database: &str, version: i32) -> anyhow::Result<()> {
        let update = doc! { "q": { "_id": "schema" }, "u": { "$set": { "version": version } }, "upsert": true };
        run_command(self.port, database, doc! { "update": "meta", "updates": [update] }).await.map(drop)
    }

    /// Copies the data to a new folder while the server runs, as an operator does: writes wait
    /// between `fsyncLock` and `fsyncUnlock`.
    ///
    /// # Errors
    /// When the server refuses, or a file cannot be copied.
    pub async fn back_up(&self, to: &Path) -> anyhow::Result<()> {
        run_command(self.port, "admin", doc! { "fsync": 1, "lock": true }).await?;
        let copied = copy_folder(&self.dir.join("db"), to);
        run_command(self.port, "admin", doc! { "fsyncUnlock": 1 }).await?;
        copied
    }

    /// Replaces the data with those of a backup. Kills the server first, and returns when it is
    /// primary.
    ///
    /// # Errors
    /// When a file cannot be copied, or the server is not primary in time.
    pub async fn restore(&mut self, from: &Path) -> anyhow::Result<()> {
        self.process.kill()?;
        let data = self.dir.join("db");
        std::fs::remove_dir_all(&data)?;
        copy_folder(from, &data)?;
        self.restart().await
    }

    /// Restarts the server on the same port and data; kills it first if it runs. Returns when it is
    /// primary.
    ///
    /// # Errors
    /// When the server cannot be killed or started, or is not primary in time.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.respawn()?;
        self.wait_ready().await
    }
}

fn arguments(port: u16, dir: &Path, test_commands: bool) -> Vec<String> {
    let fixed = format!(
        "--port {port} --bind_ip 127.0.0.1 --nounixsocket --replSet {REPLICA_SET} --oplogSize 100 --quiet \
         --wiredTigerCacheSizeGB 0.25 --setParameter diagnosticDataCollectionEnabled=false"
    );
    let mut arguments: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
    arguments.extend(["--dbpath".into(), dir.join("db").display().to_string()]);
    if test_commands {
        arguments.extend(["--setParameter".into(), "enableTestCommands=1".into()]);
    }
    arguments
}

/// Copies a folder with all below it.
fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn is_error(line: &str) -> bool {
    line.contains(r#""s":"E""#) || line.contains(r#""s":"F""#)
}

fn is_code(error: &anyhow::Error, code: i32) -> bool {
    error.downcast_ref::<CommandRefused>().is_some_and(|refusal| refusal.code == code)
}

/// Moves the member of the replica set to its new address. Data of an earlier run name the port of
/// that run. Without this the member does not find itself in its replica set and never becomes
/// primary.
async fn move_member(port: u16, host: &str) -> anyhow::Result<()> {
    let mut config = stored_config(port).await?;
    let member = config.get_array_mut("members")?.first_mut().and_then(|member| member.as_document_mut());
    let member = member.context("MongoDB's replica set has no member")?;
    if member.get_str("host").is_ok_and(|now| now == host) {
        return Ok(());
    }
    member.insert("host", host);
    let version = config.get_i32("version")?;
    config.insert("version", version + 1);
    let command = doc! { "replSetReconfig": config, "force": true };
    run_command(port, "admin", command).await.context("cannot move MongoDB's replica set to its new port")?;
    Ok(())
}

/// Reads the configuration of the replica set from the data. `replSetGetConfig` refuses a member
/// that is not in its own replica set; the read preference permits the read before there is a
/// primary.
async fn stored_config(port: u16) -> anyhow::Result<Document> {
    let preference = doc! { "mode": "primaryPreferred" };
    let find = doc! { "find": "system.replset", "limit": 1, "singleBatch": true, "$readPreference": preference };
    let found = run_command(port, "local", find).await.context("cannot read MongoDB's replica set")?;
    let batch = found.get_document("cursor")?.get_array("firstBatch")?;
    let config = batch.first().and_then(|config| config.as_document());
    config.cloned().context("MongoDB's data holds no replica set")
}
