# syntax=docker/dockerfile:1

# Both stages are of one Debian release, so that the binary finds the C library it was linked to.

FROM rust:1.95-trixie AS build
WORKDIR /build
COPY . .
# The C compiler that SQLite and the TLS library need is in the image. The caches belong to the builder and not to the
# image, so the binary is copied out of the one that holds it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --profile dist --locked --bin trtc-callbacks \
    && cp target/dist/trtc-callbacks /usr/local/bin/

# Debian's slim image and not a distroless one: it comes from the same place as the one above, a directory can be made in
# it for a user that is not root, and an operator can look around in it.
FROM debian:trixie-slim
# Certificates: for `send` and `replay` to HTTPS. The health check needs none.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /usr/local/bin/trtc-callbacks /usr/local/bin/
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
# The defaults of store and spool are the files data/trtc-callbacks.db and data/spool.db, which from here are in the volume.
# They are not set as variables, because those would win over a configuration file, and events would go where nobody looks.
WORKDIR /
VOLUME /data
# Callbacks, and operations. The second listens on loopback, inside the container, until `ops.listen` and `ops.token` say
# otherwise.
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Whether the process answers, not whether the store does: a restart does not bring a database back, and while it is away
# events go to the spool.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 CMD ["trtc-callbacks", "healthcheck"]
ENTRYPOINT ["trtc-callbacks"]
CMD ["serve"]
