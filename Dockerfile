# syntax=docker/dockerfile:1.7
# Two images from one build: `docker build --target api .` and `--target signal-node`.
# `make images` makes smaller ones with the same programs, user, ports and labels, without Docker.
#
# The base has glibc, certificates and time zones, but no shell, no package manager and no root
# user. An image has 16.5 MB for the base, and 17 MB for signal-node, or 26 MB for api and 3 MB for
# the page. The image has no health check, because it contains no client; the orchestrator probes
# METRICS_PORT.

ARG RUST=1.95-slim-bookworm
ARG NODE=22-bookworm-slim
ARG DEBIAN=12

FROM rust:${RUST} AS build
WORKDIR /src
# Line tables would be 80 % of the program, and function names would add 4 MB. Panic messages
# contain file and line without them. For backtraces with function names build with STRIP=debuginfo.
ARG STRIP=symbols
ENV CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=${STRIP}
COPY . .
# The cache mounts keep compiled crates between builds on one machine. They are not part of the
# image, so the programs are copied to /out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --release --package switchboard-api --package switchboard-signal-node --bins \
    && mkdir -p /out \
    && cp target/release/api target/release/signal-node /out/ \
    # The base lacks the library for unwinding, with which a panic ends one session, not the
    # program.
    && cp /lib/*-linux-gnu/libgcc_s.so.1 /out/

FROM node:${NODE} AS page
WORKDIR /page
COPY sdk/js/package.json sdk/js/package-lock.json sdk/js/
COPY web/package.json web/package-lock.json web/
RUN npm --prefix sdk/js ci --no-audit --no-fund && npm --prefix web ci --no-audit --no-fund
COPY sdk/js sdk/js
COPY web web
# The types of the SDK are generated from these.
COPY docs/openapi.json docs/asyncapi.json docs/
# Puts the client SDK and socket.io-client into web/vendor/, and the page with both into web/dist/.
RUN npm --prefix sdk/js run build && npm --prefix web run build

FROM gcr.io/distroless/base-nossl-debian${DEBIAN}:nonroot AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/libgcc_s.so.1 /usr/lib/
# Numeric, because Kubernetes cannot verify that a user name is not root.
USER 65532:65532
ENV NODE_ENV=production
STOPSIGNAL SIGTERM

FROM base AS api
LABEL org.opencontainers.image.title="Switchboard api" \
      org.opencontainers.image.description="REST API, demo page and recorder of Switchboard"
COPY --from=build /out/api /usr/local/bin/api
COPY --from=page /page/web/dist /srv/web
EXPOSE 3001 9101
ENTRYPOINT ["/usr/local/bin/api"]

FROM base AS signal-node
LABEL org.opencontainers.image.title="Switchboard signal-node" \
      org.opencontainers.image.description="Socket.IO signaling node of Switchboard"
COPY --from=build /out/signal-node /usr/local/bin/signal-node
EXPOSE 3002 9102 9202
ENTRYPOINT ["/usr/local/bin/signal-node"]
