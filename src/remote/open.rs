//! From a configuration to a client that is ready to connect.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::Client;
use super::link::Link;
use super::{Mirrors, Remote, WORDS, Wallet};
use crate::config::{self, Place, Transport};

/// Why a server cannot even be tried: only another configuration, or another file, helps.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub(super) String);

impl Remote {
    /// Prepares the connections of target `target`; nothing is sent yet. Messages longer than `limit` are refused.
    /// Tokens of the router's own are kept in `wallet`.
    pub fn open(
        remote: &config::Remote,
        target: u32,
        limit: usize,
        mirrors: Mirrors,
        wallet: &Wallet,
    ) -> Result<Self, OpenError> {
        let (url, client) = match &remote.place {
            Place::Urls(urls) => {
                let position = usize::try_from(target).unwrap_or(usize::MAX);
                let url = urls.get(position).map(String::as_str).unwrap_or_default();
                let url: Uri = url.parse().map_err(|e| OpenError(format!("{url:?} is no URL: {e}")))?;
                let secure = url.scheme_str() == Some("https");
                (url, Client::net(secure, remote.ca_file.as_deref())?)
            }
            #[cfg(unix)]
            Place::Socket { socket, path } => {
                let url = format!("http://localhost{path}");
                let url: Uri = url
                    .parse()
                    .map_err(|e| OpenError(format!("{path:?} is no path: {e}")))?;
                (url, Client::unix(socket))
            }
            #[cfg(not(unix))]
            Place::Socket { .. } => return Err(OpenError("there are no Unix sockets on this system".to_owned())),
        };
        let mut configured = HeaderMap::new();
        for (name, value) in &remote.headers {
            let name_of = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(mut value)) = (name_of, HeaderValue::from_str(value)) {
                value.set_sensitive(true);
                configured.insert(name, value);
            }
        }
        let (sender, words) = mpsc::channel(WORDS);
        let credentials = remote.oauth.as_ref().map(|settings| wallet.open(settings));
        let link = Link::new(
            client,
            url,
            (configured, credentials),
            limit,
            remote.connect_timeout,
            sender,
        );
        let mut opened = Self {
            link: link.into(),
            words,
            tasks: JoinSet::new(),
            calls: Default::default(),
            doubted: Default::default(),
            others: Vec::new(),
            queue: Default::default(),
            queued: 0,
            greeting: false,
            started: Vec::new(),
            ready: Default::default(),
            mirrors,
            fresh: true,
            may_be_old: remote.transport == Transport::Auto,
            down: None,
            leaving: false,
            gone: false,
        };
        if remote.transport == Transport::Sse {
            opened.become_old(None);
        }
        Ok(opened)
    }
}
