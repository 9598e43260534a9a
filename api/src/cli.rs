//! The command line of operators: `api admin ...`. It reads the environment of the server, does
//! what the routes under `/api/admin/apps` do, and prints JSON.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use switchboard_auth::AppVault;
use switchboard_calls::{AppAdmin, WebhookAdmin};
use switchboard_core::domain::{AppId, AppKeyId, AppLimit, AppScope, Code, IdentitySource, Refusal, Timestamp};
use switchboard_records::{AppEdit, Duplicates, Records, RecordsError, RecordsTimeouts};
use switchboard_runtime::config::Mode;

use crate::clock::now;
use crate::config::{ApiConfig, WebhookConfig};
use crate::routes::{AppKeyView, AppView, NewAppKeyView, UsageView};
use crate::webhook_cli::{self, WebhookCommand};
use crate::webhooks::{EndpointDirectory, Webhooks};

/// Program without arguments: serves. With them: administration.
#[derive(Debug, Parser)]
#[command(name = "api", about = "Without arguments, serves the API.")]
pub struct Arguments {
    /// Command; `None` serves.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Command of an operator.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Administration.
    #[command(subcommand)]
    Admin(Admin),
}

/// Kind of object that a command is about.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Apps and their API keys.
    #[command(subcommand)]
    App(AppCommand),
    /// Records in MongoDB.
    #[command(subcommand)]
    Records(RecordsCommand),
}

/// Command about records.
#[derive(Debug, Subcommand)]
pub enum RecordsCommand {
    /// List documents that have one e-mail address or room id, where each needs its own.
    Duplicates {
        /// Leave the value to the oldest document, and give the others values of their own.
        #[arg(long)]
        settle: bool,
    },
}

/// Command about apps.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Create an app.
    Create {
        /// Name, for operators.
        name: String,
    },
    /// List apps.
    List {
        /// Id after which the list begins.
        #[arg(long)]
        after: Option<String>,
    },
    /// Show an app with its keys.
    Get {
        /// Id of the app.
        app: String,
    },
    /// Show the limits of an app, or change those that are named.
    Limits {
        /// Id of the app.
        app: String,
        /// New limits.
        #[command(flatten)]
        limits: LimitOptions,
    },
    /// Show the identity sources of an app, or replace all of them.
    IdentitySources {
        /// Id of the app.
        app: String,
        /// File with the list of sources in JSON, as `PATCH /api/admin/apps/:appId` takes it.
        #[arg(long)]
        set: Option<PathBuf>,
    },
    /// Show the web origins of an app, or set them.
    Origins {
        /// Id of the app.
        app: String,
        /// All origins from now on, such as `https://app.example` or `https://*.app.example`.
        origins: Vec<String>,
        /// Remove all origins: user tokens are accepted on all pages.
        #[arg(long, conflicts_with = "origins")]
        none: bool,
    },
    /// Show the usage of an app by whole days, UTC.
    Usage {
        /// Id of the app.
        app: String,
        /// First day, such as 2026-01-31, or a time of it, such as 2026-01-31T12:00:00Z; by default
        /// the first day of the month of the last day.
        #[arg(long, value_parser = day_or_time)]
        from: Option<Timestamp>,
        /// Last day, or a time of it; by default today.
        #[arg(long, value_parser = day_or_time)]
        to: Option<Timestamp>,
        /// Print CSV.
        #[arg(long)]
        csv: bool,
    },
    /// Refuse every key of an app.
    Disable {
        /// Id of the app.
        app: String,
    },
    /// Accept the keys of an app again.
    Enable {
        /// Id of the app.
        app: String,
    },
    /// Delete an app with its keys.
    Delete {
        /// Id of the app.
        app: String,
    },
    /// API keys of an app.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Webhooks of apps, and events that were sent.
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Encrypt every secret with the current `APP_MASTER_KEY`.
    Reseal,
}

/// Limits to set: each a number, or `none` to remove the limit.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct LimitOptions {
    /// Most calls with a participant, at the same time.
    #[arg(long, value_parser = most)]
    max_concurrent_calls: Option<Most>,
    /// Most participants with a connection, in all calls together.
    #[arg(long, value_parser = most)]
    max_concurrent_participants: Option<Most>,
    /// Most seats of one call.
    #[arg(long, value_parser = most)]
    max_participants_per_call: Option<Most>,
    /// Most REST requests in a second.
    #[arg(long, value_parser = most)]
    max_requests_per_second: Option<Most>,
    /// Most socket events in a second.
    #[arg(long, value_parser = most)]
    max_events_per_second: Option<Most>,
}

/// Value of a limit; `None` removes it.
#[derive(Clone, Copy, Debug)]
pub struct Most(Option<u32>);

impl LimitOptions {
    fn change(self) -> Vec<(AppLimit, Option<u32>)> {
        let named = |limit| match limit {
            AppLimit::ConcurrentCalls => self.max_concurrent_calls,
            AppLimit::ConcurrentParticipants => self.max_concurrent_participants,
            AppLimit::ParticipantsPerCall => self.max_participants_per_call,
            AppLimit::RequestsPerSecond => self.max_requests_per_second,
            AppLimit::EventsPerSecond => self.max_events_per_second,
        };
        AppLimit::ALL.into_iter().filter_map(|limit| Some((limit, named(limit)?.0))).collect()
    }
}

/// Command about API keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key. Its secret is printed once.
    Add {
        /// Id of the app.
        app: String,
        /// Scopes, separated by commas; all by default.
        #[arg(long, value_delimiter = ',', value_parser = scope)]
        scopes: Vec<AppScope>,
    },
    /// List the keys, each with the time of its last use.
    List {
        /// Id of the app.
        app: String,
    },
    /// Revoke a key.
    Revoke {
        /// Id of the app.
        app: String,
        /// Id of the key.
        key: String,
    },
}

fn scope(text: &str) -> Result<AppScope, String> {
    AppScope::parse(text).ok_or_else(|| format!("must be one of {}", AppScope::ALL.map(AppScope::as_str).join(", ")))
}

fn most(text: &str) -> Result<Most, String> {
    if text == "none" {
        return Ok(Most(None));
    }
    let most = text.parse().ok().filter(|most| (1..=AppLimit::MAX).contains(most));
    most.map(|most| Most(Some(most))).ok_or_else(|| format!("must be 1 to {}, or none", AppLimit::MAX))
}

/// Reads a day or a time, as the queries of REST have them.
fn day_or_time(text: &str) -> Result<Timestamp, String> {
    let day = || Timestamp::day(text).map(|(first, _)| first);
    let problem = || "must be a day, such as 2026-01-31, or a time with its offset, such as 2026-01-31T12:00:00Z";
    Timestamp::read(text).or_else(day).ok_or_else(|| problem().to_owned())
}

/// Reads a file with a list of identity sources.
fn sources(file: &Path) -> Result<Vec<IdentitySource>, Refusal> {
    let wrong = |problem: String| Refusal::field(Code::ValidationError, "set", problem);
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let list: Vec<Value> =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("must be a list in JSON: {error}")))?;
    list.into_iter().map(IdentitySource::read).collect::<Result<_, _>>().map_err(wrong)
}

/// Runs a command. Returns the text to print: JSON, or CSV.
///
/// # Errors
/// The refusal of the use case, with its code; or MongoDB is unavailable.
pub async fn run(config: &ApiConfig, command: Command) -> anyhow::Result<String> {
    let timeouts = RecordsTimeouts { select: config.mongo.timeout, ..RecordsTimeouts::default() };
    let records = Records::connect(config.mongo.uri.expose(), timeouts).await.context("MONGODB_URI")?;
    let vault = config.secrets.app_master.clone().map(AppVault::new);
    let is_development = config.mode == Mode::Development;
    let admin = AppAdmin { records: &records, vault: vault.as_ref(), is_development };
    let WebhookConfig { endpoints, options, https_only } = config.webhooks.clone();
    let webhook_admin = WebhookAdmin { records: &records, vault: vault.as_ref(), https_only };
    let webhooks = Webhooks::new(EndpointDirectory::new(records.clone(), vault.clone(), endpoints), options);
    let output = match command {
        Command::Admin(Admin::App(command)) => app(admin, (webhook_admin, &webhooks), command).await?,
        Command::Admin(Admin::Records(RecordsCommand::Duplicates { settle })) => duplicates(&records, settle).await?,
    };
    Ok(match output {
        Value::String(csv) => csv,
        json => format!("{json:#}\n"),
    })
}

/// Returns the duplicates, and with `settle` which documents were changed.
async fn duplicates(records: &Records, settle: bool) -> Result<Value, RecordsError> {
    let mut shown = Vec::new();
    for found in records.duplicates().await? {
        let changed = if settle { records.settle(&found).await? } else { Vec::new() };
        let Duplicates { collection, field, value, ids, .. } = found;
        shown.push(json!({ "collection": collection, "field": field, "value": value, "ids": ids, "changed": changed }));
    }
    Ok(shown.into())
}

/// Returns the JSON to print; CSV as text.
async fn app(
    admin: AppAdmin<'_>,
    (webhook_admin, webhooks): (WebhookAdmin<'_>, &Webhooks),
    command: AppCommand,
) -> Result<Value, Refusal> {
    let disable = async |app: &str, disabled| {
        let edit = AppEdit { disabled: Some(disabled), ..AppEdit::default() };
        admin.edit(&AppId::parse(app)?, edit).await.map(|app| json!(AppView::from(app)))
    };
    match command {
        AppCommand::Create { name } => admin.create(&name, now()).await.map(|app| json!(AppView::from(app))),
        AppCommand::List { after } => {
            let after = after.as_deref().map(AppId::parse).transpose()?;
            let apps = admin.list(after.as_ref()).await?;
            Ok(apps.into_iter().map(|app| json!(AppView::from(app))).collect())
        }
        AppCommand::Get { app } => admin.get(&AppId::parse(&app)?).await.map(|app| json!(AppView::from(app))),
        AppCommand::Limits { app, limits } => {
            let edit = AppEdit { limits: limits.change(), ..AppEdit::default() };
            let id = AppId::parse(&app)?;
            let app = if edit.limits.is_empty() { admin.get(&id).await? } else { admin.edit(&id, edit).await? };
            Ok(json!(app.limits))
        }
        AppCommand::IdentitySources { app, set } => {
            let id = AppId::parse(&app)?;
            let app = match set {
                None => admin.get(&id).await?,
                Some(file) => {
                    let edit = AppEdit { identity_sources: Some(sources(&file)?), ..AppEdit::default() };
                    admin.edit(&id, edit).await?
                }
            };
            Ok(json!(app.identity_sources))
        }
        AppCommand::Origins { app, origins, none } => {
            let id = AppId::parse(&app)?;
            let app = if origins.is_empty() && !none {
                admin.get(&id).await?
            } else {
                admin.edit(&id, AppEdit { origins: Some(origins), ..AppEdit::default() }).await?
            };
            Ok(json!(app.origins))
        }
        AppCommand::Usage { app, from, to, csv } => {
            let to = to.unwrap_or_else(now);
            let usage = admin.usage(&AppId::parse(&app)?, from.unwrap_or_else(|| to.month_start()), to).await?;
            let usage = UsageView::from(usage);
            Ok(if csv { usage.csv().into() } else { json!(usage) })
        }
        AppCommand::Disable { app } => disable(&app, true).await,
        AppCommand::Enable { app } => disable(&app, false).await,
        AppCommand::Delete { app } => {
            admin.delete(&AppId::parse(&app)?, now()).await.map(|()| json!({ "deleted": app }))
        }
        AppCommand::Webhook(command) => webhook_cli::run(webhook_admin, webhooks, command).await,
        AppCommand::Reseal => admin.reseal().await.map(|count| json!({ "resealed": count })),
        AppCommand::Key(KeyCommand::Add { app, scopes }) => {
            let scopes = if scopes.is_empty() { AppScope::ALL.to_vec() } else { scopes };
            let added = admin.add_key(&AppId::parse(&app)?, scopes, now()).await?;
            Ok(json!(NewAppKeyView::from(added)))
        }
        AppCommand::Key(KeyCommand::List { app }) => {
            let keys = admin.get(&AppId::parse(&app)?).await?.keys;
            Ok(keys.into_iter().map(|key| json!(AppKeyView::from(key))).collect())
        }
        AppCommand::Key(KeyCommand::Revoke { app, key }) => {
            admin.revoke_key(&AppId::parse(&app)?, &AppKeyId::parse(&key)?, now()).await?;
            Ok(json!({ "revoked": key }))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_period_of_usage_is_given_by_days_or_times_as_in_rest() {
        let day = Timestamp::parse("2026-01-31T00:00:00Z").unwrap();
        for text in ["2026-01-31", "2026-01-31T12:30:00Z", "2026-02-01T01:00:00+02:00"] {
            assert_eq!(day_or_time(text).unwrap().day_start(), day, "{text}");
        }
        for text in ["2026-01", "yesterday", "2026-01-31T12:30:00", ""] {
            assert!(day_or_time(text).is_err(), "{text}");
        }
    }
}
