//! `devcluster api`: the command line of the api, on the cluster of `devcluster up`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;
use devcluster::cluster::{DATABASE, app_master_key};
use devcluster::programs::binary;
use devcluster::settings::{MONGO_PORT, Secrets};

/// Runs the command with the environment of the api. Returns its exit code.
pub(crate) fn administer(data: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let secrets = data.join("secrets");
    anyhow::ensure!(secrets.exists(), "{} does not exist: run `make up` first", secrets.display());
    let port = std::env::var("MONGO_PORT").unwrap_or_else(|_| MONGO_PORT.to_string());
    let status = Command::new(binary("api")?)
        .args(arguments)
        .env("NODE_ENV", "development")
        .env("MONGODB_URI", format!("mongodb://127.0.0.1:{port}/{DATABASE}?directConnection=true"))
        .env("APP_MASTER_KEY", app_master_key(&Secrets::kept(&secrets)?))
        .status()
        .context("cannot run the api")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
