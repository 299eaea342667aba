# The chatbot through Docker, for those who prefer it: `cargo xtask build-image --builder docker` drives this file, and
# `cargo xtask build-image` makes the same image without Docker. By hand:
#
#   DOCKER_BUILDKIT=1 docker build -t smartbot:local \
#     --build-arg COMMIT="$(git rev-parse HEAD)" \
#     --build-arg COMMIT_TIME="$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)" .
#
# RUST_IMAGE is best pinned: --build-arg RUST_IMAGE=rust:1.95-slim@sha256:<digest> (build-image does that by itself). Any
# Debian with the toolchain, gcc, libc6-dev and ca-certificates works. There is no "syntax" line: it would pull a front end.
#
# Secrets, if the build needs them, are mounted and never stored in a layer:
#   --secret id=cargo-config,src=FILE     cargo's configuration: a registry mirror and its token
#   --secret id=ca-certificates,src=FILE  certificate authorities of a network that looks into TLS
ARG RUST_IMAGE=rust:1.95-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# Cargo features of the chatbot, such as bedrock,dynamodb.
ARG FEATURES=""
# Dependencies never learn the commit, so that a new one compiles nothing again. The same flags as
# the daemonless builder: static, without a path of this machine.
RUN --mount=type=cache,id=smartbot-registry,target=/cargo/registry \
    --mount=type=cache,id=smartbot-target,target=/src/target \
    --mount=type=secret,id=cargo-config,target=/cargo/config.toml \
    --mount=type=secret,id=ca-certificates,target=/run/secrets/ca-certificates \
    set -eu; \
    export CARGO_HOME=/cargo SOURCE_DATE_EPOCH=0; \
    if [ -s /run/secrets/ca-certificates ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca-certificates; fi; \
    target="$(rustc -vV | sed -n 's/^host: //p')"; \
    export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/src=/src --remap-path-prefix=/cargo=/cargo"; \
    mkdir -p /list/manifests; \
    rustc -vV > /list/rustc; \
    cargo build --locked --release --package chatbot --bin smartbot --features "${FEATURES}" --target "$target" \
      --message-format=json-render-diagnostics > /list/messages; \
    sed -n 's/.*"manifest_path":"\([^"]*\)".*/\1/p' /list/messages | sort -u | xargs cp --parents -t /list/manifests; \
    mkdir -p /image/base/data /image/base/tmp /image/base/etc/ssl/certs /image/program; \
    cp "target/$target/release/smartbot" /image/program/smartbot; \
    cp /etc/ssl/certs/ca-certificates.crt /image/base/etc/ssl/certs/ca-certificates.crt; \
    printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' \
      'smartbot:x:10001:10001:SmartBot:/data:/sbin/nologin' > /image/base/etc/passwd; \
    printf '%s\n' 'root:x:0:' 'smartbot:x:10001:' > /image/base/etc/group; \
    chown 10001:10001 /image/base/data; \
    chmod 0750 /image/base/data; \
    chmod 1777 /image/base/tmp; \
    find /image -exec touch -h -d @0 {} +

# What the build is made of, for build-image, which makes a list of it and gives that back as DEPENDENCIES.
FROM scratch AS list
COPY --from=build /list/ /

FROM build AS program
# The section .dep-v0 in the format of cargo-auditable, base64: scanners find the list in the binary.
ARG DEPENDENCIES=""
RUN if [ -n "${DEPENDENCIES}" ]; then \
      echo "${DEPENDENCIES}" | base64 -d > /list/section && \
      objcopy --add-section .dep-v0=/list/section /image/program/smartbot && \
      touch -d @0 /image/program/smartbot /image/program; \
    fi

FROM scratch
# What rarely changes is a layer of its own.
COPY --from=build /image/base/ /
COPY --from=program /image/program/ /
ARG COMMIT=unknown
ARG COMMIT_TIME=""
ARG VERSION=0.1.0
ARG SOURCE=https://github.com/smartassist/smartassist-chatbot
ARG LICENSES="MIT OR Apache-2.0"
ENV LISTEN=0.0.0.0:8080 \
    SMARTBOT_COMMIT=${COMMIT} \
    SMARTBOT_COMMIT_TIME=${COMMIT_TIME}
LABEL org.opencontainers.image.title="smartbot" \
      org.opencontainers.image.source=${SOURCE} \
      org.opencontainers.image.licenses=${LICENSES} \
      org.opencontainers.image.revision=${COMMIT} \
      org.opencontainers.image.created=${COMMIT_TIME} \
      org.opencontainers.image.version=${VERSION}
USER 10001:10001
WORKDIR /
EXPOSE 8080
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/smartbot", "--healthcheck"]
ENTRYPOINT ["/smartbot"]
