//! Where components come from: pins, `plugins.lock`, registries and web servers, and the router without a network.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use pointsman::config::{self, Locked, Policies, Source, sha256_of};
use pointsman::plugin::Host;
use serde_json::json;

use super::support::*;

/// Bodies with their media types, by path.
type Pages = Arc<Mutex<BTreeMap<String, (String, Vec<u8>)>>>;

/// A web server that is a registry too: answers what it was given by path, and asks for a token below /v2/.
struct Server {
    address: String,
    pages: Pages,
    asked: Arc<Mutex<Vec<String>>>,
    /// Whether it sends for its tokens to another machine, in the open.
    leads_away: Arc<Mutex<bool>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let pages: Pages = Arc::default();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let leads_away = Arc::new(Mutex::new(false));
        let leads = Arc::clone(&leads_away);
        let (served, log, own) = (Arc::clone(&pages), Arc::clone(&asked), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut lines = BufReader::new(stream.try_clone().unwrap())
                    .lines()
                    .map_while(Result::ok);
                let Some(first) = lines.next() else { continue };
                let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let known = |line: &String| line.eq_ignore_ascii_case("authorization: bearer the-token");
                let elsewhere = "www-authenticate: Bearer realm=\"http://192.0.2.1/token\"\r\n".to_owned();
                let (status, more, body) = if *leads.lock().unwrap() {
                    ("401 Unauthorized", elsewhere, Vec::new())
                } else if path.starts_with("/v2/") && !headers.iter().any(known) {
                    let ask = format!("www-authenticate: Bearer realm=\"http://{own}/token\",service=\"test\"\r\n");
                    ("401 Unauthorized", ask, Vec::new())
                } else if path.starts_with("/token") {
                    ("200 OK", String::new(), b"{\"token\":\"the-token\"}".to_vec())
                } else if let Some(to) = path.strip_prefix("/to/") {
                    ("302 Found", format!("location: {to}\r\n"), Vec::new())
                } else if let Some((kind, body)) = served.lock().unwrap().get(&path) {
                    ("200 OK", format!("content-type: {kind}\r\n"), body.clone())
                } else {
                    ("404 Not Found", String::new(), Vec::new())
                };
                log.lock().unwrap().push(path);
                let mut head = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n",
                    body.len()
                );
                let _ = write!(head, "{more}\r\n");
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self {
            address,
            pages,
            asked,
            leads_away,
        }
    }

    fn put(&self, path: &str, kind: &str, body: &[u8]) {
        let page = (kind.to_owned(), body.to_vec());
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// Puts layers behind a tag, each with its media type.
    fn publish(&self, name: &str, tag: &str, layers: &[(&str, &[u8])]) -> String {
        let descriptor = |(kind, bytes): &(&str, &[u8])| {
            let digest = format!("sha256:{}", sha256_of(bytes));
            self.put(&format!("/v2/{name}/blobs/{digest}"), "application/octet-stream", bytes);
            json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(&("application/vnd.wasm.config.v0+json", b"{}")),
            "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
        });
        let path = format!("/v2/{name}/manifests/{tag}");
        self.put(
            &path,
            "application/vnd.oci.image.manifest.v1+json",
            manifest.to_string().as_bytes(),
        );
        format!("oci://{}/{name}:{tag}", self.address)
    }

    fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Runs `pointsman plugin` with a store of its own in `folder`.
fn plugin(folder: &Path, words: &[&str]) -> (bool, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .arg("plugin")
        .args(words)
        .current_dir(folder)
        .env("XDG_DATA_HOME", folder.join("data"))
        .env("DOCKER_CONFIG", folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.success(), text(done.stdout) + &text(done.stderr))
}

const WASM: &str = "application/wasm";

fn embedded_bytes(name: &str) -> &'static [u8] {
    pointsman::plugin::embedded(name).unwrap()
}

/// What a configuration in `folder` says of a plugin.
fn settings(folder: &Path, name: &str) -> config::Plugin {
    let mut loaded = config::load(&folder.join("pointsman.toml")).unwrap();
    loaded.config.plugins.remove(name).unwrap()
}

/// A host with the store of `folder`.
fn host_of(folder: &Path) -> Arc<Host> {
    let policies = Policies {
        store: Some(folder.join("data/pointsman/pulled")),
        ..policies()
    };
    Host::new(&policies, compiler()).unwrap()
}

const REST: &str =
    "[backends.demo]\ncommand = \"pointsman\"\nargs = [\"demo-server\"]\n[pipeline]\nroute = [\"guard\"]\n";

#[tokio::test]
async fn a_reference_is_locked_pulled_and_loaded_without_a_network() {
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let first = embedded_bytes("default-route");
    let from = server.publish("acme/guard", "1", &[(WASM, first)]);
    let config = format!("[plugins.guard]\nfrom = \"{from}\"\n{REST}");
    std::fs::write(folder.join("pointsman.toml"), config).unwrap();

    // Nothing says which component it is.
    let error = host_of(folder)
        .load("guard", &settings(folder, "guard"))
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("there is no `sha256`, and none in plugins.lock: run `pointsman plugin lock`"),
        "{error}"
    );
    let (good, text) = plugin(folder, &["pull", "--config", "pointsman.toml"]);
    assert!(!good && text.contains("run `pointsman plugin lock`"), "{text}");
    let (good, text) = plugin(folder, &["lock", "--check"]);
    assert!(!good && text.contains("is not in plugins.lock"), "{text}");

    let (good, text) = plugin(folder, &["lock"]);
    assert!(good && text.contains("new      guard  oci://"), "{text}");
    let lock = std::fs::read_to_string(folder.join("plugins.lock")).unwrap();
    assert!(lock.contains(&sha256_of(first)) && lock.contains(&from), "{lock}");
    let asked = server.requests();
    let (good, text) = plugin(folder, &["lock", "--check"]);
    assert!(good && text.contains("is as it should be: 1 plugins"), "{text}");

    // From here on nobody is asked.
    let loaded = host_of(folder).load("guard", &settings(folder, "guard")).await.unwrap();
    assert_eq!(loaded.digest(), sha256_of(first));
    let (good, text) = plugin(folder, &["pull", "--config", "pointsman.toml"]);
    assert!(good && text.contains("is there"), "{text}");
    assert_eq!(server.requests(), asked);

    // The tag moves: that changes nothing until somebody wants it.
    let second = embedded_bytes("least-busy");
    server.publish("acme/guard", "1", &[(WASM, second)]);
    let (good, _) = plugin(folder, &["lock"]);
    assert!(good && std::fs::read_to_string(folder.join("plugins.lock")).unwrap() == lock);
    // Another machine without the store is told, and gets nothing else.
    std::fs::remove_dir_all(folder.join("data")).unwrap();
    let error = host_of(folder)
        .load("guard", &settings(folder, "guard"))
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("run `pointsman plugin pull --config FILE`"),
        "{error}"
    );
    let (good, text) = plugin(folder, &["pull", "--config", "pointsman.toml"]);
    assert!(
        !good && text.contains("is another component now: its SHA-256 is"),
        "{text}"
    );
    let (good, text) = plugin(folder, &["lock", "--update", "guard"]);
    assert!(good && text.contains("changed  guard"), "{text}");
    assert_eq!(settings(folder, "guard").locked, Locked::To(sha256_of(second)));

    // What is in the store is looked at again.
    let path = folder.join(format!("data/pointsman/pulled/sha256-{}.wasm", sha256_of(second)));
    std::fs::write(&path, first).unwrap();
    let error = host_of(folder)
        .load("guard", &settings(folder, "guard"))
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains(&format!("its SHA-256 is {}", sha256_of(first))),
        "{error}"
    );
    let (good, text) = plugin(folder, &["pull", "--config", "pointsman.toml"]);
    assert!(good && text.contains("pulled, "), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), second);
}

#[tokio::test]
async fn a_file_is_locked_to_its_bytes() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let config = format!("[plugins.guard]\nfile = \"guard.wasm\"\n{REST}");
    std::fs::write(folder.join("pointsman.toml"), &config).unwrap();
    std::fs::write(folder.join("guard.wasm"), embedded_bytes("default-route")).unwrap();
    // Without a lock any will do.
    assert_eq!(settings(folder, "guard").locked, Locked::No);
    let (good, text) = plugin(folder, &["lock"]);
    assert!(good, "{text}");
    let lock = std::fs::read_to_string(folder.join("plugins.lock")).unwrap();
    assert!(
        lock.contains("from = \"guard.wasm\""),
        "a lock goes to other machines: {lock}"
    );
    host_of(folder).load("guard", &settings(folder, "guard")).await.unwrap();

    std::fs::write(folder.join("guard.wasm"), embedded_bytes("redact")).unwrap();
    let error = host_of(folder)
        .load("guard", &settings(folder, "guard"))
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("rejected at verify: its SHA-256 is") && error.to_string().contains("plugin lock"),
        "{error}"
    );
    let (good, text) = plugin(folder, &["lock", "--check"]);
    assert!(!good && text.contains("changed  guard  guard.wasm"), "{text}");

    // Another file than the one that was locked.
    std::fs::write(
        folder.join("pointsman.toml"),
        config.replace("guard.wasm", "other.wasm"),
    )
    .unwrap();
    let error = host_of(folder)
        .load("guard", &settings(folder, "guard"))
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("it comes from other.wasm, and plugins.lock has it from guard.wasm"),
        "{error}"
    );
    // A plugin that is not in the lock is told of; a lock that cannot be read is a problem.
    std::fs::write(folder.join("plugins.lock"), "").unwrap();
    let loaded = config::load(&folder.join("pointsman.toml")).unwrap();
    assert!(
        loaded
            .warnings
            .iter()
            .any(|w| w.to_string().contains("plugin guard is not in plugins.lock")),
        "{:?}",
        loaded.warnings
    );
    assert!(loaded.files.iter().any(|file| file.ends_with("plugins.lock")));
    let mistyped = "[plugins.guard]\nfrom = \"guard.wasm\"\nsha256 = \"Z15b\"\n";
    std::fs::write(folder.join("plugins.lock"), mistyped).unwrap();
    let problems = config::load(&folder.join("pointsman.toml")).unwrap_err().to_string();
    assert!(problems.contains("`Z15b` of plugin guard is no SHA-256"), "{problems}");
    // Whoever writes a digest in capitals means the same.
    let shouted = format!(
        "[plugins.guard]\nfrom = \"other.wasm\"\nsha256 = \"{}\"\n",
        sha256_of(b"x").to_uppercase()
    );
    std::fs::write(folder.join("plugins.lock"), shouted).unwrap();
    assert_eq!(settings(folder, "guard").locked, Locked::To(sha256_of(b"x")));
    std::fs::write(folder.join("plugins.lock"), "plugins = 5").unwrap();
    let problems = config::load(&folder.join("pointsman.toml")).unwrap_err().to_string();
    assert!(
        problems.contains("`pointsman plugin lock` writes it anew"),
        "{problems}"
    );
    std::fs::write(folder.join("pointsman.toml"), &config).unwrap();
    let (good, text) = plugin(folder, &["lock", "--check"]);
    assert!(!good && text.contains("plugins.lock"), "{text}");
    let (good, text) = plugin(folder, &["lock"]);
    assert!(good && text.contains("new      guard  guard.wasm"), "{text}");
}

#[test]
fn what_is_no_component_is_not_kept() {
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let good_one = embedded_bytes("default-route");
    let at = |path: &str| format!("http://{}{path}", server.address);
    server.put("/guard.wasm", WASM, good_one);
    server.put("/page.wasm", "text/html", b"<html>please log in</html>");
    let there = format!("/to/{}", at("/guard.wasm"));
    let (good, text) = plugin(folder, &["pull", &at(&there)]);
    assert!(good, "{text}");
    let (good, text) = plugin(folder, &["pull", &at("/guard.wasm")]);
    assert!(
        good && text.contains(&format!("sha256 = \"{}\"", sha256_of(good_one))),
        "{text}"
    );
    let stored = folder.join(format!("data/pointsman/pulled/sha256-{}.wasm", sha256_of(good_one)));
    assert_eq!(std::fs::read(stored).unwrap(), good_one);

    std::fs::write(
        folder.join("small.toml"),
        "[policies]\nmax-component = \"2KiB\"\n[backends.demo]\ncommand = \"x\"\n",
    )
    .unwrap();
    let two = server.publish("acme/two", "1", &[(WASM, good_one), (WASM, b"x")]);
    let none = server.publish("acme/none", "1", &[("application/vnd.oci.image.layer.v1.tar", b"x")]);
    let wrong = server.publish("acme/wrong", "1", &[(WASM, good_one)]);
    let digest = sha256_of(good_one);
    server.put(
        &format!("/v2/acme/wrong/blobs/sha256:{digest}"),
        WASM,
        embedded_bytes("redact"),
    );
    for (words, expected) in [
        (vec![at("/page.wasm")], "this is not a WebAssembly file"),
        (vec![at("/gone.wasm")], "404"),
        (
            vec![at("/guard.wasm"), "--config".into(), "small.toml".into()],
            "larger than 2048 bytes",
        ),
        (vec![two], "holds 2 components and not one"),
        (vec![none], "its layers are: application/vnd.oci.image.layer.v1.tar"),
        (vec![wrong], "igest"),
        (vec![format!("oci://{}/acme/gone:1", server.address)], "acme/gone"),
        (
            vec!["http://example.com/guard.wasm".to_owned()],
            "goes over the network in the open",
        ),
        (
            vec![at("/to/http://192.0.2.1/guard.wasm")],
            "a redirect goes over the network in the open",
        ),
        (vec!["guard.wasm".to_owned()], "is no reference: write oci://"),
        (vec!["oci://UPPER CASE".to_owned()], "is no reference to a registry"),
    ] {
        let words: Vec<&str> = ["pull"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let (good, text) = plugin(folder, &words);
        assert!(!good && text.contains(expected), "{words:?}: {text}");
    }
    *server.leads_away.lock().unwrap() = true;
    // A helper that is not there is no reason to ask nobody.
    std::fs::write(folder.join("config.json"), "{\"credsStore\": \"nowhere\"}").unwrap();
    let (good, text) = plugin(folder, &["pull", &format!("oci://{}/acme/one:1", server.address)]);
    assert!(
        !good && text.contains("sends for its tokens to http://192.0.2.1/token, over the network in the open"),
        "{text}"
    );
    let kept = std::fs::read_dir(folder.join("data/pointsman/pulled")).unwrap().count();
    assert_eq!(kept, 1);
}

#[test]
fn a_source_that_the_configuration_cannot_mean_is_told() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("pointsman.toml");
    for (text, words) in [
        ("from = \"ghcr.io/acme/guard\"", "is no reference; write oci://"),
        (
            "from = \"oci://ghcr.io/acme/guard\"\nfile = \"x.wasm\"",
            "exclude each other",
        ),
        ("from = \"https://ann:pw@example.com/guard.wasm\"", "names a user"),
        ("sha256 = \"00\"", "is no SHA-256"),
        ("config = {}", "`file`, `embedded` or `from`"),
    ] {
        std::fs::write(&path, format!("[plugins.guard]\n{text}\n{REST}")).unwrap();
        let problems = config::load(&path).unwrap_err().to_string();
        assert!(problems.contains(words), "{text}: {problems}");
    }
    let pulled = Source::Pulled("oci://ghcr.io/acme/guard:1".to_owned());
    std::fs::write(
        &path,
        format!("[plugins.guard]\nfrom = \"oci://ghcr.io/acme/guard:1\"\n{REST}"),
    )
    .unwrap();
    assert_eq!(settings(home.path(), "guard").source, pulled);
}
