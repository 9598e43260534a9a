//! The JSON object around every response of the API.

use axum::Json;
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_core::domain::{Code, FieldError};

/// Returns the body of a successful response: `{success: true, message, data, pagination?}`.
pub fn success(message: &'static str, data: impl Serialize) -> Json<impl Serialize> {
    Json(Success { success: true, message, data, pagination: None })
}

/// Returns the body of a successful response with one page of a list.
pub fn page(message: &'static str, data: impl Serialize, pagination: Pagination) -> Json<impl Serialize> {
    Json(Success { success: true, message, data, pagination: Some(pagination) })
}

#[derive(Serialize)]
struct Success<T> {
    success: bool,
    message: &'static str,
    data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<Pagination>,
}

/// Position of a page in its list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Pagination {
    /// Page number, from 1.
    pub page: u32,
    /// Entries per page.
    pub limit: u32,
    /// Entries in the whole list.
    pub total: u64,
    /// Pages in the whole list.
    pub pages: u64,
    /// `after` of the next page, in lists that have it. Absent on a page that is not full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Pagination {
    /// Returns the position of page `page` in a list of `total` entries.
    #[must_use]
    pub fn new(page: u32, limit: u32, total: u64) -> Self {
        Self { page, limit, total, pages: total.div_ceil(u64::from(limit.max(1))), next: None }
    }
}

/// Body of an error response.
#[derive(Serialize)]
pub struct Failure<'a> {
    /// Always `false`.
    pub success: bool,
    /// Text for users.
    pub message: &'a str,
    /// Stable code.
    pub code: Code,
    /// Invalid fields, one entry each.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
    /// Id of the request; log lines about the request carry it too.
    #[serde(rename = "requestId")]
    pub request_id: &'a str,
}
