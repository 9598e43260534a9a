//! The pure modules of `common`, as a library of the same name.

#[path = "../../common/src/domain/mod.rs"]
pub mod domain;
#[path = "../../common/src/wire/mod.rs"]
pub mod wire;
