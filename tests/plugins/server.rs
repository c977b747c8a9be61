//! A web server that is a registry too, and a folder in which `pointsman plugin` runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use pointsman::config::{self, Locked, Policies, sha256_of};
use pointsman::plugin::{Host, Loaded};
use serde_json::json;
use tempfile::TempDir;

use super::support::*;

pub const WASM: &str = "application/wasm";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How the server wants to know who asks, below /v2/.
#[derive(Clone, Debug, PartialEq)]
pub enum Asks {
    /// By a token of its own.
    Token,
    /// By a token of whoever is there.
    TokenOf(String),
    /// By name and password.
    Password,
    /// Not at all.
    Nothing,
    /// Whoever asks, and whoever wants a token, is refused.
    Nobody,
}

/// What the server's threads share.
struct Inside {
    address: String,
    /// Bodies with their media types, by path. What has the type `moved` is where it has gone.
    pages: Mutex<BTreeMap<String, (String, Vec<u8>)>>,
    /// Path of each request, with its `Authorization` and its `Referer`.
    asked: Mutex<Vec<(String, String)>>,
    asks: Mutex<Asks>,
}

/// A web server that is a registry too: answers what it was given by path.
pub struct Server(Arc<Inside>);

impl Server {
    /// One that has tokens asked for.
    pub fn start() -> Self {
        Self::asking(Asks::Token)
    }

    pub fn asking(asks: Asks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inside = Arc::new(Inside {
            address: listener.local_addr().unwrap().to_string(),
            pages: Mutex::default(),
            asked: Mutex::default(),
            asks: Mutex::new(asks),
        });
        let served = Arc::clone(&inside);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                // Whoever has read enough hangs up.
                let _ = served.answer(stream);
            }
        });
        Self(inside)
    }

    pub fn asks(&self, asks: Asks) {
        *self.0.asks.lock().unwrap() = asks;
    }

    pub fn address(&self) -> &str {
        &self.0.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.address)
    }

    pub fn put(&self, path: &str, kind: &str, body: &[u8]) {
        let page = (kind.to_owned(), body.to_vec());
        self.0.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// From now on this path leads to another place.
    pub fn moved(&self, path: &str, to: &str) {
        self.put(path, "moved", to.as_bytes());
    }

    pub fn remove(&self, path: &str) {
        self.0.pages.lock().unwrap().remove(path);
    }

    /// Puts layers behind a tag, each with its media type: the reference, and the digest of the manifest.
    pub fn publish(&self, name: &str, tag: &str, layers: &[(&str, &[u8])]) -> (String, String) {
        let descriptor = |(kind, bytes): &(&str, &[u8])| {
            let digest = format!("sha256:{}", sha256_of(bytes));
            self.put(&format!("/v2/{name}/blobs/{digest}"), "application/octet-stream", bytes);
            json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(&("application/vnd.wasm.config.v0+json", b"{}")),
            "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = format!("sha256:{}", sha256_of(&manifest));
        for which in [tag, &digest] {
            self.put(&format!("/v2/{name}/manifests/{which}"), MANIFEST, &manifest);
        }
        (format!("oci://{}/{name}:{tag}", self.0.address), digest)
    }

    /// Path of all requests so far, with what each said in `Authorization` and `Referer`.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.0.asked.lock().unwrap().clone()
    }
}

impl Inside {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let headers = lines.take_while(|line| !line.is_empty());
        let authorization = headers.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let tells = ["authorization", "referer"]
                .iter()
                .any(|n| name.eq_ignore_ascii_case(n));
            tells.then(|| value.to_owned())
        });
        let authorization = authorization.collect::<String>();
        let asks = self.asks.lock().unwrap().clone();
        let (wanted, challenge) = match &asks {
            Asks::Token => (
                "Bearer the-token",
                format!("Bearer realm=\"http://{}/token\",service=\"test\"", self.address),
            ),
            Asks::TokenOf(realm) => ("Bearer the-token", format!("Bearer realm=\"{realm}\"")),
            // ann:secret
            Asks::Password => ("Basic YW5uOnNlY3JldA==", "Basic realm=\"all of it\"".to_owned()),
            Asks::Nothing => ("", String::new()),
            Asks::Nobody => ("nothing helps", "Basic".to_owned()),
        };
        let (status, more, body) = if path.starts_with("/v2/") && authorization != wanted && !wanted.is_empty() {
            let ask = format!("www-authenticate: {challenge}\r\n");
            ("401 Unauthorized", ask, Vec::new())
        } else if path.starts_with("/token") && asks == Asks::Nobody {
            ("403 Forbidden", String::new(), Vec::new())
        } else if path.starts_with("/token") {
            ("200 OK", String::new(), b"{\"token\":\"the-token\"}".to_vec())
        } else {
            match self.pages.lock().unwrap().get(&path) {
                Some((kind, to)) if kind == "moved" => {
                    let to = String::from_utf8_lossy(to);
                    ("302 Found", format!("location: {to}\r\n"), Vec::new())
                }
                Some((kind, body)) => ("200 OK", format!("content-type: {kind}\r\n"), body.clone()),
                None => (
                    "404 Not Found",
                    String::new(),
                    b"{\"errors\":[{\"message\":\"there is no such thing\"}]}".to_vec(),
                ),
            }
        };
        self.asked.lock().unwrap().push((path, authorization));
        let mut head = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        let _ = write!(head, "{more}\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat())
    }
}

/// A folder with a configuration and a store of its own.
pub struct Home {
    folder: PathBuf,
    kept: Option<TempDir>,
}

impl Home {
    pub fn new() -> Self {
        let kept = tempfile::tempdir().unwrap();
        Self {
            folder: kept.path().to_owned(),
            kept: Some(kept),
        }
    }

    /// From now on somebody else removes the folder in the end.
    pub fn give(&mut self) -> TempDir {
        self.kept.take().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a configuration with one plugin, `guard`.
    pub fn guard(&self, keys: &str) {
        let rest =
            "[backends.demo]\ncommand = \"pointsman\"\nargs = [\"demo-server\"]\n[pipeline]\nroute = [\"guard\"]\n";
        self.write("pointsman.toml", format!("[plugins.guard]\n{keys}\n{rest}"));
    }

    /// Name and password for a registry, as `docker login` leaves them.
    pub fn log_in(&self, registry: &str) {
        let login = json!({ "auths": { registry: { "auth": "YW5uOnNlY3JldA==" } } });
        self.write("config.json", login.to_string());
    }

    /// From now on all is asked of this proxy, if whoever asks wants one.
    pub fn behind(&self, proxy: &Server) {
        self.write("proxy", proxy.url(""));
    }

    /// Runs `pointsman plugin`.
    fn run(&self, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        if let Ok(proxy) = std::fs::read_to_string(self.path("proxy")) {
            command.env("HTTP_PROXY", &proxy).env("HTTPS_PROXY", &proxy);
        }
        command.arg("plugin").args(words).current_dir(&self.folder);
        command.env("XDG_DATA_HOME", self.path("data"));
        command.env("XDG_RUNTIME_DIR", &self.folder);
        let done = command.env("DOCKER_CONFIG", &self.folder).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.success(), text(done.stdout) + &text(done.stderr))
    }

    /// Runs `pointsman plugin`, which must go well and say this.
    #[track_caller]
    pub fn good(&self, words: &[&str], expected: &str) -> String {
        let (good, text) = self.run(words);
        assert!(
            good && text.contains(expected),
            "{words:?}: {text}\nexpected {expected}"
        );
        text
    }

    /// The same where it must fail.
    #[track_caller]
    pub fn bad(&self, words: &[&str], expected: &str) -> String {
        let (good, text) = self.run(words);
        assert!(
            !good && text.contains(expected),
            "{words:?}: {text}\nexpected {expected}"
        );
        text
    }

    /// Where the store keeps the component with these bytes.
    pub fn stored(&self, bytes: &[u8]) -> PathBuf {
        self.path(&format!("data/pointsman/pulled/sha256-{}.wasm", sha256_of(bytes)))
    }

    /// Forgets all that was pulled.
    pub fn empty_store(&self) {
        std::fs::remove_dir_all(self.path("data")).unwrap();
    }

    /// What the configuration says of `guard`.
    pub fn settings(&self) -> config::Plugin {
        let mut loaded = config::load(&self.path("pointsman.toml")).unwrap();
        loaded.config.plugins.remove("guard").unwrap()
    }

    /// The SHA-256 that the lock has of `guard`.
    pub fn locked(&self) -> String {
        match self.settings().locked {
            Locked::To(entry) => entry.sha256,
            other => panic!("{other:?}"),
        }
    }

    /// Why the configuration is wrong.
    pub fn problems(&self) -> String {
        config::load(&self.path("pointsman.toml")).unwrap_err().to_string()
    }

    /// Loads `guard` as the router does.
    pub async fn load(&self) -> Result<Arc<Loaded>, String> {
        let policies = Policies {
            store: Some(self.path("data/pointsman/pulled")),
            ..policies()
        };
        let host = Host::new(&policies, compiler()).unwrap();
        let loaded = host.load("guard", &self.settings()).await;
        loaded.map_err(|error| error.to_string())
    }

    /// Loads it in vain: the reason, which has these words.
    pub async fn refused(&self, expected: &str) {
        let error = self.load().await.err().unwrap();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
    }
}

/// The component of this name that is in the binary.
pub fn embedded_bytes(name: &str) -> &'static [u8] {
    pointsman::plugin::embedded(name).unwrap()
}

/// The file names in a folder.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
