//! `http`: requests of plugins to other systems. Here alone is decided where they may go, for the first one and for every
//! redirect, by what a name was resolved to and not by what it looks like.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use super::super::bindings::pointsman::policy::http as wit;
use super::super::error::SetupError;
use super::super::host::State;
use super::address::is_public;
use super::{Capability, lacking};
use crate::config::HttpGrant;

/// Redirects that are followed at most.
const REDIRECTS: usize = 5;
/// Unused connections are closed after this time.
const IDLE: Duration = Duration::from_secs(4);
const KEPT: usize = 8;

/// Headers of the connection, which are the router's, and `proxy-` ones besides.
const CONNECTION: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// What one plugin may send.
pub(super) struct Outgoing {
    grant: HttpGrant,
    client: Client<Connector, Full<Bytes>>,
}

/// Resolves names, and gives back only addresses that may be meant.
#[derive(Clone)]
struct Resolver {
    private: bool,
    /// Names that stand for the public internet in tests.
    #[cfg(test)]
    public: std::collections::HashMap<String, SocketAddr>,
}

/// A name stands for addresses of private networks alone.
#[derive(Debug, thiserror::Error)]
#[error("{0} is an address of a private network, and the grant has no `private = true`")]
struct Private(String);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let private = self.private;
        #[cfg(test)]
        if let Some(address) = self.public.get(name.as_str()) {
            let address = vec![*address].into_iter();
            return Box::pin(std::future::ready(Ok(address)));
        }
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.iter().copied().filter(|a| private || is_public(a.ip())).collect();
            match (allowed.is_empty(), found.first()) {
                (true, Some(first)) => Err(io::Error::other(Private(format!("{} ({})", name.as_str(), first.ip())))),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

impl Outgoing {
    pub(super) fn new(grant: &HttpGrant) -> Result<Self, SetupError> {
        let resolver = Resolver {
            private: grant.private,
            #[cfg(test)]
            public: std::collections::HashMap::new(),
        };
        Self::with(resolver, grant)
    }

    fn with(resolver: Resolver, grant: &HttpGrant) -> Result<Self, SetupError> {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let builder = hyper_rustls::HttpsConnectorBuilder::new();
        let secure = grant.allow.iter().any(|origin| origin.starts_with("https:"));
        let builder = match secure {
            true => builder.with_native_roots().map_err(SetupError::Roots)?,
            // No certificate is ever looked at.
            false => builder.with_tls_config(
                rustls::ClientConfig::builder()
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth(),
            ),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(KEPT)
            .pool_timer(TokioTimer::new())
            .build(builder.https_or_http().enable_http1().wrap_connector(tcp));
        Ok(Self {
            grant: grant.clone(),
            client,
        })
    }

    /// Sends a request; `secret` are its headers with secrets in them.
    async fn send(&self, request: wit::Request, secret: HeaderMap) -> Result<wit::Response, String> {
        if request.body.len() > self.grant.max_body {
            return Err(format!(
                "too-large: a body of {} bytes, {} are allowed",
                request.body.len(),
                self.grant.max_body
            ));
        }
        let asked = request.timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let time = asked.map_or(self.grant.timeout, |asked| asked.min(self.grant.timeout));
        match tokio::time::timeout(time, self.follow(request, secret)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("timeout: no answer within {} ms", time.as_millis())),
        }
    }

    async fn follow(&self, request: wit::Request, secret: HeaderMap) -> Result<wit::Response, String> {
        let mut method: Method = request
            .method
            .parse()
            .map_err(|_| format!("invalid: the method {:?}", request.method))?;
        let mut url: Uri = request.url.parse().map_err(|e| format!("invalid: the URL: {e}"))?;
        let mut headers = checked(&request.headers)?;
        let mut body = Bytes::from(request.body);
        let first = self.allowed(&method, &url)?;
        for _ in 0..=REDIRECTS {
            let origin = self.allowed(&method, &url)?;
            let mut message = Request::new(Full::new(body.clone()));
            *message.method_mut() = method.clone();
            *message.uri_mut() = url.clone();
            *message.headers_mut() = headers.clone();
            if origin == first {
                message.headers_mut().extend(secret.clone());
            }
            let response = self.client.request(message).await.map_err(|e| told(&e))?;
            let (head, read) = response.into_parts();
            let Some(next) = redirect(head.status, &head.headers, &url)? else {
                return self.read(head, read).await;
            };
            if !matches!(
                head.status,
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            ) && !matches!(method, Method::GET | Method::HEAD)
            {
                // As browsers do: what was posted is not posted again elsewhere.
                method = Method::GET;
                body = Bytes::new();
                headers.remove(http::header::CONTENT_TYPE);
            }
            url = next;
        }
        Err(format!("failed: more than {REDIRECTS} redirects"))
    }

    /// Where a request goes, if the grant has it.
    fn allowed(&self, method: &Method, url: &Uri) -> Result<String, String> {
        let scheme = url.scheme_str().filter(|s| matches!(*s, "http" | "https"));
        let (Some(scheme), Some(host)) = (scheme, url.host()) else {
            return Err(format!("invalid: {url} is no http or https URL"));
        };
        if url.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err("invalid: the URL holds a user".to_owned());
        }
        let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        let origin = format!("{scheme}://{}:{port}", host.to_ascii_lowercase());
        if !self.grant.allow.contains(&origin) {
            return Err(format!(
                "refused: {origin} is not allowed; the grant has {}",
                self.grant.allow.join(", ")
            ));
        }
        if !self.grant.methods.iter().any(|granted| granted == method.as_str()) {
            return Err(format!(
                "refused: {method} is not allowed; the grant has {}",
                self.grant.methods.join(", ")
            ));
        }
        // A literal is not resolved, so that nobody else looks at it.
        let literal: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        match literal {
            Some(address) if !self.grant.private && !is_public(address) => {
                Err(format!("refused: {}", Private(address.to_string())))
            }
            _ => Ok(origin),
        }
    }

    async fn read(&self, head: http::response::Parts, body: hyper::body::Incoming) -> Result<wit::Response, String> {
        let body = Limited::new(body, self.grant.max_body).collect().await.map_err(|e| {
            match e.downcast_ref::<LengthLimitError>() {
                Some(_) => format!("too-large: an answer of more than {} bytes", self.grant.max_body),
                None => format!("failed: {e}"),
            }
        })?;
        let text =
            |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
        Ok(wit::Response {
            status: head.status.as_u16(),
            headers: head.headers.iter().filter_map(text).collect(),
            body: body.to_bytes().to_vec(),
        })
    }
}

/// Where an answer sends the request, if it does.
fn redirect(status: StatusCode, headers: &HeaderMap, from: &Uri) -> Result<Option<Uri>, String> {
    let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(to) = headers.get(LOCATION).filter(|_| is_redirect) else {
        return Ok(None);
    };
    let wrong = || format!("failed: it redirects to {to:?}");
    let to = to.to_str().map_err(|_| wrong())?;
    let to = to.split('#').next().unwrap_or_default();
    let mut parts = from.clone().into_parts();
    let next: Uri = match to {
        absolute if absolute.contains("://") => absolute.parse().map_err(|_| wrong())?,
        other if other.starts_with("//") => {
            let scheme = from.scheme_str().unwrap_or_default();
            format!("{scheme}:{other}").parse().map_err(|_| wrong())?
        }
        path => {
            let base = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            let path = if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("{base}/{path}")
            };
            parts.path_and_query = Some(path.parse().map_err(|_| wrong())?);
            Uri::from_parts(parts).map_err(|_| wrong())?
        }
    };
    Ok(Some(next))
}

fn checked(pairs: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let (name, value) = header(name, value)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || format!("invalid: the header {name:?}");
    let name: HeaderName = name.parse().map_err(|_| wrong())?;
    if CONNECTION.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
        return Err(format!("invalid: the header {name} is the router's"));
    }
    Ok((name.clone(), value.parse().map_err(|_| wrong())?))
}

/// Why a request failed, in words: the innermost cause is what helps.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // Errors of input and output do not show what they hold as a source.
    let private = std::iter::successors(Some(error), |e| (*e).source())
        .filter_map(|e| e.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<Private>())
        .next();
    match private {
        Some(private) => format!("refused: {private}"),
        None => format!("failed: {cause}"),
    }
}

impl wit::Host for State {
    async fn send(&mut self, request: wit::Request) -> wasmtime::Result<Result<wit::Response, String>> {
        let Some(outgoing) = &self.powers.outgoing else {
            return lacking(Capability::Http);
        };
        let mut secret = HeaderMap::new();
        for wanted in &request.secrets {
            let Some(text) = self.powers.secrets.get(&wanted.name) else {
                return Ok(Err(format!(
                    "refused: there is no secret {:?} in the grants",
                    wanted.name
                )));
            };
            match header(&wanted.header, &format!("{}{text}", wanted.before)) {
                Ok((name, mut value)) => {
                    value.set_sensitive(true);
                    secret.append(name, value);
                }
                Err(why) => return Ok(Err(why)),
            }
        }
        // Others may compute meanwhile.
        self.turn.end();
        Ok(outgoing.send(request, secret).await)
    }
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
