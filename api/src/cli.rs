//! The command line of operators: `api admin app ...`. It reads the environment of the server, does
//! what the routes under `/api/admin/apps` do, and prints JSON.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use switchboard_auth::AppVault;
use switchboard_calls::AppAdmin;
use switchboard_core::domain::{AppId, AppKeyId, AppScope, Refusal};
use switchboard_records::{AppEdit, Records, RecordsTimeouts};

use crate::clock::now;
use crate::config::ApiConfig;
use crate::routes::{AppView, NewAppKeyView};

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
    /// Encrypt every secret with the current `APP_MASTER_KEY`.
    Reseal,
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

/// Runs a command. Returns the JSON to print.
///
/// # Errors
/// The refusal of the use case, with its code; or MongoDB is unavailable.
pub async fn run(config: &ApiConfig, command: Command) -> anyhow::Result<Value> {
    let timeouts = RecordsTimeouts { select: config.mongo.timeout, ..RecordsTimeouts::default() };
    let records = Records::connect(config.mongo.uri.expose(), timeouts).await.context("MONGODB_URI")?;
    let vault = config.secrets.app_master.clone().map(AppVault::new);
    let admin = AppAdmin { records: &records, vault: vault.as_ref() };
    let Command::Admin(Admin::App(command)) = command;
    Ok(app(admin, command).await?)
}

async fn app(admin: AppAdmin<'_>, command: AppCommand) -> Result<Value, Refusal> {
    let disable = async |app: &str, disabled| {
        let edit = AppEdit { disabled: Some(disabled), ..AppEdit::default() };
        admin.edit(&AppId::parse(app)?, &edit).await.map(|app| json!(AppView::from(app)))
    };
    match command {
        AppCommand::Create { name } => admin.create(&name, now()).await.map(|app| json!(AppView::from(app))),
        AppCommand::List { after } => {
            let after = after.as_deref().map(AppId::parse).transpose()?;
            let apps = admin.list(after.as_ref()).await?;
            Ok(apps.into_iter().map(|app| json!(AppView::from(app))).collect())
        }
        AppCommand::Get { app } => admin.get(&AppId::parse(&app)?).await.map(|app| json!(AppView::from(app))),
        AppCommand::Disable { app } => disable(&app, true).await,
        AppCommand::Enable { app } => disable(&app, false).await,
        AppCommand::Delete { app } => {
            admin.delete(&AppId::parse(&app)?, now()).await.map(|()| json!({ "deleted": app }))
        }
        AppCommand::Reseal => admin.reseal().await.map(|count| json!({ "resealed": count })),
        AppCommand::Key(KeyCommand::Add { app, scopes }) => {
            let scopes = if scopes.is_empty() { AppScope::ALL.to_vec() } else { scopes };
            let added = admin.add_key(&AppId::parse(&app)?, scopes, now()).await?;
            Ok(json!(NewAppKeyView::from(added)))
        }
        AppCommand::Key(KeyCommand::Revoke { app, key }) => {
            admin.revoke_key(&AppId::parse(&app)?, &AppKeyId::parse(&key)?, now()).await?;
            Ok(json!({ "revoked": key }))
        }
    }
}
