//! The migrations of the documents, in order. The first one leads from schema version 1 to 2.
//!
//! A change of documents takes several versions, each in a release of its own, and none that the
//! version before it cannot read (CONTRIBUTING.md, "a change of stored or shared data"):
//!
//! 1. **Expand**: write the new field beside the old one, and read the old one. No document is
//!    changed (`change: None`), but an earlier program would write the old field alone.
//! 2. **Migrate**: fill the new field in where it is missing, and read it; without it the old one.
//! 3. **Contract**: write and read the new field alone, and remove the old one.

use mongodb::bson::Document;

/// All migrations.
pub(crate) const MIGRATIONS: &[Migration] = &[];

/// Way from one schema version to the next.
#[allow(dead_code, reason = "there is no migration yet, except in tests")]
pub(crate) struct Migration {
    /// Name in the log.
    pub(crate) name: &'static str,
    /// Change of stored documents; `None` if only new documents differ.
    pub(crate) change: Option<Change>,
}

/// Change of the documents of one collection.
#[allow(dead_code, reason = "there is no migration yet, except in tests")]
pub(crate) struct Change {
    /// Collection.
    pub(crate) collection: &'static str,
    /// Selects documents that are not migrated yet. A migrated document must not match, because a
    /// batch may be repeated.
    pub(crate) pending: fn() -> Document,
    /// Update pipeline that migrates a document.
    pub(crate) update: fn() -> Vec<Document>,
}
