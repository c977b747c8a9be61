//! Asking servers, and whoever they send on to: nobody leads into the open, and who asks is said to the first one alone.
//!
//! The HTTP library could follow redirects itself. It would put the credentials of the first request back into the third
//! one, whoever is asked by then, and tell each server where the last one was.

use std::str;
use std::time::Duration;

use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use crate::wire::discovery::{is_here, is_safe};

/// Redirects in a row at most.
const MOST_REDIRECTS: usize = 10;

/// How long anybody who is asked may be silent.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Whoever is on the way could put in something else.
    #[error("a redirect goes over the network in the open")]
    Open,
    /// They lead in a circle, most likely.
    #[error("too many redirects")]
    TooMany,
    /// There is no URL in it.
    #[error("a redirect leads nowhere")]
    Nowhere,
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] reqwest::Error),
}

/// Asks servers.
pub(super) struct Web {
    /// For those of this machine. Plain HTTP is as good to them, but not by way of a proxy that is elsewhere.
    here: Client,
    /// For all others.
    there: Client,
}

impl Web {
    pub(super) fn new() -> reqwest::Result<Self> {
        let builder = || {
            Client::builder()
                .redirect(Policy::none())
                .read_timeout(PATIENCE)
                .connect_timeout(PATIENCE)
                .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            here: builder().no_proxy().build()?,
            there: builder().https_only(true).build()?,
        })
    }

    /// The answer of a server, or of the last one that it sent on to. `pass` says who asks: to the origin of this URL, as
    /// long as it sends on to itself, and to nobody after that.
    pub(super) async fn get(
        &self,
        mut url: Url,
        accept: &'static str,
        mut pass: Option<&HeaderValue>,
    ) -> Result<Response, AskError> {
        for _ in 0..=MOST_REDIRECTS {
            let client = if is_here(url.as_str()) { &self.here } else { &self.there };
            let mut request = client.get(url.clone()).header(ACCEPT, accept);
            if let Some(pass) = pass {
                request = request.header(AUTHORIZATION, pass);
            }
            let response = request.send().await?;
            let Some(next) = next(&url, &response)? else {
                return Ok(response);
            };
            if next.origin() != url.origin() {
                pass = None;
            }
            url = next;
        }
        Err(AskError::TooMany)
    }
}

/// Where an answer sends on to, if it does.
fn next(url: &Url, response: &Response) -> Result<Option<Url>, AskError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let place = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
    let place = place.and_then(|place| str::from_utf8(place).ok());
    let mut next = place.and_then(|place| url.join(place).ok()).ok_or(AskError::Nowhere)?;
    // Who asks is not for others to say.
    let _ = next.set_username("").and_then(|()| next.set_password(None));
    // Only what is on this machine may send on to this machine as openly as it may be asked itself.
    let is_good = is_safe(next.as_str()) && (next.scheme() == "https" || is_here(url.as_str()));
    if is_good { Ok(Some(next)) } else { Err(AskError::Open) }
}
