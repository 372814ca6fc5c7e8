//! The manifests in `deploy/kubernetes` and the workflows in `.github`: what they say agrees with the program, with the image and with
//! each other. `scripts/packaging/kubernetes` renders, validates and runs them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use trtc_callbacks::cli::Cli;
use trtc_callbacks::settings::{Settings, Sources};

/// What a stop may take beside `server.drain_ms` and `server.shutdown_timeout_ms`: the last events have 1.9 s to be kept, a writer 3 s
/// for its batch, and the store 2 s to close.
const LAST_EVENTS_MS: u64 = 7_000;
/// After which the command `healthcheck` gives up by itself.
const HEALTHCHECK_S: u64 = 3;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifests() -> PathBuf {
    root().join("deploy/kubernetes")
}

/// YAML as JSON, of which the manifests use nothing more.
fn value(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(it)) => json!(it),
        Yaml::Value(Scalar::Integer(it)) => json!(it),
        Yaml::Value(Scalar::String(it)) => json!(it),
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Sequence(members) => members.iter().map(value).collect(),
        Yaml::Mapping(entries) => {
            let text = |key: &Yaml<'_>| match value(key) {
                Value::String(key) => key,
                other => other.to_string(),
            };
            entries.iter().map(|(key, it)| (text(key), value(it))).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn parsed(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    value(&documents[0])
}

fn read(path: impl AsRef<Path>) -> Value {
    let path = manifests().join(path);
    parsed(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn list<'a>(of: &'a Value, pointer: &str) -> &'a [Value] {
    of.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn number(of: &Value, pointer: &str) -> u64 {
    of.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} of {of}"))
}

fn server() -> Value {
    read("base/statefulset.yaml")
}

fn writer() -> Value {
    read("overlays/scale-out/writer.yaml")
}

const POD: &str = "/spec/template/spec";

fn pod(workload: &Value) -> &Value {
    workload.pointer(POD).unwrap()
}

fn container(workload: &Value) -> &Value {
    &list(workload, "/spec/template/spec/containers")[0]
}

/// Variables of a list as a container has it. Those from the secret have a value that fits.
fn variables(env: &[Value]) -> impl Iterator<Item = (String, String)> {
    env.iter().map(|one| {
        let name = one["name"].as_str().unwrap();
        let key = one.pointer("/valueFrom/secretKeyRef/key").and_then(Value::as_str);
        let value = match key {
            Some("callback-paths") => "/callback/0123456789abcdef".to_owned(),
            Some(key) => format!("{key} of 24 characters"),
            None => one["value"].as_str().expect("a variable's value is text").to_owned(),
        };
        (name.to_owned(), value)
    })
}

/// Variables that a kustomization sets: in the config map of this name, and by patches of the container.
fn set_by(kustomization: &Value, config: &str) -> Vec<(String, String)> {
    let mut set = Vec::new();
    for generator in list(kustomization, "/configMapGenerator") {
        if generator["name"] == config {
            let pairs = list(generator, "/literals").iter().map(|it| it.as_str().unwrap());
            set.extend(
                pairs
                    .map(|it| it.split_once('=').unwrap())
                    .map(|(name, value)| (name.to_owned(), value.to_owned())),
            );
        }
    }
    for patch in list(kustomization, "/patches") {
        let patch = parsed(patch["patch"].as_str().unwrap());
        let added = patch.as_array().unwrap().iter();
        let added = added.filter(|it| it["path"].as_str().unwrap().ends_with("/env/-"));
        set.extend(variables(&added.map(|it| it["value"].clone()).collect::<Vec<_>>()));
    }
    set
}

/// Each kind of pod, with the environment that it has: a later variable wins, and those of the container win over the config map's.
fn environments() -> Vec<(&'static str, Value, BTreeMap<String, String>)> {
    let base = read("base/kustomization.yaml");
    let metrics = set_by(&read("components/metrics/kustomization.yaml"), "");
    let mut all = Vec::new();
    for overlay in ["sqlite", "postgres", "scale-out"] {
        let own = read(format!("overlays/{overlay}/kustomization.yaml"));
        let server = server();
        let mut env = BTreeMap::from([("TRTC_SDK_APP_ID".to_owned(), "1400000001".to_owned())]);
        env.extend(set_by(&base, "trtc-callbacks"));
        let shared = env.clone();
        env.extend(variables(list(container(&server), "/env")));
        env.extend(set_by(&own, "trtc-callbacks"));
        all.push((overlay, server.clone(), env.clone()));
        env.extend(metrics.clone());
        all.push((overlay, server, env));
        if overlay == "scale-out" {
            let writer = writer();
            let mut env = shared;
            let (shared, roles): (Vec<_>, Vec<_>) = set_by(&own, "trtc-callbacks")
                .into_iter()
                .partition(|(name, _)| name != "TRTC_STREAM_ROLE");
            assert_eq!(roles.len(), 1, "{roles:?}");
            env.extend(shared);
            env.extend(set_by(&own, "trtc-callbacks-writer"));
            env.extend(variables(list(container(&writer), "/env")));
            all.push(("writer", writer, env));
        }
    }
    all
}

fn settings(env: &BTreeMap<String, String>) -> Settings {
    Settings::load(&Sources { env: env.clone(), ..Sources::default() })
        .unwrap_or_else(|error| panic!("{error}: {env:?}"))
}

#[test]
fn every_variable_of_the_pods_is_a_setting() {
    for (name, _, env) in environments() {
        let settings = settings(&env);
        settings.apps_to_serve().unwrap();
        assert_eq!(settings.server.guessable_path().is_some(), name == "writer", "{name}");
        let expected = match name {
            "sqlite" | "postgres" => (true, true),
            "scale-out" => (true, false),
            _ => (false, true),
        };
        assert_eq!((settings.receives(), settings.stores()), expected, "{name}");
        assert_eq!(
            settings.store.url.expose_secret().starts_with("postgres:"),
            ["postgres", "writer"].contains(&name),
            "{name}"
        );
    }
}

#[test]
fn a_pod_stops_within_its_grace_period() {
    for (name, workload, env) in environments() {
        let server = settings(&env).server;
        let stop = server.drain_ms + server.shutdown_timeout_ms + LAST_EVENTS_MS;
        let grace = number(pod(&workload), "/terminationGracePeriodSeconds") * 1000;
        assert!(stop <= grace, "{name}: {stop} ms of {grace} ms");
    }
}

#[test]
fn where_others_take_over_the_drain_is_long_enough() {
    for (name, workload, env) in environments() {
        let drain = settings(&env).server.drain_ms;
        match name {
            // Nobody takes over: a longer stop only lengthens the gap.
            "sqlite" => assert!(drain < 1_000, "{drain}"),
            "writer" => assert_eq!(drain, 0),
            // Two failures of the readiness probe, and some seconds for proxies.
            _ => {
                let probe = &container(&workload)["readinessProbe"];
                let noticed = number(probe, "/periodSeconds") * number(probe, "/failureThreshold");
                assert!(drain >= noticed * 1_000, "{name}: {drain} ms");
            }
        }
    }
}

/// The word behind an instruction of the image's last stage.
fn instruction(name: &str) -> String {
    let file = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let found =
        file.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).next_back();
    found.unwrap_or_else(|| panic!("the Dockerfile has no {name}")).trim().to_owned()
}

#[test]
fn pods_have_the_user_and_the_volume_of_the_image() {
    for (name, workload, env) in environments() {
        let security = &pod(&workload)["securityContext"];
        let user = format!("{}:{}", security["runAsUser"], security["runAsGroup"]);
        assert_eq!(user, instruction("USER"), "{name}");
        assert_eq!(security["fsGroup"], security["runAsGroup"], "{name}");

        let mounts = list(container(&workload), "/volumeMounts");
        let [mount] = mounts else { panic!("{name}: {mounts:?}") };
        let mount = Path::new(mount["mountPath"].as_str().unwrap());
        assert_eq!(mount, Path::new(&instruction("VOLUME")), "{name}");
        let settings = settings(&env);
        let start = PathBuf::from(instruction("WORKDIR"));
        assert!(start.join(&settings.spool.path).starts_with(mount), "{name}");
        if let Some(file) = settings.store.url.expose_secret().strip_prefix("sqlite://") {
            assert!(start.join(file).starts_with(mount), "{name}");
            assert_eq!(env.get("SQLITE_TMPDIR").map(Path::new), Some(mount), "{name}");
        }
    }
}

#[test]
fn a_volume_has_room_for_a_full_spool() {
    let requested = |of: &Value| {
        let size = of.as_str().and_then(|it| it.strip_suffix("Gi")).expect("in Gi");
        size.parse::<u64>().unwrap() << 30
    };
    let spool = settings(&BTreeMap::new()).spool.bytes_max;
    let base = server();
    let claim = base.pointer("/spec/volumeClaimTemplates/0/spec/resources/requests/storage");
    assert!(requested(claim.unwrap()) >= 2 * spool);
    let writer = writer();
    let limit = writer.pointer("/spec/template/spec/volumes/0/emptyDir/sizeLimit").unwrap();
    assert!(requested(limit) > spool);
}

#[test]
fn probes_are_commands_that_end_before_their_timeout() {
    for workload in [server(), writer()] {
        for (probe, ready) in [("startup", false), ("readiness", true), ("liveness", false)] {
            let probe = &container(&workload)[format!("{probe}Probe")];
            let words = list(probe, "/exec/command").iter().map(|it| it.as_str().unwrap());
            let matches = Cli::command().try_get_matches_from(words).unwrap();
            let (command, options) = matches.subcommand().unwrap();
            assert_eq!((command, options.get_flag("ready")), ("healthcheck", ready));
            assert!(number(probe, "/timeoutSeconds") > HEALTHCHECK_S, "{probe}");
        }
    }
}

#[test]
fn pods_may_do_nothing_that_they_do_not_need() {
    for workload in [server(), writer()] {
        let pod = pod(&workload);
        assert_eq!(pod["enableServiceLinks"], json!(false));
        assert_eq!(pod["automountServiceAccountToken"], json!(false));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], json!(true));
        assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(container(&workload)["securityContext"], expected);
    }
}

fn port(of: &Value, name: &str, key: &str) -> u64 {
    let found = of.as_array().unwrap().iter().find(|it| it["name"] == name);
    number(found.unwrap_or_else(|| panic!("no {name} in {of}")), key)
}

#[test]
fn ports_are_those_of_the_program() {
    let defaults = settings(&BTreeMap::new());
    let (callbacks, ops) = (defaults.server.listen.port(), defaults.ops.listen.port());
    let server = server();
    assert_eq!(port(&container(&server)["ports"], "http", "/containerPort"), u64::from(callbacks));
    let service = read("base/service.yaml");
    assert_eq!(service.pointer("/spec/ports/0/targetPort"), Some(&json!("http")));

    let metrics = read("components/metrics/kustomization.yaml");
    let patch = parsed(metrics.pointer("/patches/0/patch").unwrap().as_str().unwrap());
    let ports = &patch
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["path"].as_str().unwrap().ends_with("/ports"));
    let ports = &ports.unwrap()["value"];
    assert_eq!(port(ports, "http", "/containerPort"), u64::from(callbacks));
    assert_eq!(port(ports, "ops", "/containerPort"), u64::from(ops));
    let (_, _, env) = environments().swap_remove(1);
    assert_eq!(settings(&env).ops.listen.port(), ops);
    let service = read("components/metrics/service.yaml");
    assert_eq!(port(&service["spec"]["ports"], "ops", "/port"), u64::from(ops));
    let monitor = read("components/metrics/servicemonitor.yaml");
    assert_eq!(monitor.pointer("/spec/endpoints/0/port"), Some(&json!("ops")));

    let policy = read("components/network-policy/networkpolicy.yaml");
    let allowed = list(&policy, "/spec/ingress").iter().map(|rule| number(rule, "/ports/0/port"));
    assert_eq!(allowed.collect::<Vec<_>>(), [callbacks, ops].map(u64::from));
}

#[test]
fn selectors_find_the_pods_that_they_are_for() {
    let is_in = |selector: &Value, labels: &Value| {
        let selector = selector.as_object().unwrap();
        assert!(!selector.is_empty());
        selector.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    let (server, writer) = (server(), writer());
    let labels = |of: &Value| of.pointer("/spec/template/metadata/labels").unwrap().clone();
    let (servers, writers) = (labels(&server), labels(&writer));
    assert!(is_in(&server["spec"]["selector"]["matchLabels"], &servers));
    assert!(is_in(&writer["spec"]["selector"]["matchLabels"], &writers));
    // Callbacks never go to a writer, and a writer is no server of which one must be left.
    let budget = read("components/replicas/poddisruptionbudget.yaml");
    for selector in
        [&read("base/service.yaml")["spec"]["selector"], &budget["spec"]["selector"]["matchLabels"]]
    {
        assert!(is_in(selector, &servers) && !is_in(selector, &writers), "{selector}");
    }
    let policy = read("components/network-policy/networkpolicy.yaml");
    let ops = read("components/metrics/service.yaml");
    for selector in [&policy["spec"]["podSelector"]["matchLabels"], &ops["spec"]["selector"]] {
        assert!(is_in(selector, &servers) && is_in(selector, &writers), "{selector}");
    }
    let monitor = read("components/metrics/servicemonitor.yaml");
    assert!(is_in(&monitor["spec"]["selector"]["matchLabels"], &ops["metadata"]["labels"]));
    assert!(!is_in(
        &monitor["spec"]["selector"]["matchLabels"],
        &read("base/service.yaml")["metadata"]["labels"]
    ));
}

#[test]
fn a_server_with_a_file_of_its_own_stays_alone() {
    let sqlite = read("overlays/sqlite/kustomization.yaml");
    assert_eq!(list(&sqlite, "/components"), &[] as &[Value]);
    assert_eq!(server()["spec"]["replicas"], json!(1));
    for overlay in ["postgres", "scale-out"] {
        let overlay = read(format!("overlays/{overlay}/kustomization.yaml"));
        assert_eq!(overlay["components"], json!(["../../components/replicas"]));
    }
}

#[test]
fn the_manifests_name_the_version_of_the_program() {
    let tag = json!(env!("CARGO_PKG_VERSION"));
    assert_eq!(read("base/kustomization.yaml").pointer("/images/0/newTag"), Some(&tag));
    assert_eq!(read("example/kustomization.yaml").pointer("/images/0/newTag"), Some(&tag));
}

#[test]
fn workflows_pin_actions_and_may_only_read_by_default() {
    let folder = root().join(".github/workflows");
    let mut actions = 0;
    for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        let workflow = read(&path);
        assert_eq!(workflow["permissions"], json!({"contents": "read"}), "{}", path.display());
        for (_, job) in workflow["jobs"].as_object().unwrap() {
            for used in list(job, "/steps").iter().filter_map(|step| step["uses"].as_str()) {
                actions += 1;
                let (_, commit) = used.split_once('@').unwrap();
                let is_commit =
                    commit.len() == 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
                assert!(is_commit, "{}: {used}", path.display());
            }
        }
    }
    assert!(actions >= 5, "{actions}");
}
