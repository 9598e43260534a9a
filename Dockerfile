# syntax=docker/dockerfile:1.7
# Two images from one build: `docker build --target api .` and `--target signal-node`.
# `make images` makes the same ones without Docker: `scripts/images` chooses the files of both.
#
# An image has its program, the libraries that it links to, certificates of public CAs, and no
# shell, no package manager and no root user: 35 MB for api, 22 MB for signal-node. The image has no
# health check, because it contains no client; the orchestrator probes METRICS_PORT.

ARG RUST=1.95-slim-bookworm
ARG NODE=22-bookworm-slim

FROM rust:${RUST} AS build
WORKDIR /src
# Line tables would be 80 % of the program. Panic messages contain file and line without them.
ENV CARGO_PROFILE_RELEASE_DEBUG=0
COPY . .
# The cache mounts keep compiled crates between builds on one machine. They are not part of the
# image, so the programs are copied to /out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --release --package switchboard-api --package switchboard-signal-node --bins \
    && mkdir -p /out \
    && cp target/release/api target/release/signal-node /out/

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

FROM build AS files
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=page /page/web/dist web/dist
# Function names would add 4 MB. For backtraces with them build with STRIP=debug.
ARG STRIP=all
# Date in the bill of materials, in seconds since 1970.
ARG SOURCE_DATE_EPOCH=0
# The licences of the crates are read from their sources.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    scripts/images --programs /out --folders /images --strip ${STRIP}

FROM scratch AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=files /images/base /
# Numeric, because Kubernetes cannot verify that a user name is not root.
USER 65532:65532
ENV NODE_ENV=production
STOPSIGNAL SIGTERM

FROM base AS api
LABEL org.opencontainers.image.title="Switchboard api" \
      org.opencontainers.image.description="REST API, demo page and recorder of Switchboard"
COPY --from=files /images/api /
EXPOSE 3001 9101
ENTRYPOINT ["/usr/local/bin/api"]

FROM base AS signal-node
LABEL org.opencontainers.image.title="Switchboard signal-node" \
      org.opencontainers.image.description="Socket.IO signaling node of Switchboard"
COPY --from=files /images/signal-node /
EXPOSE 3002 9102 9202
ENTRYPOINT ["/usr/local/bin/signal-node"]
