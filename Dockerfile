# The chatbot through Docker, for those who prefer it; `cargo xtask build-image` needs no Docker.
#
#   DOCKER_BUILDKIT=1 docker build -t smartbot:local \
#     --build-arg COMMIT="$(git rev-parse HEAD)" --build-arg COMMIT_TIME="$(git log -1 --format=%cI)" .
#
# RUST_IMAGE can be pinned: --build-arg RUST_IMAGE=rust:1.95-slim@sha256:<digest>. Any Debian with
# the toolchain, gcc and libc6-dev works. There is no "syntax" line: it would pull a front end.
ARG RUST_IMAGE=rust:1.95-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# Dependencies never learn the commit, so that a new one compiles nothing again. The same flags as
# the daemonless builder: static, without a path of this machine.
RUN --mount=type=cache,id=smartbot-registry,target=/cargo/registry \
    --mount=type=cache,id=smartbot-target,target=/src/target \
    set -eu; \
    export CARGO_HOME=/cargo; \
    target="$(rustc -vV | sed -n 's/^host: //p')"; \
    export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/src=/src --remap-path-prefix=/cargo=/cargo"; \
    cargo build --locked --release --package chatbot --bin smartbot --target "$target"; \
    mkdir -p /image/data /image/tmp /image/etc; \
    cp "target/$target/release/smartbot" /image/smartbot; \
    echo 'smartbot:x:10001:10001::/data:/smartbot' > /image/etc/passwd; \
    echo 'smartbot:x:10001:' > /image/etc/group; \
    chown 10001:10001 /image/data; \
    chmod 1777 /image/tmp

FROM scratch
COPY --from=build /image/ /
ARG COMMIT=unknown
ARG COMMIT_TIME=""
ARG VERSION=0.1.0
ENV LISTEN=0.0.0.0:8080 \
    SMARTBOT_COMMIT=${COMMIT} \
    SMARTBOT_COMMIT_TIME=${COMMIT_TIME}
LABEL org.opencontainers.image.title="smartbot" \
      org.opencontainers.image.source="https://github.com/smartassist/smartassist-chatbot" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision=${COMMIT} \
      org.opencontainers.image.created=${COMMIT_TIME} \
      org.opencontainers.image.version=${VERSION}
USER 10001:10001
EXPOSE 8080
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/smartbot", "--healthcheck"]
ENTRYPOINT ["/smartbot"]
