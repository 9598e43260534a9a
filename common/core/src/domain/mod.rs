//! The words of the trade, as plain values. Nothing here waits, reads a clock or talks to anything.

pub mod admission;
pub mod call;
pub mod call_edit;
pub mod call_fields;
pub mod disconnect;
pub mod grant;
pub mod ids;
pub mod media;
pub mod participant;
pub mod rate;
pub mod refusal;
pub mod room_meta;
pub mod settings;
pub mod time;

pub use admission::{Admission, Applicant, Entrance};
pub use call::{CallStatus, CallType};
pub use call_edit::CallEdit;
pub use disconnect::DisconnectReason;
pub use grant::Action;
pub use ids::{CallId, Generation, NodeId, PeerId, RoomId, SessionHandle, UserId};
pub use media::{MediaChange, MediaSwitch};
pub use participant::{ConnectionState, MediaKind, MediaState, Participant, PublicUser, Role};
pub use rate::{Rate, Spent};
pub use refusal::{Code, FieldError, Refusal};
pub use room_meta::RoomMeta;
pub use settings::{CallSettings, SettingInfo, SettingsChange};
pub use time::Timestamp;
