"""What scripts/packaging/kubernetes checks of deploy/kubernetes. It gets its packages and variables from there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

MANIFESTS = Path("deploy/kubernetes")
WORK = Path(os.environ["PACKAGING_WORK"])
PROGRAM = os.environ["PACKAGING_PROGRAM"]
OVERLAYS = ["sqlite", "postgres", "scale-out"]
COMPONENTS = ["metrics", "network-policy", "ingress"]
# The oldest version whose schemas have every field that is used.
OLDEST = (1, 29)
APP = "1400000001"


def main():
    rendered = render_all()
    validate_all(rendered)
    check_page()
    secrets = secret_values(rendered)
    run_pod(rendered["sqlite and components"], "StatefulSet", secrets, "sqlite")
    run_pod(rendered["postgres"], "StatefulSet", secrets, "postgres")


def fact(what, figure):
    with open(os.environ["PACKAGING_FACTS"], "a", encoding="utf-8") as facts:
        facts.write(f"| {what} | {figure} |\n")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def render_all():
    """Every overlay, alone and with all components, by every kubectl there is. All must render the same."""
    # The first is that of the package, the others those of the machine.
    places = os.environ["PATH"].split(":")
    programs = [path for path in (f"{place}/kubectl" for place in places) if os.access(path, os.X_OK)]
    programs = list({os.path.realpath(path): path for path in programs}.values())
    sources = {"base": MANIFESTS / "base", "example": MANIFESTS / "example"}
    for overlay in OVERLAYS:
        sources[overlay] = MANIFESTS / "overlays" / overlay
        folder = WORK / "all" / overlay
        folder.mkdir(parents=True)
        path = lambda name: os.path.relpath((MANIFESTS / name).resolve(), folder.resolve())
        components = [path(f"components/{name}") for name in COMPONENTS]
        text = {"resources": [path(f"overlays/{overlay}")], "components": components}
        (folder / "kustomization.yaml").write_text(json.dumps(text))
        sources[f"{overlay} and components"] = folder
    rendered = {}
    versions = []
    for program in programs:
        told = output(program, "version", "--client")
        version = re.search(r"Client Version: v([0-9.]+)", told)[1]
        kustomize = re.search(r"Kustomize Version: v([0-9.]+)", told)[1]
        versions.append(f"{version} (kustomize {kustomize})")
        for name, source in sources.items():
            objects = [it for it in yaml.safe_load_all(output(program, "kustomize", str(source))) if it]
            assert rendered.setdefault(name, objects) == objects, f"{name}: {program} renders otherwise than {programs[0]}"
    for name in ("volume", "secret.example"):
        rendered[name] = list(yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()))
    fact("versions of kubectl, all rendering the same", ", ".join(versions))
    fact("renderings: base, example, overlays, overlays with all components", len(sources))
    return rendered


def validate_all(rendered):
    """Against the published schemas, in which no other fields may be; the manifests must not even change their kinds."""
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    minors = {tuple(map(int, it.name[1:].split("-")[0].split(".")[:2])) for it in folder.iterdir() if it.is_dir()}
    minors = sorted(minor for minor in minors if minor >= OLDEST)
    count = 0
    for name, objects in rendered.items():
        for one in objects:
            count += 1
            if one["kind"] == "ServiceMonitor":
                assert keeps_every_field(one), f"{name}: ServiceMonitor has a field that Prometheus Operator does not know"
                continue
            for major, minor in minors:
                kubernetes_validate.validate(one, f"{major}.{minor}", strict=True)
    monitor = next(it for it in rendered["sqlite and components"] if it["kind"] == "ServiceMonitor")
    fact("objects that are valid, with no field too many", count)
    fact("schemas of Kubernetes", f"{len(minors)} versions, {dotted(minors[0])} to {dotted(minors[-1])}")
    fact("schema of ServiceMonitor", "Prometheus Operator " + re.sub(r"\.\d+$", "", version_of("cloudcoil-models-prometheus-operator")))
    # The checks themselves: a letter too many is found by both.
    broken = json.loads(json.dumps(monitor).replace('"interval"', '"intervall"'))
    assert not keeps_every_field(broken), "a wrong field of a ServiceMonitor is not found"
    pod = json.loads(json.dumps(workload(rendered["base"], "StatefulSet")).replace('"periodSeconds"', '"periodSecond"'))
    try:
        kubernetes_validate.validate(pod, dotted(minors[-1]), strict=True)
    except kubernetes_validate.ValidationError:
        return
    raise AssertionError("a wrong field of a StatefulSet is not found")


def dotted(version):
    return ".".join(map(str, version))


def version_of(package):
    from importlib.metadata import version

    return version(package)


def keeps_every_field(monitor):
    """Fields of wrong kinds raise; fields that are not known are left out."""
    return ServiceMonitor.model_validate(monitor).model_dump(mode="json", by_alias=True, exclude_unset=True) == monitor


def check_page():
    """The page shows the example as it is."""
    example = (MANIFESTS / "example/kustomization.yaml").read_text()
    page = Path("docs/operate/kubernetes.md").read_text()
    # It stands within a list there.
    assert "".join(f"   {line}\n" for line in example.splitlines()) in page, "docs/operate/kubernetes.md shows another example"


def secret_values(rendered):
    """A value for each key of the example of the secret. Every key that is asked for is there, and no other."""
    keys = set(yaml.safe_load((MANIFESTS / "secret.example.yaml").read_text())["stringData"])
    asked = set()
    for objects in rendered.values():
        for kind in ("StatefulSet", "Deployment"):
            asked |= {it["valueFrom"]["secretKeyRef"]["key"] for it in variables(objects, kind) if "valueFrom" in it}
    assert asked == keys, f"the secret's example has {sorted(keys)}, the pods ask for {sorted(asked)}"
    return {key: f"/callback/{os.urandom(16).hex()}" if key == "callback-paths" else os.urandom(24).hex() for key in keys}


def workload(objects, kind):
    return next((it for it in objects if it["kind"] == kind), None)


def variables(objects, kind):
    found = workload(objects, kind)
    return found["spec"]["template"]["spec"]["containers"][0]["env"] if found else []


# What runs in the place of the pod: as the node runs the container's command, its probes, `kubectl exec`, and the stop.
RUN = r"""
set -u
tries=0
now() { echo $((${EPOCHREALTIME/./} / 1000)); }
say() { printf '%s=%s\n' "$1" "$2"; }
probe() { timeout --kill-after=1 "$1" "${@:2}" >/dev/null 2>&1; }
began=$(now)
trtc-callbacks serve &
server=$!
until probe $STARTUP; do ((tries++ < 100)) || exit 10; sleep 0.1; done
say started $(($(now) - began))
until probe $READINESS; do ((tries++ < 100)) || exit 11; sleep 0.1; done
say ready $(($(now) - began))
probe $LIVENESS || exit 12
began=$(now); probe $LIVENESS; say probe $(($(now) - began))
trtc-callbacks send --all >/dev/null 2>&1 || exit 13
if [[ $STORE == sqlite ]]; then
    say rows "$(trtc-callbacks export events 2>/dev/null | tail -n +2 | wc -l)"
    # Enough for SQLite to need temporary files.
    trtc-callbacks simulate --duration 20s --rate 1000 >/dev/null 2>&1 || exit 14
    trtc-callbacks rebuild >/data/rebuild.log 2>&1 || { cat /data/rebuild.log >&2; exit 15; }
    trtc-callbacks backup /data/copy.db >/dev/null 2>&1 || exit 16
else
    say waiting "$(trtc-callbacks healthcheck --ready 2>&1 | grep -c 'events wait for the store')"
fi
touch /written 2>/dev/null && exit 17
began=$(now)
kill -TERM $server
sleep 0.1
trtc-callbacks send --all >/dev/null 2>&1 && say taken_while_stopping yes
wait $server || exit 18
say stopped $(($(now) - began))
"""


def run_pod(objects, kind, secrets, store):
    """Runs the container with the pod's variables, user and mounts, on a root that is read-only, without capabilities, and with a
    network that has nobody else in it: there is no database."""
    pod = workload(objects, kind)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    configs = {it["metadata"]["name"]: it["data"] for it in objects if it["kind"] == "ConfigMap"}
    environment = {"PATH": "/opt:/usr/bin:/bin", "TRTC_SDK_APP_ID": APP, "STORE": store}
    for source in container["envFrom"]:
        environment |= configs[source["configMapRef"]["name"]]
    for one in container["env"]:
        environment[one["name"]] = one["value"] if "value" in one else secrets[one["valueFrom"]["secretKeyRef"]["key"]]
    for name in ("startup", "readiness", "liveness"):
        probe = container[f"{name}Probe"]
        environment[name.upper()] = " ".join([str(probe["timeoutSeconds"]), *probe["exec"]["command"]])
    mount = container["volumeMounts"][0]["mountPath"]
    data = WORK / store
    data.mkdir()
    security = pod["securityContext"]
    command = ["bwrap", "--tmpfs", "/", "--ro-bind", "/usr", "/usr", "--ro-bind", PROGRAM, "/opt/trtc-callbacks"]
    for folder in ("bin", "lib", "lib64"):
        if os.path.islink(f"/{folder}"):
            command += ["--symlink", os.readlink(f"/{folder}"), f"/{folder}"]
        elif os.path.isdir(f"/{folder}"):
            command += ["--ro-bind", f"/{folder}", f"/{folder}"]
    command += ["--dir", "/tmp", "--dir", "/var/tmp", "--bind", str(data), mount, "--proc", "/proc", "--dev", "/dev"]
    command += ["--remount-ro", "/", "--unshare-all", "--die-with-parent", "--clearenv", "--cap-drop", "ALL", "--chdir", "/"]
    command += ["--uid", str(security["runAsUser"]), "--gid", str(security["runAsGroup"])]
    for name, value in environment.items():
        command += ["--setenv", name, value]
    done = subprocess.run([*command, shutil.which("bash"), "-c", RUN], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        sys.exit(f"error: the pod of {store} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if re.match(r"^[a-z_]+=", line))
    grace = pod["terminationGracePeriodSeconds"]
    assert int(told["stopped"]) < grace * 1000, told
    assert int(told["probe"]) < 1000, told
    if store == "sqlite":
        assert int(told["rows"]) > 20, told
    else:
        assert told["waiting"] == "1", told
        # The other overlay has no other server to wait for, and stops at once.
        assert told.get("taken_while_stopping") == "yes", told
    fact(f"{store}: ready after, with {'a new volume' if store == 'sqlite' else 'its database away'}", f"{told['ready']} ms")
    fact(f"{store}: stopped after, of {grace} s", f"{int(told['stopped']) / 1000:.1f} s")
    fact(f"{store}: a probe takes", f"{told['probe']} ms")


main()
