//! Authentication: tokens, passwords, TURN credentials, operator keys and webhook signatures.
//!
//! | module | content |
//! |---|---|
//! | `app_key` | secrets of apps' API keys and webhooks, and their encryption |
//! | `metric_catalog` | metrics of password hashing |
//! | `operator` | API keys of operators |
//! | `password` | hashing and verification of passwords and passcodes |
//! | `token` | JSON Web Tokens: access, guest, join, refresh; those of apps |
//! | `turn` | ICE servers and TURN credentials |
//! | `webhook` | signatures of webhooks, and secrets for them |

pub mod app_key;
pub mod metric_catalog;
pub mod operator;
pub mod password;
pub mod token;
pub mod turn;
pub mod webhook;

pub use app_key::AppVault;
pub use operator::OperatorKeys;
pub use password::{PasswordCheck, PasswordHasher};
pub use switchboard_core::KeyRing;
pub use token::{
    AccessKeys, AppGrant, AppSigner, Identity, IdentityKind, IssuedToken, JoinGrant, PrivateKey, PublicKey, PublicKeys,
    RefreshIdentity, TokenLifetimes, TokenSigner, Tokens, UnverifiedToken, random_id, source_sign_in,
};
pub use turn::{IceConfig, IceGrant, IceServer, TurnCredentials};
pub use webhook::WebhookSigner;
