#!/usr/bin/env bash
# Software: sqlx 0.9.0 with libsqlite3-sys 0.37.0.
#
# One would guess: the feature `derive`, which is there for `#[derive(FromRow)]` alone and connects to no database while a program
# is compiled (`query!` of the feature `macros` does), adds a small procedural macro to the build.
#
# What happens: the macro's crate depends on each database's driver that the program has, and those are compiled once more for the
# machine that builds. So the C code of SQLite is compiled twice, and so are sqlx-core, sqlx-sqlite, tokio and the rest below them. Without
# `derive` it is once.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cargo init --quiet --lib --name derive .
cp Cargo.toml empty.toml

# How often the C code is built with these features of sqlx, and how many units of work the build has.
built() {
    rm -rf target Cargo.lock
    cp empty.toml Cargo.toml
    printf 'sqlx = { version = "=0.9.0", default-features = false, features = [%s] }\nlibsqlite3-sys = "=0.37.0"\n' "$1" >>Cargo.toml
    if ! cargo fetch --quiet 2>install.log; then
        cat install.log >&2
        echo "error: the crates could not be had" >&2
        exit 2
    fi
    cargo build --release --verbose >build.log 2>&1
    printf '%s times, %s units' "$(grep -c 'Running .*libsqlite3-sys-.*build-script-build' build.log)" "$(grep -c ' Running ' build.log)"
}

without=$(built '"runtime-tokio", "sqlite"')
with=$(built '"runtime-tokio", "sqlite", "derive"')
printf 'SQLite is compiled without derive: %s\nSQLite is compiled with derive:    %s\n' "$without" "$with"
[[ $without == "1 times"* && $with == "2 times"* ]]
