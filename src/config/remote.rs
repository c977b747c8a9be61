//! Where a backend over HTTP is, and how it is spoken to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::item::Item;
use super::oauth::{self, OAuth};
use super::read::Table;
use super::sections::{HOUR, TICK, duration};

/// What stands where a program would: a server somewhere else.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// Where it is.
    pub place: Place,
    /// Which of MCP's transports it has.
    pub transport: Transport,
    /// How the router gets a token for it.
    pub oauth: Option<OAuth>,
    /// Sent with every request: credentials, as a rule.
    pub headers: BTreeMap<String, String>,
    /// Time for a name to be looked up and a connection to be made, TLS included.
    pub connect_timeout: Duration,
    /// Certificates of the authorities that are believed instead of the system's, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// One target for each of these.
    Urls(Vec<String>),
    /// HTTP over a Unix socket.
    Socket {
        /// The socket.
        socket: PathBuf,
        /// The path asked for there.
        path: String,
    },
}

/// MCP's transports over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP, and HTTP+SSE where the server has no other.
    Auto,
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE of 2024-11-05.
    Sse,
}

impl Remote {
    /// How many targets it has.
    pub fn targets(&self) -> u32 {
        match &self.place {
            Place::Urls(urls) => u32::try_from(urls.len()).unwrap_or(u32::MAX),
            Place::Socket { .. } => 1,
        }
    }

    /// Where one of its targets is, in words.
    pub fn address(&self, target: u32) -> String {
        match &self.place {
            Place::Urls(urls) => {
                let position = usize::try_from(target).unwrap_or(usize::MAX);
                let url = urls.get(position).map(String::as_str).unwrap_or_default();
                // What stands behind it may be a key.
                url.split('?').next().unwrap_or_default().to_owned()
            }
            Place::Socket { socket, path } => format!("unix:{}{path}", socket.display()),
        }
    }
}

/// The keys of a backend over HTTP.
pub(super) const KEYS: [&str; 9] = [
    "url",
    "urls",
    "unix-socket",
    "path",
    "transport",
    "headers",
    "oauth",
    "connect-timeout",
    "ca-file",
];

/// URLs of one backend at most, as many as there may be targets.
const MOST: usize = 64;

/// The default of `connect-timeout`.
const CONNECT: Duration = Duration::from_secs(5);

impl From<Place> for Remote {
    /// A server there, with the defaults for all else.
    fn from(place: Place) -> Self {
        Self {
            place,
            transport: Transport::Auto,
            oauth: None,
            headers: BTreeMap::new(),
            connect_timeout: CONNECT,
            ca_file: None,
        }
    }
}

/// Reads where a server is; `None` where it is a program.
pub(super) fn section(t: &mut Table<'_>) -> Option<Remote> {
    let (url, urls, socket) = (t.take("url"), t.take("urls"), t.take("unix-socket"));
    let given: Vec<&Item<'_>> = [&url, &urls, &socket].into_iter().flatten().collect();
    let [first, others @ ..] = given.as_slice() else {
        for key in &KEYS[3..] {
            t.refuse(key, "it belongs to a `url`");
        }
        return None;
    };
    for other in others {
        other.fault::<()>(&format!("and {} exclude each other", first.label), None);
    }
    let place = if let Some(url) = &url {
        Place::Urls(web(url).into_iter().collect())
    } else if let Some(urls) = &urls {
        let list = urls.list(web);
        if list.as_ref().is_some_and(|list| !(1..=MOST).contains(&list.len())) {
            urls.fault::<()>(&format!("must have from 1 to {MOST} items"), None);
        }
        Place::Urls(list.unwrap_or_default())
    } else {
        let mut path = "/mcp".to_owned();
        t.read("path", &mut path, |item| {
            let text = item.text()?;
            let fits = text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok();
            match fits {
                true => Some(text.to_owned()),
                false => item.fault(
                    &format!("is no path of a URL: `{text}`"),
                    Some(r#"write it like "/mcp""#.to_owned()),
                ),
            }
        });
        Place::Socket {
            socket: socket.and_then(|item| item.path()).unwrap_or_default(),
            path,
        }
    };
    if let Place::Urls(_) = place {
        t.refuse("path", "it belongs to a `unix-socket`; a URL has its own");
    }
    let mut one = Remote::from(place);
    t.read("transport", &mut one.transport, Item::word);
    t.section("headers", |t| t.headers(&mut one.headers));
    t.section("oauth", |t| one.oauth = oauth::section(t));
    if one.oauth.is_some()
        && one
            .headers
            .keys()
            .any(|name| name.eq_ignore_ascii_case("authorization"))
    {
        t.refuse("headers", "`oauth` gives the header Authorization");
    }
    t.read("connect-timeout", &mut one.connect_timeout, duration(TICK, HOUR));
    t.read("ca-file", &mut one.ca_file, |item| item.path().map(Some));
    Some(one)
}

fn web(item: &Item<'_>) -> Option<String> {
    let text = item.expanded()?;
    match url_fault(&text) {
        None => Some(text),
        Some(hint) => item.fault(&format!("is no URL of a server: `{text}`"), Some(hint.to_owned())),
    }
}

/// What is wrong with a URL of a server; an error is the hint for the operator.
pub(super) fn url_fault(text: &str) -> Option<&'static str> {
    let Ok(url) = text.parse::<http::Uri>() else {
        return Some(r#"write it like "https://tools.example/mcp""#);
    };
    let Some(host) = url.authority() else {
        return Some(r#"write it like "https://tools.example/mcp""#);
    };
    match url.scheme_str() {
        Some("http" | "https") if host.as_str().contains('@') => {
            Some("credentials belong into `headers`, not into the URL")
        }
        Some("http" | "https") if host.host().is_empty() => Some("its host is missing"),
        Some("http" | "https") => None,
        _ => Some("it begins with http:// or https://"),
    }
}

/// Whether a URL leads back to the router that listens at `own`: its tools would be its own tools, without end.
pub(super) fn leads_back(url: &str, own: SocketAddr) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else {
        return false;
    };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified() || ip == own.ip());
    here && url.port_u16().unwrap_or(80) == own.port() && url.path().starts_with("/mcp")
}

/// Headers that the router writes itself: a configured one would contradict it.
const OWN: [&str; 14] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What is wrong with a header; the value is expanded already and is not told: it is a secret, as a rule.
pub(super) fn header_fault(name: &str, value: &str) -> Option<&'static str> {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some("is no name of a header");
    }
    let lower = name.to_ascii_lowercase();
    if OWN.contains(&lower.as_str()) || lower.starts_with("mcp-param-") {
        return Some("is written by the router itself");
    }
    http::HeaderValue::from_str(value)
        .is_err()
        .then_some("has a value with characters that no header may have")
}
