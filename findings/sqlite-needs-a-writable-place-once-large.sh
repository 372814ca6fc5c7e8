#!/usr/bin/env bash
# Software: SQLite 3.40.1 and 3.51.3, through Python's sqlite3 module and as built into the server.
#
# One would guess: in a container whose root file system is read-only, SQLite needs its database's folder writable and nothing else,
# since journal, WAL and shared memory are all beside the database. What works in a test goes on working.
#
# What happens: temporary files of sorts, of new indexes and of statements that may be undone are never beside the database. SQLite
# takes the first that is writable of SQLITE_TMPDIR, TMPDIR, /var/tmp, /usr/tmp, /tmp and the working directory, and where none is, fails
# with `disk I/O error`. It does so only once the data exceeds its cache (2 MB by default), so the same `create index` of the same
# program works while the table is small and fails when it has grown. SQLITE_TMPDIR=/data cures it.
set -euo pipefail

for need in bwrap python3; do
    command -v "$need" >/dev/null || { echo "error: $need is not installed" >&2; exit 2; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat >"$folder/rows.py" <<'END'
import sqlite3, sys
database = sqlite3.connect(f"/data/{sys.argv[1]}.db")
database.execute("pragma journal_mode = wal")
database.execute("create table rows (text text)")
database.executemany("insert into rows values (?)", ((f"{row * 7919 % 1000003}{'x' * 200}",) for row in range(int(sys.argv[1]))))
database.commit()
try:
    database.execute("create index by_text on rows (text)")
    print("works")
except sqlite3.OperationalError as error:
    print(error)
END

# A root that is read-only, as a container has it: only /data is writable.
index_of() {
    local rows=$1
    shift
    mkdir -p "$folder/data" && rm -f "$folder/data"/*
    bwrap --tmpfs / --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
        --dir /tmp --dir /var/tmp --bind "$folder/data" /data --ro-bind "$folder/rows.py" /opt/rows.py --proc /proc --dev /dev \
        --remount-ro / --unshare-user --unsetenv TMPDIR --unsetenv SQLITE_TMPDIR "$@" --chdir / python3 /opt/rows.py "$rows"
}

seen="1000 rows: $(index_of 1000)
60000 rows: $(index_of 60000)
60000 rows and SQLITE_TMPDIR: $(index_of 60000 --setenv SQLITE_TMPDIR /data)"
printf '%s\n' "$seen"
[[ "$seen" == "1000 rows: works
60000 rows: disk I/O error
60000 rows and SQLITE_TMPDIR: works" ]]
