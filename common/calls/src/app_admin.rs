//! Administration of apps, their API keys, limits, identity sources and usage. REST and the command
//! line share it.

use switchboard_auth::{AppVault, PublicKeys, app_key};
use switchboard_core::Secret;
use switchboard_core::domain::identity_source::check_sources;
use switchboard_core::domain::time::DAY_MS;
use switchboard_core::domain::{
    AppId, AppKeyId, AppLimits, AppScope, Code, FieldError, IdentitySource, Refusal, Timestamp, names,
};
use switchboard_records::{APP_KEYS_MAX, APPS_MAX, AppEdit, AppKeyRecord, AppRecord, AppUsage, Records, RecordsError};

use crate::app_origins::check_origins;

/// Name of the field of the identity sources.
const SOURCES: &str = "identitySources";
/// Length of an app's name, in characters.
pub const APP_NAME: std::ops::RangeInclusive<usize> = 1..=80;
/// Maximum number of days of usage that are read at once.
pub const USAGE_DAYS_MAX: i64 = 366;
/// Maximum number of apps that a list returns at once.
pub const APPS_PAGE_MAX: u32 = 100;

/// Use cases of operators: apps and keys.
#[derive(Clone, Copy)]
pub struct AppAdmin<'a> {
    /// Records of the apps.
    pub records: &'a Records,
    /// Encrypts secrets. `None`: the deployment has no master key.
    pub vault: Option<&'a AppVault>,
    /// Whether key sets may have an `http` address on this machine.
    pub is_development: bool,
}

/// New API key. Its secret is shown once.
#[derive(Clone, Debug)]
pub struct NewAppKey {
    /// The stored key.
    pub key: AppKeyRecord,
    /// Secret.
    pub secret: Secret,
}

/// Usage of an app in a period.
#[derive(Clone, Debug)]
pub struct UsageReport {
    /// Start of the first day, UTC.
    pub first: Timestamp,
    /// Start of the last day, UTC.
    pub last: Timestamp,
    /// Usage by day, without the days that have none.
    pub days: Vec<(Timestamp, AppUsage)>,
    /// Sum of all days.
    pub total: AppUsage,
}

impl AppAdmin<'_> {
    /// Creates an app without keys.
    ///
    /// # Errors
    /// `APPS_NOT_CONFIGURED`, `VALIDATION_ERROR`, `LIMIT_REACHED`, or MongoDB is unavailable.
    pub async fn create(&self, name: &str, now: Timestamp) -> Result<AppRecord, Refusal> {
        self.vault()?;
        let name = names::parse("name", name, &APP_NAME)?;
        let app = AppRecord {
            id: AppId::from_random(rand::random()),
            name,
            disabled: false,
            limits: AppLimits::default(),
            origins: Vec::new(),
            keys: Vec::new(),
            identity_sources: Vec::new(),
            webhooks: Vec::new(),
            created_at: now,
            changed_at: now,
            deleted_at: None,
        };
        if self.records.create_app(&app).await? {
            return Ok(app);
        }
        Err(Refusal::new(Code::LimitReached, format!("There are {APPS_MAX} apps, the maximum")))
    }

    /// Returns at most [`APPS_PAGE_MAX`] apps in the order of their ids, from the one after
    /// `after`.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn list(&self, after: Option<&AppId>) -> Result<Vec<AppRecord>, Refusal> {
        Ok(self.records.apps_after(after, APPS_PAGE_MAX).await?)
    }

    /// Returns an app.
    ///
    /// # Errors
    /// `APP_NOT_FOUND`, or MongoDB is unavailable.
    pub async fn get(&self, app: &AppId) -> Result<AppRecord, Refusal> {
        self.records.app(app).await?.ok_or_else(|| Code::AppNotFound.into())
    }

    /// Changes the name of an app, its limits, its web origins or its identity sources, or disables
    /// or enables it. The changes hold everywhere within 10 s.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` for wrong origins, or with the wrong field of a source; `ISSUER_TAKEN`;
    /// or as [`AppAdmin::get`].
    pub async fn edit(&self, app: &AppId, edit: AppEdit) -> Result<AppRecord, Refusal> {
        check_origins("origins", edit.origins.as_deref().unwrap_or_default())?;
        let identity_sources = match edit.identity_sources {
            Some(sources) => Some(self.checked_sources(app, sources).await?),
            None => None,
        };
        match self.records.edit_app(app, &AppEdit { identity_sources, ..edit }).await {
            Err(RecordsError::Duplicate) => Err(Code::IssuerTaken.into()),
            edited => edited?.ok_or_else(|| Code::AppNotFound.into()),
        }
    }

    /// Checks the identity sources of an app, each and together. Returns them in normal form.
    async fn checked_sources(&self, app: &AppId, sources: Vec<IdentitySource>) -> Result<Vec<IdentitySource>, Refusal> {
        let wrong = |field: String, problem: String| {
            let message = format!("{field}: {problem}");
            let errors = vec![FieldError { field: field.into(), message: problem.into() }];
            Refusal { errors, ..Refusal::new(Code::ValidationError, message) }
        };
        check_sources(&sources).map_err(|problem| wrong(SOURCES.to_owned(), problem))?;
        let mut checked = Vec::new();
        for (index, source) in sources.into_iter().enumerate() {
            let wrong = |field: &str, problem| wrong(format!("{SOURCES}.{index}.{field}"), problem);
            if let Some(set) = &source.jwks {
                PublicKeys::check(set).map_err(|problem| wrong("jwks", problem))?;
            }
            checked.push(source.checked(self.is_development).map_err(|(field, problem)| wrong(field, problem))?);
        }
        let issuers: Vec<_> = checked.iter().map(|source| source.issuer.as_str()).collect();
        // The index of the records compares both fields only if both are there.
        let others =
            if issuers.is_empty() { Vec::new() } else { self.records.apps_with_issuers(&issuers, app).await? };
        let mut others = others.iter().flat_map(|other| &other.identity_sources);
        if others.any(|other| checked.iter().any(|source| source.may_be_confused_with(other))) {
            return Err(Code::IssuerTaken.into());
        }
        Ok(checked)
    }

    /// Deletes an app with its keys and webhooks. Records of its calls stay.
    ///
    /// # Errors
    /// As [`AppAdmin::get`].
    pub async fn delete(&self, app: &AppId, now: Timestamp) -> Result<(), Refusal> {
        if self.records.delete_app(app, now).await? { Ok(()) } else { Err(Code::AppNotFound.into()) }
    }

    /// Returns the usage of an app on the days (UTC) of `from` and `to` and those between: whole
    /// days, at most [`USAGE_DAYS_MAX`]. The usage of a deleted app stays.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`; `APP_NOT_FOUND` if there is neither usage nor app; or MongoDB is
    /// unavailable.
    pub async fn usage(&self, app: &AppId, from: Timestamp, to: Timestamp) -> Result<UsageReport, Refusal> {
        let (first, last) = (from.day_start(), to.day_start());
        if last < first {
            return Err(Refusal::field(Code::ValidationError, "to", "must not be before from"));
        }
        if (last.0 - first.0) / DAY_MS >= USAGE_DAYS_MAX {
            let problem = format!("must be at most {USAGE_DAYS_MAX} days from the day of from");
            return Err(Refusal::field(Code::ValidationError, "to", problem));
        }
        let days = self.records.app_usage(app, (first, last)).await?;
        if days.is_empty() {
            self.get(app).await?;
        }
        let mut total = AppUsage::default();
        days.iter().for_each(|(_, usage)| total.add(usage));
        Ok(UsageReport { first, last, days, total })
    }

    /// Makes a key. Keys that the app has already stay valid.
    ///
    /// # Errors
    /// `APPS_NOT_CONFIGURED`, `APP_NOT_FOUND`, `LIMIT_REACHED`, or MongoDB is unavailable.
    pub async fn add_key(&self, app: &AppId, scopes: Vec<AppScope>, now: Timestamp) -> Result<NewAppKey, Refusal> {
        let (id, secret) = (AppKeyId::from_random(rand::random()), app_key::new_secret());
        let sealed = self.vault()?.seal(app, &id, &secret);
        let key = AppKeyRecord { id, sealed, scopes, created_at: now, last_used_at: None, revoked_at: None };
        if self.records.add_app_key(app, &key).await? {
            return Ok(NewAppKey { key, secret });
        }
        self.get(app).await?;
        let problem = format!("The app has {APP_KEYS_MAX} keys, the maximum; revoked ones count for 30 days");
        Err(Refusal::new(Code::LimitReached, problem))
    }

    /// Revokes a key. It is refused everywhere within 10 s, and the sockets of users with its
    /// tokens are closed.
    ///
    /// # Errors
    /// `KEY_NOT_FOUND`, or MongoDB is unavailable.
    pub async fn revoke_key(&self, app: &AppId, key: &AppKeyId, now: Timestamp) -> Result<(), Refusal> {
        if self.records.revoke_app_key(app, key, now).await? { Ok(()) } else { Err(Code::KeyNotFound.into()) }
    }

    /// Encrypts every secret that a previous master key encrypted with the current one. Returns the
    /// number of secrets. After it, the previous master key can be removed.
    ///
    /// # Errors
    /// `APPS_NOT_CONFIGURED`, or MongoDB is unavailable. Repeat it then. `INTERNAL_ERROR` with the
    /// number of secrets whose master key is missing; all others are encrypted again.
    pub async fn reseal(&self) -> Result<u64, Refusal> {
        let vault = self.vault()?;
        let (mut count, mut failed) = (0, 0_u64);
        let apps = self.records.changed_apps(None).await?;
        for app in apps.into_iter().filter(|app| app.deleted_at.is_none()) {
            for key in app.keys.iter().filter(|key| key.revoked_at.is_none() && !vault.is_current(&key.sealed)) {
                let Some(secret) = vault.open(&app.id, &key.id, &key.sealed) else {
                    tracing::error!(app_id = %app.id, key_id = %key.id, "secret of an API key not decrypted");
                    failed += 1;
                    continue;
                };
                let sealed = vault.seal(&app.id, &key.id, &secret);
                count += u64::from(self.records.reseal_app_key(&app.id, &key.id, (&key.sealed, &sealed)).await?);
            }
            let secrets =
                app.webhooks.iter().flat_map(|hook| [Some(&hook.sealed), hook.previous.as_ref()].map(|of| (hook, of)));
            let old = secrets.filter_map(|(hook, sealed)| Some((hook, sealed.filter(|text| !vault.is_current(text))?)));
            for (hook, old) in old {
                let Some(secret) = vault.open(&app.id, &hook.id, old) else {
                    tracing::error!(app_id = %app.id, webhook_id = %hook.id, "secret of a webhook not decrypted");
                    failed += 1;
                    continue;
                };
                let new = vault.seal(&app.id, &hook.id, &secret);
                count += u64::from(self.records.reseal_app_webhook((&app.id, &hook.id), (old, &new)).await?);
            }
        }
        if failed == 0 {
            return Ok(count);
        }
        let problem = format!("{failed} secrets were not decrypted: add their key to APP_MASTER_KEY_PREVIOUS");
        Err(Refusal::new(Code::InternalError, problem))
    }

    fn vault(&self) -> Result<&AppVault, Refusal> {
        self.vault.ok_or_else(|| Code::AppsNotConfigured.into())
    }
}
