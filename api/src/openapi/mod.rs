//! The OpenAPI 3.1 document, made from the list of routes, and a page that shows it.
//!
//! | file | content |
//! |---|---|
//! | `descriptions` | one sentence about each field whose type has none |
//! | `document` | the document |
//! | `example` | an example value for a JSON schema |
//! | `page` | the document as HTML |

mod descriptions;
mod document;
mod example;
mod page;

pub use document::document;
pub use page::{STYLE, render};
