//! The page's files.

use std::path::PathBuf;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};
use switchboard_core::domain::Code;
use tower::ServiceExt as _;
use tower_http::services::{ServeDir, ServeFile};

use crate::error::Problem;

/// Folders of the page that browsers load from; what else lies beside them is nobody's business.
const FOLDERS: [&str; 2] = ["/app/", "/vendor/"];
/// Kinds of files that browsers load from the top.
const KINDS: [&str; 6] = ["css", "js", "svg", "png", "ico", "webmanifest"];

/// Serves a file of the page: `/` and `/r/<room>` are the page itself.
pub(crate) async fn file(State(folder): State<Option<PathBuf>>, request: Request) -> Response {
    let path = request.uri().path();
    let (Some(folder), &(Method::GET | Method::HEAD)) = (folder, request.method()) else {
        return Problem::from(Code::RouteNotFound).into_response();
    };
    let served = if path == "/" || is_room(path) {
        ServeFile::new(folder.join("index.html")).oneshot(request).await
    } else if is_public(path) {
        ServeDir::new(folder).append_index_html_on_directories(false).oneshot(request).await
    } else {
        return Problem::from(Code::RouteNotFound).into_response();
    };
    let mut response = match served {
        Ok(response) if response.status() != http::StatusCode::NOT_FOUND => response.into_response(),
        _ => return Problem::from(Code::RouteNotFound).into_response(),
    };
    // Asked again each time, answered 304: a page and the modules that it loads are always of one version.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn is_room(path: &str) -> bool {
    path.strip_prefix("/r/").is_some_and(|room| !room.is_empty() && !room.contains('/'))
}

fn is_public(path: &str) -> bool {
    let top =
        !path[1..].contains('/') && KINDS.iter().any(|kind| path.rsplit_once('.').is_some_and(|(_, end)| end == *kind));
    top || FOLDERS.iter().any(|folder| path.starts_with(folder))
}
