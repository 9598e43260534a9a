//! Administration of apps' webhooks and of the events that were sent. REST and the command line
//! share it.
//!
//! Only operators set URLs, so that no client chooses where the pods send requests. A URL of a
//! private network is allowed: the receiver of an operator may be there.

use switchboard_auth::{AppVault, webhook};
use switchboard_core::Secret;
use switchboard_core::domain::{AppId, CallId, Code, Refusal, Timestamp, WebhookEvent, WebhookId};
use switchboard_records::{
    APP_WEBHOOKS_MAX, AppWebhookEdit, AppWebhookRecord, DeliveryFilter, DeliveryPosition, DeliveryRecord,
    DeliveryState, Records,
};
use url::Url;

/// Longest URL of a webhook, in characters.
pub const WEBHOOK_URL_MAX: usize = 2048;
/// Time in seconds for which the previous secret of a webhook signs too, unless it is given.
pub const PREVIOUS_SECRET_SECONDS: u32 = 86_400;
/// Longest time for which it does.
pub const PREVIOUS_SECRET_SECONDS_MAX: u32 = 7 * 86_400;
/// Attempts of a rotation while the same secret is encrypted with another master key.
const ROTATE_ATTEMPTS: usize = 3;
/// Maximum number of failed events that one order sends again.
pub const RESEND_MAX: u32 = 10_000;

/// Use cases of operators: webhooks of apps, and events for them.
#[derive(Clone, Copy)]
pub struct WebhookAdmin<'a> {
    /// Records of the apps and of the events.
    pub records: &'a Records,
    /// Encrypts secrets. `None`: the deployment has no master key, and so no apps.
    pub vault: Option<&'a AppVault>,
    /// Whether URLs must have the scheme `https`.
    pub https_only: bool,
}

/// Webhook with its new secret, which is shown once.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// The stored webhook.
    pub webhook: AppWebhookRecord,
    /// Secret.
    pub secret: Secret,
}

impl WebhookAdmin<'_> {
    /// Adds a webhook to an app. It receives the events that are recorded later than a few seconds
    /// after that. Without `events` it receives [`WebhookEvent::DEFAULT`].
    ///
    /// # Errors
    /// `APPS_NOT_CONFIGURED`, `VALIDATION_ERROR`, `APP_NOT_FOUND`, `LIMIT_REACHED`, or MongoDB is
    /// unavailable.
    pub async fn add(
        &self,
        app: &AppId,
        url: &str,
        events: Option<Vec<WebhookEvent>>,
        now: Timestamp,
    ) -> Result<NewWebhook, Refusal> {
        let (id, secret) = (WebhookId::from_random(rand::random()), webhook::new_secret());
        let webhook = AppWebhookRecord {
            sealed: self.vault()?.seal(app, &id, &secret),
            id,
            url: check_url(url, self.https_only)?,
            events: events.unwrap_or_else(|| WebhookEvent::DEFAULT.to_vec()),
            previous: None,
            previous_until: None,
            created_at: now,
        };
        if self.records.add_app_webhook(app, &webhook).await? {
            return Ok(NewWebhook { webhook, secret });
        }
        self.list(app).await?;
        Err(Refusal::new(Code::LimitReached, format!("The app has {APP_WEBHOOKS_MAX} webhooks, the maximum")))
    }

    /// Returns the webhooks of an app, the oldest first.
    ///
    /// # Errors
    /// `APP_NOT_FOUND`, or MongoDB is unavailable.
    pub async fn list(&self, app: &AppId) -> Result<Vec<AppWebhookRecord>, Refusal> {
        Ok(self.records.app(app).await?.ok_or(Code::AppNotFound)?.webhooks)
    }

    /// Returns a webhook of an app.
    ///
    /// # Errors
    /// `WEBHOOK_NOT_FOUND`, or MongoDB is unavailable.
    pub async fn get(&self, app: &AppId, id: &WebhookId) -> Result<AppWebhookRecord, Refusal> {
        self.records.app_webhook(app, id).await?.ok_or_else(|| Code::WebhookNotFound.into())
    }

    /// Changes URL or types of events. Events that wait are sent to the new URL.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, `WEBHOOK_NOT_FOUND`, or MongoDB is unavailable.
    pub async fn edit(&self, app: &AppId, id: &WebhookId, edit: AppWebhookEdit) -> Result<AppWebhookRecord, Refusal> {
        let url = edit.url.map(|url| check_url(&url, self.https_only)).transpose()?;
        let edit = AppWebhookEdit { url, ..edit };
        self.records.edit_app_webhook(app, id, &edit).await?.ok_or_else(|| Code::WebhookNotFound.into())
    }

    /// Makes a new secret. The previous one signs too for `previous_seconds`; the one before that
    /// no longer. Of several rotations at the same time, one makes a secret and the others are
    /// refused, because a second secret would end the first one before its receiver has it.
    ///
    /// # Errors
    /// `APPS_NOT_CONFIGURED`, `WEBHOOK_NOT_FOUND`; `SECRET_ROTATED` if another request has rotated
    /// the same secret; or MongoDB is unavailable.
    pub async fn rotate(
        &self,
        app: &AppId,
        id: &WebhookId,
        previous_seconds: u32,
        now: Timestamp,
    ) -> Result<NewWebhook, Refusal> {
        let (vault, secret) = (self.vault()?, webhook::new_secret());
        let until = Timestamp(now.0 + i64::from(previous_seconds) * 1000);
        let mut old = self.get(app, id).await?.sealed;
        for _ in 0..ROTATE_ATTEMPTS {
            let sealed = vault.seal(app, id, &secret);
            if let Some(webhook) = self.records.rotate_app_webhook((app, id), (&old, &sealed), until).await? {
                return Ok(NewWebhook { webhook, secret });
            }
            let current = self.get(app, id).await?.sealed;
            let [before, now] = [&old, &current].map(|sealed| vault.open(app, id, sealed));
            let is_same = before.zip(now).is_some_and(|(before, now)| before.expose() == now.expose());
            if !is_same {
                return Err(Code::SecretRotated.into());
            }
            // The same secret, encrypted with another master key since.
            old = current;
        }
        Err(Code::ServiceUnavailable.into())
    }

    /// Removes a webhook. Events that wait for it are not sent.
    ///
    /// # Errors
    /// `WEBHOOK_NOT_FOUND`, or MongoDB is unavailable.
    pub async fn remove(&self, app: &AppId, id: &WebhookId) -> Result<(), Refusal> {
        if self.records.remove_app_webhook(app, id).await? { Ok(()) } else { Err(Code::WebhookNotFound.into()) }
    }

    /// Returns at most `limit` events for an endpoint with their outcome, the newest first.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn deliveries(
        &self,
        endpoint: &WebhookId,
        (state, call): (Option<DeliveryState>, Option<&CallId>),
        after: Option<&DeliveryPosition>,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, Refusal> {
        let filter = DeliveryFilter { endpoint: endpoint.as_str(), state, call };
        Ok(self.records.delivery_page(filter, after, limit).await?)
    }

    /// Sends an event again to an endpoint; without an event all that failed, the oldest first, at
    /// most [`RESEND_MAX`]. Returns their number.
    ///
    /// # Errors
    /// `DELIVERY_NOT_FOUND`, or MongoDB is unavailable.
    pub async fn resend(&self, endpoint: &WebhookId, event_id: Option<&str>, now: Timestamp) -> Result<u64, Refusal> {
        match event_id {
            None => Ok(self.records.resend_failed(endpoint.as_str(), now, RESEND_MAX).await?),
            Some(event) if self.records.resend_delivery(endpoint.as_str(), event, now).await? => Ok(1),
            Some(_) => Err(Code::DeliveryNotFound.into()),
        }
    }

    fn vault(&self) -> Result<&AppVault, Refusal> {
        self.vault.ok_or_else(|| Code::AppsNotConfigured.into())
    }
}

/// Returns a URL in its normal form.
fn check_url(text: &str, https_only: bool) -> Result<String, Refusal> {
    let refused = |problem: &str| Refusal::field(Code::ValidationError, "url", problem.to_owned());
    if text.chars().count() > WEBHOOK_URL_MAX {
        return Err(refused(&format!("must have at most {WEBHOOK_URL_MAX} characters")));
    }
    let url = Url::parse(text).map_err(|_| refused("must be a URL such as https://example.com/hook"))?;
    match url.scheme() {
        "https" => {}
        "http" if !https_only => {}
        _ => return Err(refused("must begin with https://")),
    }
    if url.port() == Some(0) {
        return Err(refused("must have a port from 1 to 65535"));
    }
    // A password would be shown to everyone who lists webhooks. The signature proves the sender.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("must have no user name or password; verify the signature"));
    }
    if url.fragment().is_some() {
        return Err(refused("must have no fragment (#)"));
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_url_has_no_password_and_in_production_the_scheme_https() {
        for good in ["https://a.test", "https://10.0.0.7:8443/hook?key=1", "https://[::1]/x"] {
            assert!(check_url(good, true).is_ok(), "{good}");
        }
        assert_eq!(check_url("https://b\u{fc}cher.example", true).unwrap(), "https://xn--bcher-kva.example/");
        assert!(check_url("http://a.test/x", false).is_ok());
        let long = format!("https://a.test/{}", "x".repeat(WEBHOOK_URL_MAX));
        for bad in [
            "http://a.test/x",
            "ftp://a.test",
            "a.test",
            "https://",
            "https://a:0/",
            "https://[::1",
            "https://a:99999/",
            "https://u:p@a/",
            "https://a/#x",
            &long,
        ] {
            let refusal = check_url(bad, true).unwrap_err();
            assert_eq!((refusal.code, refusal.errors[0].field.as_ref()), (Code::ValidationError, "url"), "{bad}");
        }
    }
}
