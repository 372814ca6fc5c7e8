#!/usr/bin/env bash
# Software: systemd-analyze of systemd 252 (Debian 12: package systemd 252.39-1~deb12u2), which must be installed.
#
# One would guess: `systemd-analyze verify UNIT`, run by CI over a unit file, ends with another status than 0 for a key that does
# not exist, such as a misspelt `WatchdogSecs=`, and with 0 for a sound unit whose documentation happens to be elsewhere.
#
# What happens: the other way round. The misspelt key is a line on standard error and the status is 0. For each
# `Documentation=man:…` the program `man` is run, and a page that is not installed makes the status 1: as in a checkout, where the
# page is not installed yet. `--man=no` takes the second away; nothing but a look at standard error notices the first.
set -euo pipefail

command -v systemd-analyze >/dev/null || {
    echo "error: systemd-analyze is not installed" >&2
    exit 2
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The status of verifying a unit with this line in addition, and whether something was said of the unit.
verify() {
    local name=$1 section=$2 line=$3 status=0 said
    printf '[Unit]\nDescription=A test\n%s\n[Service]\nExecStart=/bin/true\n%s\n' \
        "$([[ "$section" == Unit ]] && echo "$line")" "$([[ "$section" == Service ]] && echo "$line")" >"$folder/$name.service"
    said=$(systemd-analyze verify "${@:4}" "$folder/$name.service" 2>&1 >/dev/null) || status=$?
    if grep -q "$name.service" <<<"$said"; then
        echo "$line: status $status, with a message"
    else
        echo "$line: status $status, without a message"
    fi
}

systemctl --version | head -n 1
result=$(
    verify sound Service 'WatchdogSec=30'
    verify misspelt Service 'WatchdogSecs=30'
    verify page Unit 'Documentation=man:no-such-page-here(1)'
    verify nopage Unit 'Documentation=man:no-such-page-here(1)' --man=no
)
echo "$result"
diff - <(echo "$result") <<'END'
WatchdogSec=30: status 0, without a message
WatchdogSecs=30: status 0, with a message
Documentation=man:no-such-page-here(1): status 1, with a message
Documentation=man:no-such-page-here(1): status 0, without a message
END
