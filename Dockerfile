# syntax=docker/dockerfile:1
# The browser client, then the server that embeds it, then an image of nothing but that binary.
#
# Built twice from the same files it is the same: whatever is installed is locked, paths and times of the build are not in
# the binary, and times in the image are SOURCE_DATE_EPOCH. Pin the three base images by their digests, which only a
# registry knows, as they move under their tags:
#   docker buildx build --build-arg RUST_IMAGE=rust:1.95-bookworm@sha256:... \
#     --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" --build-arg REVISION="$(git rev-parse HEAD)" \
#     --output type=image,name=natter,rewrite-timestamp=true .

ARG NODE_IMAGE=node:20-bookworm-slim
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${NODE_IMAGE} AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN --mount=type=cache,target=/cache npm ci --no-audit --no-fund --cache /cache
COPY web/ ./
RUN npm run build

FROM ${RUST_IMAGE} AS server
WORKDIR /src
COPY . .
COPY --from=web /src/web/dist web/dist
# Where the sources lie, and those of crates, is of nobody's concern.
ENV RUSTFLAGS="--remap-path-prefix=/src=/natter --remap-path-prefix=/usr/local/cargo=/cargo" CARGO_INCREMENTAL=0
ARG SOURCE_DATE_EPOCH=0
# Compiled crates stay in a cache that no layer keeps, so the binary is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin natter \
    && mkdir -p /image/data \
    && cp target/release/natter /image/natter \
    && touch --date "@${SOURCE_DATE_EPOCH}" /image/natter /image/data /image

# The C library and the system's certificates, no shell, and a user without rights.
FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="natter" \
      org.opencontainers.image.description="A horizontally scaled chat server" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=server /image/natter /usr/local/bin/natter
COPY --from=server --chown=65532:65532 /image/data /data
ENV NATTER_LISTEN=0.0.0.0:8080 NATTER_ADMIN_LISTEN=0.0.0.0:8081 NATTER_DATA_DIR=/data NATTER_LOG_FORMAT=json
WORKDIR /data
USER 65532:65532
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/natter", "healthcheck", "--live"]
ENTRYPOINT ["/usr/local/bin/natter"]
CMD ["serve"]
