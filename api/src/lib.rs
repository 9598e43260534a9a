//! x

pub mod recorder;
