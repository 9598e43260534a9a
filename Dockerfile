# syntax=docker/dockerfile:1.7
# Two images, one for each program: `docker build --target api .` and `docker build --target signal-node .`, both by the same build.
#
# The base has glibc, certificates, time zones and nothing else: no shell, no package manager, no root. With it an image is 33 to 36 MB: 16 the base
# (Debian's libc6, tzdata, base-files, netbase, and certificates), 17 signal-node or 20 api. Health is the orchestrator's to ask, at METRICS_PORT: there is
# nothing in the image to ask with.

ARG RUST=1.95-slim-bookworm
ARG NODE=22-bookworm-slim
ARG DEBIAN=12

FROM rust:${RUST} AS build
WORKDIR /src
# Line tables would be four fifths of the program, names of functions 4 MB more, with which the api's image is over 40 MB. A panic's place is told
# without them; for backtraces with names build with STRIP=debuginfo.
ARG STRIP=symbols
ENV CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=${STRIP}
COPY . .
# Dependencies, and what of ours did not change, are compiled once for each machine: the cache outlives the build. The programs must leave it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --release --package switchboard-api --package switchboard-signal-node --bins \
    && mkdir -p /out \
    && cp target/release/api target/release/signal-node /out/ \
    # The one library that the base lacks: unwinding, by which a panic ends a session and not the program.
    && cp /lib/*-linux-gnu/libgcc_s.so.1 /out/

FROM node:${NODE} AS page
WORKDIR /page
COPY web/package.json web/package-lock.json ./
COPY web/scripts scripts
# Puts the client's bundle into vendor/: the page needs no other build.
RUN npm ci --no-audit --no-fund
COPY web .

FROM gcr.io/distroless/base-nossl-debian${DEBIAN}:nonroot AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/libgcc_s.so.1 /usr/lib/
# A number, which Kubernetes can tell from root.
USER 65532:65532
ENV NODE_ENV=production
STOPSIGNAL SIGTERM

FROM base AS api
LABEL org.opencontainers.image.title="Switchboard api" \
      org.opencontainers.image.description="REST, the page, and the recorder of Switchboard"
COPY --from=build /out/api /usr/local/bin/api
COPY --from=page /page/index.html /page/*.css /page/*.svg /srv/web/
COPY --from=page /page/app /srv/web/app
COPY --from=page /page/vendor /srv/web/vendor
EXPOSE 3001 9101
ENTRYPOINT ["/usr/local/bin/api"]

FROM base AS signal-node
LABEL org.opencontainers.image.title="Switchboard signal-node" \
      org.opencontainers.image.description="Socket.IO signaling of Switchboard"
COPY --from=build /out/signal-node /usr/local/bin/signal-node
EXPOSE 3002 9102 9202
ENTRYPOINT ["/usr/local/bin/signal-node"]
