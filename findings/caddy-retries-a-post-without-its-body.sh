#!/usr/bin/env bash
# Software: Caddy 2.6.2 (Debian 12's package 2.6.2-5), `reverse_proxy` with two upstreams.
#
# One would guess: with `lb_retry_match { method POST }` and `lb_try_duration`, a POST whose upstream closes the connection
# without an answer is sent again to the other upstream, with its body; with `buffer_requests` at the latest, which is said to read
# the request's body into memory before it is sent.
#
# What happens: it is sent again and again until `lb_try_duration` is over, each time with its head, `Content-Length: 100`
# among it, and not one byte of the body. The other upstream, which is well, sees heads whose bodies never come, and the client
# gets 502 in the end. `buffer_requests` changes nothing but the text of the error. Without `lb_retry_match` a POST is not sent
# again at all. A POST without a body, and a GET, are sent again as one would expect.
#
# So two servers behind one Caddy of this version do not make a restart safe for webhooks.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if ! { apt-get download -qq caddy=2.6.2-5 && dpkg-deb -x caddy_2.6.2-5_*.deb caddy; } >install.log 2>&1; then
    cat install.log >&2
    echo "error: Debian's package could not be had" >&2
    exit 2
fi

cat >see.py <<'END'
import http.client
import os
import socket
import subprocess
import threading
import time


def upstream(answers, seen):
    """Reads a request as far as it comes, and answers it or closes the connection without a word."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return connection.close()
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        named = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        length = int(named[0].split(b":")[1]) if named else 0
        while len(body) < length and (more := connection.recv(65536)):
            body += more
        seen.append((len(body), length))
        if answers and len(body) == length:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK")
        connection.close()

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


ends, well = [], []
ports = upstream(False, ends), upstream(True, well)
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]


def see(name, method, body, options):
    ends.clear(), well.clear()
    site = f"http://127.0.0.1:{port} {{\n reverse_proxy 127.0.0.1:{ports[0]} 127.0.0.1:{ports[1]} {{\n"
    # By turns, beginning anywhere: tried until the first turn was that of the one that ends connections.
    site += f"  lb_policy round_robin\n  lb_try_duration 2s\n{options} }}\n}}\n"
    with open("Caddyfile", "w") as file:
        file.write("{\n admin off\n auto_https off\n}\n" + site)
    arguments = ["caddy/usr/bin/caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    caddy = subprocess.Popen(
        arguments, env={**os.environ, "HOME": os.getcwd()}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        for _ in range(4):
            ends.clear(), well.clear()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request(method, "/", body=body)
            status = connection.getresponse().status
            if ends:
                break
    finally:
        caddy.terminate()
        caddy.wait()
    whole = sum(got == length for got, length in well)
    empty = sum(got == 0 and length > 0 for got, length in well)
    again = f"{whole} whole" if whole else "some without a body" if empty else "nothing"
    print(f"{name}: answer {status}; the upstream that is well saw {again}")


post = "  lb_retry_match {\n   method POST\n  }\n"
see("GET", "GET", None, "")
see("POST with a body", "POST", b"x" * 100, "")
see("POST with a body, lb_retry_match", "POST", b"x" * 100, post)
see("POST with a body, lb_retry_match, buffer_requests", "POST", b"x" * 100, post + "  buffer_requests\n")
see("POST without a body, lb_retry_match", "POST", b"", post)
END

python3 see.py | tee seen
diff - seen <<'END' || { echo "error: it is not what was seen before" >&2; exit 1; }
GET: answer 200; the upstream that is well saw 1 whole
POST with a body: answer 502; the upstream that is well saw nothing
POST with a body, lb_retry_match: answer 502; the upstream that is well saw some without a body
POST with a body, lb_retry_match, buffer_requests: answer 502; the upstream that is well saw some without a body
POST without a body, lb_retry_match: answer 200; the upstream that is well saw 1 whole
END
