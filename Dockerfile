# syntax=docker/dockerfile:1
# The browser client, then the server that embeds it, then an image of nothing but that binary.

FROM node:20-bookworm-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN --mount=type=cache,target=/cache npm ci --no-audit --no-fund --cache /cache
COPY web/ ./
RUN npm run build

FROM rust:1.95-bookworm AS server
WORKDIR /src
COPY . .
COPY --from=web /src/web/dist web/dist
# Compiled crates stay in a cache that no layer keeps, so the binary is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin natter \
    && mkdir -p /image/data \
    && cp target/release/natter /image/natter

# The C library and the system's certificates, no shell, and a user without rights.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=server /image/natter /usr/local/bin/natter
COPY --from=server --chown=65532:65532 /image/data /data
ENV NATTER_LISTEN=0.0.0.0:8080 NATTER_ADMIN_LISTEN=0.0.0.0:8081 NATTER_DATA_DIR=/data NATTER_LOG_FORMAT=json
WORKDIR /data
USER 65532:65532
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/natter", "healthcheck", "--live"]
ENTRYPOINT ["/usr/local/bin/natter"]
CMD ["serve"]
