//! Files of the web page.

use std::path::PathBuf;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};
use switchboard_core::domain::Code;
use tower::ServiceExt as _;
use tower_http::services::{ServeDir, ServeFile};

use crate::http::error::ApiError;

/// Folders that are served. Other folders beside them (such as `node_modules`) are not.
const PUBLIC_FOLDERS: [&str; 2] = ["/app/", "/vendor/"];
/// Extensions of the files that are served from the top folder.
const PUBLIC_EXTENSIONS: [&str; 6] = ["css", "js", "svg", "png", "ico", "webmanifest"];

/// Serves a file of the web page. `/` and `/r/<room>` are `index.html`.
pub(crate) async fn file(State(folder): State<Option<PathBuf>>, request: Request) -> Response {
    let path = request.uri().path();
    let (Some(folder), &(Method::GET | Method::HEAD)) = (folder, request.method()) else {
        return ApiError::from(Code::RouteNotFound).into_response();
    };
    let served = if path == "/" || is_room(path) {
        ServeFile::new(folder.join("index.html")).oneshot(request).await
    } else if is_public(path) {
        ServeDir::new(folder).append_index_html_on_directories(false).oneshot(request).await
    } else {
        return ApiError::from(Code::RouteNotFound).into_response();
    };
    let mut response = match served {
        Ok(response) if response.status() != http::StatusCode::NOT_FOUND => response.into_response(),
        _ => return ApiError::from(Code::RouteNotFound).into_response(),
    };
    // Browsers revalidate each file (answer 304), so that the page and its modules always have the
    // same version.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn is_room(path: &str) -> bool {
    path.strip_prefix("/r/").is_some_and(|room| !room.is_empty() && !room.contains('/'))
}

fn is_public(path: &str) -> bool {
    let top = !path[1..].contains('/')
        && PUBLIC_EXTENSIONS.iter().any(|extension| path.rsplit_once('.').is_some_and(|(_, end)| end == *extension));
    top || PUBLIC_FOLDERS.iter().any(|folder| path.starts_with(folder))
}
