//! A report for people: a table for the terminal, and a page with charts that needs nothing else.

pub(crate) mod chart;
pub(crate) mod page;
pub(crate) mod table;
