#!/usr/bin/env bash
# Software: standardwebhooks 1.1.1 (npm) and standardwebhooks 1.1.0 (PyPI), the official libraries of Standard Webhooks.
#
# One would guess: both take and refuse the same secrets and the same signed messages, and a refusal is the library's own
# WebhookVerificationError, so that catching that one answers every bad request.
#
# What happens:
# - A secret in URL-safe base64 (as Python's secrets.token_urlsafe makes it) is an error in npm. PyPI takes it, drops `-` and `_`
#   without a word, and signs with another, shorter key: its signatures fit nobody else's.
# - A secret with a space in its middle is an error in npm and taken by PyPI; one without its `=` is taken by both.
# - An empty body, rightly signed: npm verifies it and returns `undefined`; PyPI raises JSONDecodeError.
# - A body that is not JSON, rightly signed: verified, and then SyntaxError or JSONDecodeError; neither is a
#   WebhookVerificationError. So the answer to a good signature may look like that to a mistake in one's own program.
# - A body with NaN, rightly signed: npm SyntaxError, PyPI returns it.
# - What verify() returns in npm has lost digits of a number above 2^53: an 18-digit account sent as a number is another account.
# - A part of the signature header without a comma: npm passes it over, PyPI raises ValueError although a right one follows.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
{
    printf '{"private":true,"type":"module"}' >package.json
    npm install --silent --no-audit --no-fund --ignore-scripts standardwebhooks@1.1.1 &&
        python3 -m venv venv &&
        venv/bin/pip install --quiet --disable-pip-version-check standardwebhooks==1.1.0
} >install.log 2>&1 || {
    cat install.log >&2
    echo "error: the packages could not be installed" >&2
    exit 2
}

cat >see.mjs <<'END'
import { Webhook } from "standardwebhooks";

const right = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const seen = (name, see) => {
  try {
    console.log(`npm | ${name} | ${see()}`);
  } catch (error) {
    console.log(`npm | ${name} | ${error.constructor.name}`);
  }
};
const at = new Date(1700000000000);
const of = (secret) => new Webhook(secret).sign("m", at, "{}");
const signs = (secret, as = right) => (of(secret) === of(as) ? "the right signature" : "another signature");
seen("secret with its prefix", () => signs(right));
seen("secret in URL-safe base64", () => signs("whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
seen("secret with a space within", () => signs("whsec_MfKQ 9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
const padded = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ=";
seen("secret without its =", () => signs(padded.slice(0, -1), padded));
const verified = (body, more = "") => {
  const hook = new Webhook(right);
  const now = Math.floor(Date.now() / 1000);
  const returned = hook.verify(body, {
    "webhook-id": "m",
    "webhook-timestamp": String(now),
    "webhook-signature": more + hook.sign("m", new Date(now * 1000), body),
  });
  return `verified: ${JSON.stringify(returned)}`;
};
seen("empty body", () => verified(""));
seen("body that is not JSON", () => verified("hello"));
seen("body with NaN", () => verified('{"a":NaN}'));
seen("body with a number above 2^53", () => verified('{"a":144115212830834855}'));
seen("header part without a comma first", () => verified("{}", "other "));
END

cat >see.py <<'END'
import datetime
import json
import time

from standardwebhooks import Webhook

right = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
zone = datetime.timezone.utc


def seen(name, see):
    try:
        print(f"PyPI | {name} | {see()}")
    except Exception as error:
        print(f"PyPI | {name} | {type(error).__name__}")


at = datetime.datetime.fromtimestamp(1700000000, zone)
padded = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ="


def of(secret):
    return Webhook(secret).sign("m", at, "{}")


def signs(secret, like=right):
    return "the right signature" if of(secret) == of(like) else "another signature"


def verified(body, more=""):
    hook, now = Webhook(right), int(time.time())
    signature = hook.sign("m", datetime.datetime.fromtimestamp(now, zone), body)
    headers = {"webhook-id": "m", "webhook-timestamp": str(now), "webhook-signature": more + signature}
    return "verified: " + json.dumps(hook.verify(body, headers), separators=(",", ":"))


seen("secret with its prefix", lambda: signs(right))
seen("secret in URL-safe base64", lambda: signs("whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
seen("secret with a space within", lambda: signs("whsec_MfKQ 9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
seen("secret without its =", lambda: signs(padded[:-1], padded))
seen("empty body", lambda: verified(""))
seen("body that is not JSON", lambda: verified("hello"))
seen("body with NaN", lambda: verified('{"a":NaN}'))
seen("body with a number above 2^53", lambda: verified('{"a":144115212830834855}'))
seen("header part without a comma first", lambda: verified("{}", "other "))
END

{
    node see.mjs
    venv/bin/python see.py
} | tee seen
diff - seen <<'END' || { echo "error: it is not what was seen before" >&2; exit 1; }
npm | secret with its prefix | the right signature
npm | secret in URL-safe base64 | Error
npm | secret with a space within | Error
npm | secret without its = | the right signature
npm | empty body | verified: undefined
npm | body that is not JSON | SyntaxError
npm | body with NaN | SyntaxError
npm | body with a number above 2^53 | verified: {"a":144115212830834850}
npm | header part without a comma first | verified: {}
PyPI | secret with its prefix | the right signature
PyPI | secret in URL-safe base64 | another signature
PyPI | secret with a space within | the right signature
PyPI | secret without its = | the right signature
PyPI | empty body | JSONDecodeError
PyPI | body that is not JSON | JSONDecodeError
PyPI | body with NaN | verified: {"a":NaN}
PyPI | body with a number above 2^53 | verified: {"a":144115212830834855}
PyPI | header part without a comma first | ValueError
END
