//! The requests of one connection. Its stream learns from them whether the connection is idle.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};

/// Requests of one connection.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    begun: AtomicUsize,
    ended: AtomicUsize,
    /// Task of the connection, which waits for the end of the request.
    task: Mutex<Option<Waker>>,
}

/// Request in progress, until it is dropped.
#[derive(Debug)]
pub struct RequestInProgress(Arc<Counters>);

impl Requests {
    /// Counts a request whose head is complete.
    #[must_use]
    pub fn begin(&self) -> RequestInProgress {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        RequestInProgress(Arc::clone(&self.0))
    }

    /// Returns the number of requests so far, and whether one is in progress.
    pub(crate) fn progress(&self) -> (usize, bool) {
        let begun = self.0.begun.load(Ordering::Relaxed);
        (begun, begun != self.0.ended.load(Ordering::Relaxed))
    }

    /// Wakes this task when the request in progress ends, because the connection is idle from then
    /// on, and the server need not read until bytes come.
    pub(crate) fn wake_at_end(&self, waker: &Waker) {
        *self.0.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }
}

impl RequestInProgress {
    /// Makes the request last until the response is sent.
    pub fn until_sent<B>(self, response: Response<B>) -> Response<Tracked<B>> {
        response.map(|body| Tracked { body, _request: self })
    }
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
        let task = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Body of a response, with its request.
#[derive(Debug)]
pub struct Tracked<B> {
    body: B,
    _request: RequestInProgress,
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
