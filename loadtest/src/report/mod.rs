//! Output of a run's summary.
//!
//! | file | content |
//! |---|---|
//! | `table` | text for the terminal |
//! | `page` | self-contained HTML page |
//! | `chart` | line charts of the page, as SVG |

pub(crate) mod chart;
pub(crate) mod page;
pub(crate) mod table;
