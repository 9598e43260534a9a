//! Domain types and rules as plain values, without I/O, clock or async.
//!
//! | module | content |
//! |---|---|
//! | `admission` | who may join a call, and with which role |
//! | `app` | scopes of the API keys of apps, permissions of their users |
//! | `call` | status and type of a call |
//! | `call_edit` | changes of a call by its host |
//! | `call_fields` | bounds and checks of a call's fields |
//! | `disconnect` | reasons why a node closes a socket, with their close codes |
//! | `email` | e-mail addresses in one form |
//! | `identity_source` | other sign-ins whose tokens identify users of an app |
//! | `ids` | ids as types |
//! | `media` | changes of a participant's media state |
//! | `names` | names and titles in one form, without characters that hide or imitate |
//! | `participant` | roles, connection states, media states, users, participants |
//! | `permissions` | which role may do which action |
//! | `rate` | rate limits |
//! | `reaction` | one emoji that a participant shows |
//! | `reasons` | why a participant left, and why a call ended |
//! | `refusal` | refusals and their stable codes |
//! | `room_meta` | metadata of the call that a room keeps |
//! | `settings` | settings of a call |
//! | `time` | timestamps |
//! | `webhook` | types of the events that webhooks report |

pub mod admission;
pub mod app;
pub mod call;
pub mod call_edit;
pub mod call_fields;
pub mod disconnect;
pub mod email;
pub mod identity_source;
pub mod ids;
pub mod media;
pub mod names;
pub mod participant;
pub mod permissions;
pub mod rate;
pub mod reaction;
pub mod reasons;
pub mod refusal;
pub mod room_meta;
pub mod settings;
pub mod time;
pub mod webhook;

pub use admission::{AccessPolicy, Admission, JoinRequest, JoinToken, check_admits_somebody};
pub use app::{AppLimit, AppLimits, AppScope, CallPermissions, PermissionsChange};
pub use call::{CallStatus, CallType};
pub use call_edit::CallEdit;
pub use disconnect::DisconnectReason;
pub use email::EmailAddress;
pub use identity_source::{ClaimNames, IdentitySource, IdentitySourceKind, Jwk, Jwks};
pub use ids::{
    AppId, AppKeyId, CallId, Generation, NodeId, PeerId, RoomId, RoomName, SessionHandle, UserId, WebhookId,
};
pub use media::{ConditionalMediaChange, MediaChange};
pub use participant::{ConnectionState, MediaKind, MediaState, Participant, PublicUser, Role};
pub use permissions::Action;
pub use rate::{Rate, RateOutcome, whole_seconds};
pub use reasons::{EndReason, LeaveReason};
pub use refusal::{Code, FieldError, Refusal};
pub use room_meta::RoomMeta;
pub use settings::{CallSettings, SettingInfo, SettingsChange};
pub use time::Timestamp;
pub use webhook::WebhookEvent;
