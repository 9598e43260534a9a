//! Traces, off unless a collector is named: a call's way through the api, the nodes and Redis, as OpenTelemetry spans.
//!
//! A trace's id is made of its room's id. So every pod that has a part in a call adds to the same trace, though nothing is handed on:
//! not by clients, who could forge it, nor in tokens or envelopes, which would grow. Whether a trace is kept follows from its id as
//! well, the same everywhere. [`trace_id`] tells an operator what to search for.

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Tracer};
use sha2::{Digest as _, Sha256};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::config::TraceConfig;
use switchboard_core::domain::RoomId;

/// The target of every span that belongs to a trace: logs leave it out, and without a collector nothing of it is made.
pub const TARGET: &str = "switchboard::trace";

/// Sends what was traced; flushes at the end.
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts sending to the collector, if there is one; and where spans go in.
    ///
    /// # Errors
    /// The collector's address is of no use.
    pub(super) fn start(
        config: &TraceConfig,
        service: &'static str,
    ) -> Result<(Self, Option<Tracer>), ExporterBuildError> {
        let Some(endpoint) = &config.endpoint else { return Ok((Self::default(), None)) };
        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
        let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", service)).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // By the trace's id alone, so that every pod decides alike.
            .with_sampler(Sampler::TraceIdRatioBased(config.ratio))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("switchboard");
        Ok((Self(Some(provider)), Some(tracer)))
    }

    /// Sends what is left, within 5 s.
    pub async fn finish(self) {
        if let Some(provider) = self.0 {
            // It blocks; a collector that does not answer is no reason to fail.
            let _sent_or_lost = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        }
    }
}

/// Makes a span part of its room's trace. Costs nothing when the span is disabled.
pub fn follow(span: Span, room: &RoomId) -> Span {
    if !span.is_disabled() {
        let id = trace_id(room);
        // The common parent of all is nobody's span: viewers show its children at the top.
        let parent = SpanId::from_bytes(id.to_bytes()[..8].try_into().unwrap_or_default());
        let parent = SpanContext::new(id, parent, TraceFlags::SAMPLED, true, TraceState::default());
        let _set_or_not_traced = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    span
}

/// The id of a room's trace: the first 16 bytes of the SHA-256 of the room's id.
#[must_use]
pub fn trace_id(room: &RoomId) -> TraceId {
    let digest = Sha256::digest(room.as_str());
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    TraceId::from_bytes(id)
}
