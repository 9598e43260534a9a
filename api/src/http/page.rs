//! Files of the web page.

use std::path::PathBuf;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderValue, Method, header};
use switchboard_core::domain::Code;
use tower::ServiceExt as _;
use tower_http::services::{ServeDir, ServeFile};

use crate::http::error::ApiError;

/// Folders that are served. Other folders beside them (such as `node_modules`) are not.
const PUBLIC_FOLDERS: [&str; 2] = ["/app/", "/vendor/"];
/// Extensions of the files that are served from the top folder.
const PUBLIC_EXTENSIONS: [&str; 6] = ["css", "js", "svg", "png", "ico", "webmanifest"];

/// Serves a file of the web page. `/` is `index.html`. Short links, `/r/<room>`, lead to
/// `/?room=<room>`. Without a page, `/` answers with a line of text, because many load balancers
/// ask it whether a server is well.
///
/// A file is sent compressed if the client accepts that and the file has a compressed form beside
/// it: `<name>.br` or `<name>.gz`.
pub(crate) async fn file(State(folder): State<Option<PathBuf>>, request: Request) -> Response {
    let path = request.uri().path();
    let cache = cache_control(path);
    if folder.is_none() && path == "/" && matches!(*request.method(), Method::GET | Method::HEAD) {
        return "Switchboard API: see /api/docs\n".into_response();
    }
    let (Some(folder), &(Method::GET | Method::HEAD)) = (folder, request.method()) else {
        return ApiError::from(Code::RouteNotFound).into_response();
    };
    let served = if path == "/" {
        ServeFile::new(folder.join("index.html")).precompressed_br().precompressed_gzip().oneshot(request).await
    } else if let Some(target) = short_link(path) {
        return Redirect::temporary(&target).into_response();
    } else if is_public(path) {
        let files = ServeDir::new(folder).append_index_html_on_directories(false);
        files.precompressed_br().precompressed_gzip().oneshot(request).await
    } else {
        return ApiError::from(Code::RouteNotFound).into_response();
    };
    let mut response = match served {
        Ok(response) if response.status() != http::StatusCode::NOT_FOUND => response.into_response(),
        _ => return ApiError::from(Code::RouteNotFound).into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// Returns how long browsers may keep a file. The build of the page puts a hash of the content into
/// the names of the files in `/app/`, so these never change. Browsers revalidate all others (answer
/// 304), so that the page is always the one that is deployed.
fn cache_control(path: &str) -> &'static str {
    if path.starts_with("/app/") { "public, max-age=31536000, immutable" } else { "no-cache" }
}

/// Returns the address of the page for `/r/<room>`. It is relative, because a proxy may serve the
/// page under a path. The page's own files are relative to its address as well, so that it cannot
/// be served at two depths.
fn short_link(path: &str) -> Option<String> {
    let room = path.strip_prefix("/r/")?;
    // Programs that show or shorten links append a slash.
    let (room, root) = room.strip_suffix('/').map_or((room, "../"), |room| (room, "../../"));
    (!room.is_empty() && !room.contains('/')).then(|| format!("{root}?room={room}"))
}

fn is_public(path: &str) -> bool {
    let top = !path[1..].contains('/')
        && PUBLIC_EXTENSIONS.iter().any(|extension| path.rsplit_once('.').is_some_and(|(_, end)| end == *extension));
    top || PUBLIC_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use axum::body::{Body, to_bytes};

    async fn ask(method: Method, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = file(State(None), request).await;
        let (status, body) = (response.status().as_u16(), to_bytes(response.into_body(), 4096).await.unwrap());
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn a_short_link_leads_to_the_page_from_under_any_path() {
        for (path, target) in [
            ("/r/ABCDEF123456", Some("../?room=ABCDEF123456")),
            ("/r/ABCDEF123456/", Some("../../?room=ABCDEF123456")),
            ("/r/", None),
            ("/r//", None),
            ("/r/a/b", None),
            ("/room", None),
        ] {
            assert_eq!(short_link(path).as_deref(), target, "{path}");
        }
    }

    #[test]
    fn only_files_with_a_hash_in_their_names_are_cached_for_good() {
        assert!(cache_control("/app/main-6M47EDBT.js").contains("immutable"));
        for path in ["/", "/icons.svg", "/vendor/switchboard.js", "/application.js"] {
            assert_eq!(cache_control(path), "no-cache", "{path}");
        }
    }

    #[tokio::test]
    async fn without_a_page_the_root_answers_health_checks_with_a_line_of_text() {
        assert_eq!(ask(Method::GET, "/").await, (200, "Switchboard API: see /api/docs\n".to_owned()));
        assert_eq!(ask(Method::HEAD, "/").await.0, 200);
        for (method, path) in [(Method::POST, "/"), (Method::GET, "/r/ROOM"), (Method::GET, "/style.css")] {
            assert_eq!(ask(method, path).await.0, 404, "{path}");
        }
    }
}
