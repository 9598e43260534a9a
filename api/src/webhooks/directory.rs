//! Endpoints of the deployment and of all apps, as this process knows them.
//!
//! The apps are read again when the copy is 4 s old, before it is used. An endpoint therefore gets
//! every event that is recorded later than 4 s after its creation. The recorder cannot queue events
//! with an older copy: while MongoDB does not answer, it cannot queue events at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use switchboard_auth::AppVault;
use switchboard_core::domain::{AppId, Timestamp, WebhookEvent};
use switchboard_core::failure_log::FailureLog;
use switchboard_records::{AppRecord, Records, RecordsError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::options::Endpoint;

/// Age at which the copy is read again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(4);

/// The endpoints at one moment.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// Endpoints of the operator.
    deployment: Vec<Arc<Endpoint>>,
    of_apps: HashMap<AppId, Vec<Arc<Endpoint>>>,
    by_name: HashMap<String, Arc<Endpoint>>,
}

impl Endpoints {
    pub(super) fn new(deployment: Vec<Endpoint>) -> Self {
        let deployment: Vec<_> = deployment.into_iter().map(Arc::new).collect();
        let by_name = deployment.iter().map(|endpoint| (endpoint.name.clone(), Arc::clone(endpoint))).collect();
        Self { deployment, by_name, ..Self::default() }
    }

    pub(super) fn replace(&mut self, app: &AppId, endpoints: Vec<Arc<Endpoint>>) {
        for old in self.of_apps.remove(app).unwrap_or_default() {
            self.by_name.remove(&old.name);
        }
        if !endpoints.is_empty() {
            self.by_name.extend(endpoints.iter().map(|endpoint| (endpoint.name.clone(), Arc::clone(endpoint))));
            self.of_apps.insert(app.clone(), endpoints);
        }
    }

    /// Returns the endpoint with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.by_name.get(name)
    }

    /// Returns the endpoints of the operator.
    pub fn of_deployment(&self) -> impl Iterator<Item = &Endpoint> {
        self.deployment.iter().map(Arc::as_ref)
    }

    /// Returns the endpoints that get an event of a call of `app`.
    pub fn receivers(&self, app: &AppId, event: WebhookEvent) -> impl Iterator<Item = &Endpoint> {
        let own = self.of_apps.get(app).into_iter().flatten();
        self.deployment.iter().chain(own).map(Arc::as_ref).filter(move |endpoint| endpoint.events.contains(&event))
    }
}

/// Copy of all endpoints. Clones share it.
#[derive(Clone)]
pub struct EndpointDirectory(Arc<Parts>);

struct Parts {
    records: Records,
    /// `None`: the deployment has no master key, and so no apps.
    vault: Option<AppVault>,
    copy: Mutex<Copy>,
}

struct Copy {
    endpoints: Arc<Endpoints>,
    /// Time of the last change that was read, by MongoDB's clock.
    changed_at: Option<Timestamp>,
    /// Time of the last read.
    read_at: Option<Instant>,
    failures: FailureLog<String>,
}

impl std::fmt::Debug for EndpointDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndpointDirectory")
    }
}

impl EndpointDirectory {
    /// Creates a directory with the endpoints of the deployment. Without a vault nothing is read.
    #[must_use]
    pub fn new(records: Records, vault: Option<AppVault>, deployment: Vec<Endpoint>) -> Self {
        let endpoints = Arc::new(Endpoints::new(deployment));
        let copy = Copy { endpoints, changed_at: None, read_at: None, failures: FailureLog::default() };
        Self(Arc::new(Parts { records, vault, copy: Mutex::new(copy) }))
    }

    /// Returns the endpoints as they were at most 4 s ago.
    ///
    /// # Errors
    /// MongoDB is unavailable, and the copy is older.
    pub async fn current(&self) -> Result<Arc<Endpoints>, RecordsError> {
        let mut copy = self.0.copy.lock().await;
        if copy.read_at.is_none_or(|at| at.elapsed() >= REFRESH_INTERVAL) {
            self.read(&mut copy).await?;
        }
        Ok(Arc::clone(&copy.endpoints))
    }

    /// Reads the changes now, and returns the endpoints.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn refreshed(&self) -> Result<Arc<Endpoints>, RecordsError> {
        let mut copy = self.0.copy.lock().await;
        self.read(&mut copy).await?;
        Ok(Arc::clone(&copy.endpoints))
    }

    async fn read(&self, copy: &mut Copy) -> Result<(), RecordsError> {
        let Some(vault) = &self.0.vault else { return Ok(()) };
        let began = Instant::now();
        let changed = self.0.records.changed_apps(copy.changed_at).await?;
        let mut endpoints = (*copy.endpoints).clone();
        for app in &changed {
            endpoints.replace(&app.id, endpoints_of(app, vault, &mut copy.failures));
        }
        copy.changed_at = changed.iter().map(|app| app.changed_at).max().max(copy.changed_at);
        copy.read_at = Some(began);
        copy.endpoints = Arc::new(endpoints);
        Ok(())
    }
}

fn endpoints_of(app: &AppRecord, vault: &AppVault, failures: &mut FailureLog<String>) -> Vec<Arc<Endpoint>> {
    if app.deleted_at.is_some() {
        return Vec::new();
    }
    let endpoints = app.webhooks.iter().filter_map(|webhook| {
        let endpoint = Endpoint::of_app(&app.id, webhook, vault);
        let is_usable = endpoint.as_ref().is_some_and(|endpoint| endpoint.keys.is_some());
        let changed_at = Duration::from_millis(app.changed_at.0.unsigned_abs());
        if !is_usable && failures.failed(webhook.id.as_str().to_owned(), "", changed_at) {
            tracing::error!(app_id = %app.id, webhook_id = %webhook.id, "secret of a webhook not decrypted");
        }
        endpoint.map(Arc::new)
    });
    endpoints.collect()
}
