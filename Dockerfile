# `./scripts/image` builds this with docker, podman or buildah; `docker build .` does as well.
#
# Three stages: one compiles, one collects the files that the program needs at run time, and the image is those files alone.
# Measured with Debian 13 on amd64: besides the program the image has 4 MB, where debian:trixie-slim has 80 MB and the packages
# of a distroless base for C 28 MB (OpenSSL, C++ and time zones, which the program does not use). A static program against musl
# would save the C library's 3 MB, but its DNS resolver and allocator are others than those that all tests run with.
# scripts/packaging/image holds the bounds.
#
# No `# syntax=` line: what is used here is in every BuildKit and buildah, and without it no frontend is fetched.

# Both bases are of one Debian release, so that the program finds the C library it was linked to.
ARG BUILD_BASE=rust:1.95-trixie
ARG SYSTEM_BASE=debian:trixie-slim

FROM ${BUILD_BASE} AS build
WORKDIR /build
COPY . .
# The C compiler that SQLite and the TLS library need is in the base. The caches belong to the builder and not to the
# image, so the program is copied out of the one that holds it. `scripts/image --program` gives a context that has the
# program in place of its sources; from a checkout it is always compiled, because .dockerignore lets no program in.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    if [ -f trtc-callbacks ]; then install trtc-callbacks /usr/local/bin/; else \
        cargo build --profile dist --locked --bin trtc-callbacks \
        && install target/dist/trtc-callbacks /usr/local/bin/; fi

FROM ${SYSTEM_BASE} AS system
# Upgraded, since the C library of the base may be older than its last security fix. Certificates are for the vendor's API,
# destinations, and `send` and `replay` to HTTPS.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get upgrade --yes \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates
COPY --from=build /usr/local/bin/trtc-callbacks /image/usr/local/bin/
COPY LICENSE /image/usr/share/doc/trtc-callbacks/copyright
# The libraries are those that the loader names, so the list is right for every processor. Scanners find which versions they
# are in status.d, and their licences go with them. /data is for a user that is not root.
RUN set -eu; \
    ldd /image/usr/local/bin/trtc-callbacks >/tmp/ldd; \
    libraries=$(grep --only-matching '/[^ ]*' /tmp/ldd); \
    cp --dereference --parents $libraries /etc/ssl/certs/ca-certificates.crt /etc/os-release /image; \
    mkdir -p /image/var/lib/dpkg/status.d; \
    packages=ca-certificates; \
    for library in $libraries; do \
        packages="$packages $(dpkg-query --search "$(realpath "$library")" | cut -d: -f1)"; \
    done; \
    for package in $packages; do \
        dpkg-query --status "$package" >"/image/var/lib/dpkg/status.d/$package"; \
        cp --dereference --parents "/usr/share/doc/$package/copyright" /image; \
    done; \
    cp --archive --parents /usr/share/common-licenses /image; \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf; \
    echo 'trtc-callbacks:x:10001:10001::/data:/nonexistent' >/image/etc/passwd; \
    echo 'trtc-callbacks:x:10001:' >/image/etc/group; \
    install --directory --owner=10001 --group=10001 --mode=0750 /image/data

FROM scratch
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="trtc-callbacks" \
    org.opencontainers.image.description="Receives the server-side callbacks of Tencent RTC and keeps every event" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=system /image/ /
# There is no shell to set it, and not every engine does.
# SQLite writes large sorts into temporary files. With a read-only root the volume is the only place for them.
ENV PATH=/usr/local/bin \
    SQLITE_TMPDIR=/data
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
# events go to the spool. Images in OCI format have no health check, so podman and buildah need `--format docker` to keep it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 CMD ["trtc-callbacks", "healthcheck"]
ENTRYPOINT ["trtc-callbacks"]
CMD ["serve"]
