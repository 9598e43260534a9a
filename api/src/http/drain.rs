//! Reads the rest of a body that a handler has not read.
//!
//! A server that answers and closes while the client still sends resets the connection. The client
//! then loses the answer, and its user sees a network error instead of the refusal.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

/// Maximum number of bytes that are read and dropped. Photos that pages send by mistake have less.
const DRAIN_MAX: usize = 16 * 1024 * 1024;

/// Answers a request after its body has arrived, even if the handler has refused the request before
/// it read all of the body. A client that waits for `100 Continue` sends no body after a refusal.
pub async fn drain(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = SharedBody(Arc::new(Mutex::new(body)));
    let response = next.run(Request::from_parts(parts, Body::new(body.clone()))).await;
    body.read_and_drop().await;
    response
}

/// Body that the handler and [`drain`] read one after the other.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Body>>);

impl SharedBody {
    fn body(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_and_drop(mut self) {
        let mut dropped = 0;
        while dropped < DRAIN_MAX
            && let Some(Ok(frame)) = self.frame().await
        {
            dropped += frame.data_ref().map_or(0, Bytes::len);
        }
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}
