//! The use cases that REST and sockets share. Each exists once, so that the two cannot disagree.
//!
//! | module | content |
//! |---|---|
//! | `admission` | find a call by its room, decide who may join and how, open the room |
//! | `app_admin` | create, change and delete apps and their API keys |
//! | `app_directory` | copy of all apps in this process; verifies tokens of users |
//! | `app_limits` | refusals at the limits of an app |
//! | `app_origins` | web origins on whose pages tokens of an app are accepted |
//! | `creation` | create a call in its record and in its room |
//! | `editing` | change a call in its room and in its record |
//! | `error` | why a use case failed |
//! | `identity_sources` | copy of all identity sources in this process |
//! | `key_uses` | last uses of API keys |
//! | `metric_catalog` | metrics |
//! | `webhook_admin` | webhooks of apps, and the events that were sent |

mod admission;
mod app_admin;
mod app_directory;
mod app_limits;
mod app_origins;
mod creation;
mod editing;
mod error;
mod identity_sources;
mod key_uses;
pub mod metric_catalog;
mod webhook_admin;

pub use admission::{ADMISSION_ATTEMPTS_MAX, Candidate, FoundCall, JoinAccess, RecordRead, seat_refusal};
pub use app_admin::{APP_NAME, APPS_PAGE_MAX, AppAdmin, NewAppKey, USAGE_DAYS_MAX, UsageReport};
pub use app_directory::{AppDirectory, AppKey};
pub use app_limits::{LimitRefusals, count_open_entry};
pub use app_origins::{APP_ORIGIN_LENGTH_MAX, APP_ORIGINS_MAX, check_origins};
pub use creation::{CallCreator, NewCall, NewCallOwner, join_link};
pub use editing::{CallEditor, check_editable};
pub use error::CallError;
pub use webhook_admin::{
    NewWebhook, PREVIOUS_SECRET_SECONDS, PREVIOUS_SECRET_SECONDS_MAX, RESEND_MAX, WEBHOOK_URL_MAX, WebhookAdmin,
};
