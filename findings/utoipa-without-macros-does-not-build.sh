#!/usr/bin/env bash
# Software: utoipa 6.0.0.
#
# One would guess: a crate that writes its schemas by hand, and only needs the traits `ToSchema` and `PartialSchema` and the types of
# the document, takes utoipa with `default-features = false` and so leaves the procedural macros out, which are most of its build.
#
# What happens: it does not compile. The only default feature, `macros`, is not optional: the implementations for text, numbers and
# times are written with the macros it brings.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cargo init --quiet --lib --name without_macros .
printf 'utoipa = { version = "=6.0.0", default-features = false }\n' >>Cargo.toml
if ! cargo fetch --quiet 2>install.log; then
    cat install.log >&2
    echo "error: the crates could not be had" >&2
    exit 2
fi

without=builds with=builds
cargo check --quiet 2>errors.log || without="does not build, $(grep -c '^error\[' errors.log) errors, all in utoipa itself"
sed -i 's/default-features = false/default-features = false, features = ["macros"]/' Cargo.toml
cargo check --quiet 2>>errors.log || with="does not build"
printf 'utoipa 6.0.0 without default features: %s\nutoipa 6.0.0 with "macros" alone:       %s\n' "$without" "$with"
[[ $without == "does not build"* && $with == builds ]]
