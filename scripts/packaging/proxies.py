"""The work of scripts/packaging/proxies: each proxy with its file of deploy/proxy, under load while the server restarts."""

import hashlib
import http.client
import json
import os
import pathlib
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

PROGRAM = os.environ["PACKAGING_PROGRAM"]
WORK = pathlib.Path(os.environ["PACKAGING_WORK"])
FACTS = os.environ["PACKAGING_FACTS"]
APP = 1400000001
SECRET = "2f1c8a0e9b7d4c63"
PATH = f"/callback/{SECRET}"
TOKEN = "t0ken"
COMMAND = "Room.CallbackAfterDestroyRoom"
# The client's address, the only one whose events are taken, and another.
TAKEN, FOREIGN = "127.0.0.5", "127.0.0.6"
RATE, SECONDS, SENDERS = 20, 12, 40
# Seconds for which nobody listens, at least: longer than a restart takes.
AWAY = 0.5
# Seconds from the begin of the load until the server is stopped and started, and until another takes over from it.
STOPPED_AT, TAKEN_OVER_AT = 3, 7
APACHE_MODULES = pathlib.Path("/usr/lib/apache2/modules")
# Every signature that was sent.
SIGNS = set()


class Failure(Exception):
    """What is wrong, in words for whoever runs this."""


def fact(what, figure):
    with open(FACTS, "a") as facts:
        facts.write(f"| {what} | {figure} |\n")


def check(is_so, what):
    if not is_so:
        raise Failure(what)


def replaced(text, *pairs):
    for old, new in pairs:
        check(old in text, f"there is no `{old}` in the configuration")
        text = text.replace(old, new)
    return text


def until(what, is_so, seconds=30):
    end = time.monotonic() + seconds
    while not is_so():
        check(time.monotonic() < end, f"waited for nothing: {what}")
        time.sleep(0.02)


def nginx(text, folder, own):
    site = replaced(
        text,
        ("listen 443 ssl;", f"listen 127.0.0.1:{own} ssl;"),
        ("listen [::]:443 ssl;", ""),
        ("/etc/ssl/rtc.example.com/fullchain.pem", f"{folder}/cert.pem"),
        ("/etc/ssl/rtc.example.com/privkey.pem", f"{folder}/key.pem"),
        ("/var/log/nginx", f"{folder}"),
    )
    (folder / "site.conf").write_text(site)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n"
        f"access_log {folder}/access.log;\n{temporary}include {folder}/site.conf;\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(text, folder, own):
    both = (folder / "cert.pem").read_text() + (folder / "key.pem").read_text()
    (folder / "both.pem").write_text(both)
    text = replaced(
        text,
        ("log /dev/log local0", "log stdout format raw local0"),
        ("bind :443 ssl", f"bind 127.0.0.1:{own} ssl"),
        ("bind [::]:443", "# bind [::]:443"),
        ("/etc/haproxy/rtc.example.com.pem", f"{folder}/both.pem"),
    )
    (folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def caddy(text, folder, own):
    # Without the port of its API and that of redirects, and with a certificate that nobody is asked for.
    site = f"https://rtc.example.com:{own} {{\n\tbind 127.0.0.1\n\ttls {folder}/cert.pem {folder}/key.pem"
    text = replaced(
        text,
        ("\n{\n\tlog", "\n{\n\tadmin off\n\tauto_https disable_redirects\n\tlog"),
        ("\nrtc.example.com {", f"\n{site}"),
        ("health_port 9090", f"health_port {own - 1}"),
    )
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def apache(text, folder, own):
    site = replaced(
        text,
        ("<VirtualHost *:443>", f"<VirtualHost 127.0.0.1:{own}>"),
        ("/etc/ssl/rtc.example.com/fullchain.pem", f"{folder}/cert.pem"),
        ("/etc/ssl/rtc.example.com/privkey.pem", f"{folder}/key.pem"),
        ("/var/log/apache2", f"{folder}"),
    )
    (folder / "site.conf").write_text(site)
    # Those that Debian always has on, those that a2enmod adds, and those that the file names.
    modules = ["mpm_event", "authz_core", "alias", "slotmem_shm", "socache_shmcb"]
    modules += re.search(r"a2enmod (.*) && a2ensite", text).group(1).split()
    load = "".join(f"LoadModule {module}_module {APACHE_MODULES}/mod_{module}.so\n" for module in modules)
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    (folder / "apache2.conf").write_text(
        f"ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/apache.pid\nErrorLog {folder}/error.log\n"
        f"ServerName localhost\n{load}{user}Listen 127.0.0.1:{own}\nInclude {folder}/site.conf\n"
    )
    return ["apache2", "-f", str(folder / "apache2.conf"), "-D", "FOREGROUND"]


# The file, what arranges it for this machine, what tells the version, and whether requests wait while nobody listens.
PROXIES = {
    "nginx": ("nginx.conf", nginx, ["nginx", "-v"], True),
    "HAProxy": ("haproxy.cfg", haproxy, ["haproxy", "-v"], True),
    "Caddy": ("Caddyfile", caddy, ["caddy", "version"], True),
    "Apache": ("apache.conf", apache, ["apache2", "-v"], False),
}


class Server:
    """The real server, which restarts on the same ports."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        (folder / "my.toml").write_text(
            f'[server]\nlisten = "127.0.0.1:{port}"\ncallback_paths = ["{PATH}"]\n[ops]\nlisten = "127.0.0.1:{port + 1}"\n'
            f'[auth]\nsource_addresses = ["{TAKEN}"]\ntrusted_proxies = ["127.0.0.1"]\n[store]\nurl = "sqlite://events.db"\n'
            f'[spool]\npath = "spool.db"\n[[apps]]\nsdk_app_id = {APP}\ncallback_tokens = ["{TOKEN}"]\n'
        )
        self.said = open(folder / "server.said", "ab")
        self.begin()

    def begin(self, *more):
        words = [PROGRAM, "serve", "--config", "my.toml", *more]
        self.process = subprocess.Popen(words, cwd=self.folder, stdout=self.said, stderr=self.said)

    def until_ready(self):
        until("the server is ready", lambda: self.get("/readyz")[0] == 200)

    def get(self, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port + 1, timeout=5)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""

    def outcome(self, outcome):
        series = rf'^trtc_request_outcomes_total{{outcome="{outcome}"}} (\d+)$'
        line = re.search(series, self.get("/metrics")[1], re.M)
        check(line, f"the metrics have no outcome {outcome}")
        return int(line.group(1))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        check(self.process.wait(30) == 0, "the server did not end well")

    def restart(self):
        """Gives when it was told to stop, and from when to when nobody listened."""
        asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        until("the server listens no more", lambda: not listens(self.port))
        gone = time.monotonic()
        check(self.process.wait(30) == 0, "the server did not end well")
        time.sleep(AWAY)
        self.begin()
        until("the server listens again", lambda: listens(self.port))
        return asked, gone, time.monotonic()

    def take_over(self):
        old = self.process
        self.begin("--take-over")
        check(old.wait(40) == 0, "the server that was taken over from did not end well")

    def stored(self):
        words = [PROGRAM, "events", "--config", "my.toml", "--json", "--limit", "1000"]
        lines = subprocess.run(words, cwd=self.folder, check=True, capture_output=True, text=True).stdout
        return {json.loads(line)["room_id"] for line in lines.splitlines()}


def sockets():
    """State, own port and the other end's port of each socket of TCP."""
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        own, other, state = line.split()[1:4]
        yield state, int(own.split(":")[1], 16), int(other.split(":")[1], 16)


def listens(port):
    return any(state == "0A" and own == port for state, own, _ in sockets())


def connections_to(port):
    """The ports of clients that have, or had within the last minute, a connection to this one."""
    ends = [(own, other) for state, own, other in sockets() if state != "0A"]
    return {own if other == port else other for own, other in ends if port in (own, other)}


class Client:
    """A connection that the vendor keeps open."""

    def __init__(self, port, address=TAKEN):
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.port, self.address, self.connection = port, address, None

    def connect(self):
        raw = socket.create_connection(("127.0.0.1", self.port), 15, (self.address, 0))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = http.client.HTTPConnection("rtc.example.com", self.port)
        self.connection.sock = self.context.wrap_socket(raw, server_hostname="rtc.example.com")

    def post(self, room, path=PATH, body=None):
        now = str(int(time.time()))
        sign = hashlib.sha256((TOKEN + now).encode()).hexdigest()
        SIGNS.add(sign)
        event = {"CallbackCommand": COMMAND, "Operator_Account": "u", "RoomId": room, "EventTime": int(time.time() * 1000)}
        query = f"SdkAppid={APP}&CallbackCommand={COMMAND}&contenttype=json&Sign={sign}&RequestTime={now}"
        # What a client may say of itself, which must not count.
        headers = {"X-Forwarded-For": TAKEN, "Content-Type": "application/json"}
        try:
            if self.connection is None or self.connection.sock is None:
                self.connect()
            try:
                self.connection.request("POST", f"{path}?{query}", body or json.dumps(event), headers)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                # It was answered before all of it was sent, as a body over the limit is.
                pass
            answer = self.connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            self.connection = None
            return 0, repr(error)


def load(port, server):
    """Sends events while the server restarts; gives the answers by room, and the times of the restart."""
    waiting, answers, away = queue.Queue(), {}, []

    def send():
        client = Client(port)
        while (room := waiting.get()) is not None:
            begun = time.monotonic()
            answers[room] = (*client.post(room), begun, time.monotonic())

    def restart():
        time.sleep(STOPPED_AT)
        gap = server.restart()
        time.sleep(max(0, begun + TAKEN_OVER_AT - time.monotonic()))
        server.take_over()
        away.append(gap)

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    threads.append(threading.Thread(target=restart))
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for number in range(RATE * SECONDS):
        time.sleep(max(0, begun + number / RATE - time.monotonic()))
        waiting.put(f"room-{number}")
    for _ in range(SENDERS):
        waiting.put(None)
    for thread in threads:
        thread.join()
    check(away, "the server did not restart")
    return answers, away[0]


def secrets_in(folder):
    """The files below with what was written to logs that hold a secret."""
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix in (".log", ".said"):
            text = file.read_text(errors="replace")
            if SECRET in text or any(sign in text for sign in SIGNS):
                yield file.name


def run(name, configurations, port):
    file, arrange, version, waits = PROXIES[name]
    folder, own = WORK / name, port + 2
    (folder / "server").mkdir(parents=True)
    # Workers of Apache are somebody else.
    WORK.chmod(0o755)
    WORK.parent.chmod(0o755)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem",
         "-out", "cert.pem", "-days", "10", "-subj", "/CN=rtc.example.com", "-addext", "subjectAltName=DNS:rtc.example.com"],
        cwd=folder, check=True, capture_output=True,
    )
    text = replaced((configurations / file).read_text(), ("127.0.0.1:8080", f"127.0.0.1:{port}"))
    words = arrange(text, folder, own)
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    server = Server(folder / "server", port)
    with open(folder / "proxy.said", "wb") as said:
        proxy = subprocess.Popen(words, cwd=folder, env=environment, stdout=said, stderr=said)
    try:
        server.until_ready()
        until(f"{name} listens", lambda: listens(own) or proxy.poll() is not None)
        check(proxy.poll() is None, f"{name} ended: {(folder / 'proxy.said').read_text(errors='replace')}")
        reused = through(own, server)
        answers, away = load(own, server)
        lost = judge(answers, server.stored(), None if waits else away)
        slowest = max(ended - begun for _, _, begun, ended in answers.values())
        server.stop()
        status, _ = Client(own).post("nobody")
        check(500 <= status <= 504, f"without a server, an event was answered {status}")
    finally:
        proxy.terminate()
        proxy.wait(20)
        if server.process.poll() is None:
            server.process.kill()
    found = sorted(secrets_in(folder))
    check(not found, f"the path or a signature is in {found}")

    said = subprocess.run(version, capture_output=True, text=True, check=True)
    version = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr).group()
    fact(f"{name} {version}: events sent; lost", f"{len(answers)}; {lost}")
    fact(f"{name}: nobody listened for; slowest answer", f"{(away[2] - away[1]) * 1000:.0f} ms; {slowest * 1000:.0f} ms")
    fact(f"{name}: new connections to the server for 100 requests", reused)


def through(own, server):
    """Sends what needs no restart; gives how many connections the proxy opened for 100 requests."""
    first = Client(own)
    status, answer = first.post("first")
    check(status == 200 and '"OK"' in answer, f"the first event was answered {status} {answer}")
    check(Client(own, FOREIGN).post("foreign")[0] == 200, "an event of another address was not answered")
    check(server.outcome("rejected_address_foreign") == 1, "the server does not see the client's address")
    before = connections_to(server.port)
    for number in range(100):
        check(first.post(f"reused-{number}")[0] == 200, "an event was not taken")
    reused = len(connections_to(server.port) - before)
    check(reused <= 2, f"{reused} connections to the server for 100 requests")
    status, answer = Client(own).post("large", body=json.dumps({"RoomId": "x" * 300_000}))
    check(status == 413, f"a body of 300 kB was answered {status} {answer}")
    status, _ = Client(own).post("elsewhere", path="/callback/x")
    check(status == 404, f"another path was answered {status}")
    check(server.outcome("rejected_address_foreign") == 1, "the server does not see the client's address each time")
    return reused


def judge(answers, stored, away):
    """Gives the number of lost events. One may be lost only while the server restarts, and only if those times are given."""
    taken = {room for room, (status, answer, *_) in answers.items() if status == 200 and '"OK"' in answer}
    check(taken <= stored, f"answered OK and not stored: {sorted(taken - stored)}")
    check({"first", "reused-99"} <= stored and "foreign" not in stored, "other events are stored than those of the client")
    lost = {room: answer for room, answer in answers.items() if room not in taken}
    begun, _, ended = away or (0, 0, 0)
    unexplained = [room for room, (_, _, _, answered) in lost.items() if not begun <= answered <= ended + 1]
    check(not unexplained, f"{len(lost)} of {len(answers)} were lost, such as {list(lost.items())[:3]}")
    return len(lost)


def main():
    configurations = pathlib.Path(sys.argv[1]).resolve()
    names = sys.argv[2:] or list(PROXIES)
    failed = False
    for number, name in enumerate(names):
        try:
            run(name, configurations, 19600 + 10 * number)
        except Failure as failure:
            print(f"error: {name}: {failure}", file=sys.stderr)
            failed = True
    fact("for each: requests/s; seconds", f"{RATE}; {SECONDS}")
    sys.exit(failed)


main()
