//! `[plugins.NAME.grants]` as types: what a policy component may reach, and how much of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::item::Item;
use super::oauth::{Secret, secret};
use super::read::Table;
use super::sections::{HOUR, TICK, bytes, duration};

/// What a plugin may import beside the call itself. Nothing but the log by default.
#[derive(Clone, Debug, PartialEq)]
pub struct Grants {
    /// A line in the router's log.
    pub log: bool,
    /// What time it is.
    pub clock: bool,
    /// Randomness.
    pub random: bool,
    /// Which backends there are.
    pub directory: bool,
    /// Stubs for what ordinary builds import of WASI.
    pub wasi: bool,
    /// Numbers in `/metrics`.
    pub metrics: Option<MetricsGrant>,
    /// A store that outlives instances.
    pub kv: Option<KvGrant>,
    /// Requests to other systems.
    pub http: Option<HttpGrant>,
    /// What such requests may carry, by name; it cannot be read.
    pub secrets: BTreeMap<String, Secret>,
}

/// `metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsGrant {
    /// Combinations of name and labels at most.
    pub series: usize,
}

/// `kv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvGrant {
    /// Plugins of one namespace share it; `None` means the plugin's own name.
    pub namespace: Option<String>,
    /// Keys at most.
    pub keys: usize,
    /// Bytes at most.
    pub bytes: usize,
}

/// `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    /// Where requests may go: scheme, host and port, nothing behind.
    pub allow: Vec<String>,
    /// By which methods.
    pub methods: Vec<String>,
    /// Whether addresses of private networks may be meant by those names.
    pub private: bool,
    /// Time for one request, redirects included.
    pub timeout: Duration,
    /// Bytes of a body, in either direction, at most.
    pub max_body: usize,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            log: true,
            clock: false,
            random: false,
            directory: false,
            wasi: false,
            metrics: None,
            kv: None,
            http: None,
            secrets: BTreeMap::new(),
        }
    }
}

impl Default for MetricsGrant {
    fn default() -> Self {
        Self { series: 100 }
    }
}

impl Default for KvGrant {
    fn default() -> Self {
        Self {
            namespace: None,
            keys: 10_000,
            bytes: 4 << 20,
        }
    }
}

impl Default for HttpGrant {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            methods: vec!["GET".to_owned(), "HEAD".to_owned()],
            private: false,
            timeout: Duration::from_secs(2),
            max_body: 256 << 10,
        }
    }
}

/// Reads the table.
pub(super) fn grants(t: &mut Table<'_>, into: &mut Grants) {
    t.read("log", &mut into.log, Item::flag);
    t.read("clock", &mut into.clock, Item::flag);
    t.read("random", &mut into.random, Item::flag);
    t.read("directory", &mut into.directory, Item::flag);
    t.read("wasi", &mut into.wasi, Item::flag);
    into.metrics = t.grant("metrics", |t, one: &mut MetricsGrant| {
        t.read("series", &mut one.series, Item::capacity);
    });
    into.kv = t.grant("kv", |t, one: &mut KvGrant| {
        t.read("namespace", &mut one.namespace, |item| item.expanded().map(Some));
        t.read("keys", &mut one.keys, Item::capacity);
        t.read("bytes", &mut one.bytes, bytes(1024));
    });
    into.http = t.grant("http", |t, one: &mut HttpGrant| {
        t.require("allow");
        t.read("allow", &mut one.allow, |item| item.list(origin));
        t.read("methods", &mut one.methods, |item| {
            let is_method = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase());
            item.words_like(is_method, "is no method", "write methods in capitals, such as GET")
        });
        t.read("private", &mut one.private, Item::flag);
        t.read("timeout", &mut one.timeout, duration(TICK, HOUR));
        t.read("max-body", &mut one.max_body, bytes(1024));
    });
    t.each("secrets", |name, t| {
        let (value, file) = (t.take("value"), t.take("file"));
        if let Some(secret) = secret(t, (&value, &file), "value` or `file") {
            into.secrets.insert(name.to_owned(), secret);
        }
    });
}

/// Scheme, host and port, without anything behind: the port is always told, for it is what is compared.
fn origin(item: &Item<'_>) -> Option<String> {
    let text = item.expanded()?;
    let uri: Option<http::Uri> = text.parse().ok();
    let told = uri.and_then(|uri| {
        let scheme = uri.scheme_str().filter(|s| matches!(*s, "http" | "https"))?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains(['#', '@']);
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        bare.then(|| {
            format!(
                "{scheme}://{}:{port}",
                uri.host().unwrap_or_default().to_ascii_lowercase()
            )
        })
    });
    match told {
        Some(origin) => Some(origin),
        None => item.fault(
            &format!("is no origin: `{text}`"),
            Some("write scheme, host and port, such as \"https://api.example:443\"".to_owned()),
        ),
    }
}
