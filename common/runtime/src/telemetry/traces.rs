//! Traces: the path of a call through the API, the nodes and Redis, as OpenTelemetry spans. Off
//! unless a collector is configured.
//!
//! The id of a trace is derived from the room's id. So every pod adds to the same trace, and no
//! trace context is passed on: clients could forge it, and tokens and envelopes would grow. The
//! sampling decision depends only on the id, so every pod decides alike. [`trace_id`] tells an
//! operator which id to search for.

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

/// Target of every span of a trace. Logs exclude it, and without a collector such spans are
/// disabled.
pub const TARGET: &str = "switchboard::trace";

/// Exporter of traces.
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts the export and returns the tracer for spans, if a collector is configured.
    ///
    /// # Errors
    /// The address of the collector is invalid.
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
            // Sample by the trace id alone, so that every pod decides alike.
            .with_sampler(Sampler::TraceIdRatioBased(config.ratio))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("switchboard");
        Ok((Self(Some(provider)), Some(tracer)))
    }

    /// Sends the remaining spans, within 5 s.
    pub async fn finish(self) {
        if let Some(provider) = self.0 {
            // `shutdown` blocks. Its failure is ignored, because the process ends anyway.
            let _sent_or_lost = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        }
    }
}

/// Makes a span part of its room's trace. A disabled span costs nothing.
pub fn follow(span: Span, room: &RoomId) -> Span {
    if !span.is_disabled() {
        let id = trace_id(room);
        // All spans share a parent that is never sent, so viewers show them as top-level spans.
        let parent = SpanId::from_bytes(id.to_bytes()[..8].try_into().unwrap_or_default());
        let parent = SpanContext::new(id, parent, TraceFlags::SAMPLED, true, TraceState::default());
        let _set_or_not_traced = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    span
}

/// Returns the id of a room's trace: the first 16 bytes of the SHA-256 of the room's id.
#[must_use]
pub fn trace_id(room: &RoomId) -> TraceId {
    let digest = Sha256::digest(room.as_str());
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    TraceId::from_bytes(id)
}
