#!/usr/bin/env bash
# Software: tls-sig-api-v2 1.0.2 (npm) and tls-sig-api-v2 1.1 (PyPI), the vendor's libraries that make a UserSig.
#
# One would guess: what they return is signed for what it says, or else they raise an error.
#
# What happens: they convert SDKAppID and lifetime to numbers for the document, and sign the text of what they were given. Where the
# two texts differ, the UserSig says one thing and is signed for another. Nothing is raised; the vendor refuses the login.
# - PyPI: a lifetime of `timedelta(days=1).total_seconds()`, which is a float: the document says 86400, signed is "86400.0". So does an
#   SDKAppID that pandas or YAML made a float.
# - npm: 86400.0 is the text "86400", so the same lifetime is right there. Numbers as text are right in both.
# - Both: an SDKAppID as text with a space, as copied from a console or left by a shell variable: read without it, signed with it.
# - npm: a lifetime of "1e5" is 100000 in the document, and signed as "1e5"; PyPI raises ValueError.
# - npm: an SDKAppID that is not set makes a document with `null`, signed with "undefined"; PyPI raises TypeError.
#
# "Signed for what it says" is computed here from the document alone, by the rule that both follow where the texts are equal.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
{
    printf '{"private":true}' >package.json
    npm install --silent --no-audit --no-fund --ignore-scripts tls-sig-api-v2@1.0.2 &&
        python3 -m venv venv &&
        venv/bin/pip install --quiet --disable-pip-version-check tls-sig-api-v2==1.1
} >install.log 2>&1 || {
    cat install.log >&2
    echo "error: the packages could not be installed" >&2
    exit 2
}

cat >see.cjs <<'END'
const { Api } = require("tls-sig-api-v2");
const key = "k".repeat(64);
const seen = (name, app, expire) => console.log(`npm | ${name} | ${new Api(app, key).genUserSig("alice", expire)}`);
seen("numbers", 1400000001, 86400);
seen("numbers as text", "1400000001", "86400");
seen("lifetime 86400.0", 1400000001, 86400.0);
seen("SDKAppID with a space", "1400000001 ", 86400);
seen("lifetime 1e5 as text", 1400000001, "1e5");
seen("SDKAppID not set", undefined, 86400);
END

cat >see.py <<'END'
from datetime import timedelta

from TLSSigAPIv2 import TLSSigAPIv2


def seen(name, app, expire):
    try:
        found = TLSSigAPIv2(app, "k" * 64).gen_sig("alice", expire)
    except Exception as error:
        found = type(error).__name__
    print(f"PyPI | {name} | {found}")


seen("numbers", 1400000001, 86400)
seen("numbers as text", "1400000001", "86400")
seen("lifetime 86400.0", 1400000001, timedelta(days=1).total_seconds())
seen("SDKAppID with a space", "1400000001 ", 86400)
seen("SDKAppID 1400000001.0", 1400000001.0, 86400)
seen("lifetime 1e5 as text", 1400000001, "1e5")
seen("SDKAppID not set", None, 86400)
END

# Reads each UserSig: what its document says, and whether it is signed for that.
cat >read.py <<'END'
import base64
import hashlib
import hmac
import json
import sys
import zlib

for line in sys.stdin:
    library, name, sig = line.strip().split(" | ")
    try:
        text = sig.translate(str.maketrans("*-_", "+/="))
        document = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    except ValueError:
        print(f"{library} | {name} | {sig}")
        continue
    says = "".join(f"TLS.{key}:{document['TLS.' + key]}\n" for key in ("identifier", "sdkappid", "time", "expire"))
    right = base64.b64encode(hmac.new(b"k" * 64, says.encode(), hashlib.sha256).digest()).decode()
    is_right = "signed for it" if right == document["TLS.sig"] else "signed for another text"
    print(f"{library} | {name} | {document['TLS.sdkappid']}, {document['TLS.expire']} s: {is_right}")
END

{
    node see.cjs
    venv/bin/python see.py
} | venv/bin/python read.py | tee seen
diff - seen <<'END' || { echo "error: it is not what was seen before" >&2; exit 1; }
npm | numbers | 1400000001, 86400 s: signed for it
npm | numbers as text | 1400000001, 86400 s: signed for it
npm | lifetime 86400.0 | 1400000001, 86400 s: signed for it
npm | SDKAppID with a space | 1400000001, 86400 s: signed for another text
npm | lifetime 1e5 as text | 1400000001, 100000 s: signed for another text
npm | SDKAppID not set | None, 86400 s: signed for another text
PyPI | numbers | 1400000001, 86400 s: signed for it
PyPI | numbers as text | 1400000001, 86400 s: signed for it
PyPI | lifetime 86400.0 | 1400000001, 86400 s: signed for another text
PyPI | SDKAppID with a space | 1400000001, 86400 s: signed for another text
PyPI | SDKAppID 1400000001.0 | 1400000001, 86400 s: signed for another text
PyPI | lifetime 1e5 as text | ValueError
PyPI | SDKAppID not set | TypeError
END
