//! A component of an OCI registry: its manifest, the one layer that is a component, and the token for both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use reqwest::{Response, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::login::Login;
use super::manifest::{self, Descriptor, Manifest};
use super::reference::{Reference, Which};
use super::web::{PATIENCE, Web};
use super::{FetchError, Fetched, body, clean};
use crate::config::{sha256_digest, sha256_of};
use crate::error::chain;
use crate::wire::discovery::is_safe;

/// Bytes of a manifest or of a token at most; registries take no larger manifests.
const MOST_WORDS: usize = 4 << 20;

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Fetches a component. `manifest` is the digest of the manifest that is meant, whatever the tag says.
pub(super) async fn fetch(from: &str, rest: &str, manifest: Option<&str>, most: usize) -> Result<Fetched, FetchError> {
    let wrong = |why: &str| FetchError::Reference(from.to_owned(), why.to_owned());
    let mut reference = Reference::of(rest).map_err(wrong)?;
    let is_tag = matches!(reference.which, Which::Tag(_));
    if let Some(manifest) = manifest.and_then(sha256_digest) {
        reference.which = Which::Digest(manifest);
    }
    let host = reference.host();
    // To this machine plain HTTP is as good; nobody else is asked in the open.
    let [local, secure] = ["http", "https"].map(|scheme| format!("{scheme}://{host}/v2/"));
    let base = if is_safe(&local) { local } else { secure };
    let base = Url::parse(&base).map_err(|error| wrong(&error.to_string()))?;
    let mut registry = Registry {
        from,
        reference: &reference,
        web: Web::new().map_err(|error| told(from, &error))?,
        base,
        pass: None,
        is_identity: false,
    };
    let (manifest, digest) = registry.manifest().await?;
    let fetched = registry.component(manifest.component(from)?, most).await?;
    Ok(Fetched {
        manifest: is_tag.then(|| format!("sha256:{digest}")),
        ..fetched
    })
}

/// One registry, asked for one reference.
struct Registry<'a> {
    from: &'a str,
    reference: &'a Reference,
    base: Url,
    web: Web,
    /// What says who asks, once it has wanted to know. Nobody else whom it sends on to gets it.
    pass: Option<HeaderValue>,
    /// Whether there is a login that cannot be used.
    is_identity: bool,
}

impl Registry<'_> {
    /// The manifest, with its SHA-256.
    async fn manifest(&mut self) -> Result<(Manifest, String), FetchError> {
        let response = self.get("manifests", &self.reference.which.word()).await?;
        let bytes = self.words(response).await?;
        let found = sha256_of(&bytes);
        if let Which::Digest(wanted) = &self.reference.which {
            self.is_same("manifest", wanted, &found)?;
        }
        let manifest = serde_json::from_slice(&bytes);
        let manifest = manifest.map_err(|error| self.refused(&format!("its manifest: {error}")))?;
        Ok((manifest, found))
    }

    /// The component in this layer.
    async fn component(&mut self, layer: &Descriptor, most: usize) -> Result<Fetched, FetchError> {
        let Some(wanted) = sha256_digest(&layer.digest) else {
            return Err(self.refused(&format!("the digest of its layer is {}, no sha256", layer.digest)));
        };
        let response = self.get("blobs", &format!("sha256:{wanted}")).await?;
        let bytes = body(response, most).await.map_err(|error| told(self.from, &error))?;
        let fetched = Fetched::of(bytes.ok_or_else(|| FetchError::TooLarge(self.from.to_owned(), most))?);
        self.is_same("component", &wanted, &fetched.sha256)?;
        Ok(fetched)
    }

    fn is_same(&self, what: &'static str, wanted: &str, found: &str) -> Result<(), FetchError> {
        if wanted == found {
            return Ok(());
        }
        Err(FetchError::Digest {
            reference: self.from.to_owned(),
            what,
            wanted: wanted.to_owned(),
            found: found.to_owned(),
        })
    }

    /// Gets something of the reference's name. Who asks is said when that is wanted, and only then.
    async fn get(&mut self, kind: &str, which: &str) -> Result<Response, FetchError> {
        let url = format!("{}{}/{kind}/{which}", self.base, self.reference.name);
        let url = Url::parse(&url).map_err(|error| self.refused(&error.to_string()))?;
        let mut response = self.send(&url, self.pass.as_ref()).await?;
        if let Some(challenge) = self.challenge(&response) {
            self.pass = Some(self.pass_for(challenge).await?);
            response = self.send(&url, self.pass.as_ref()).await?;
        }
        self.good(&url, response).await
    }

    /// How the registry asks who wants that, if it does and was not told. Others that it sent on to are told nothing.
    fn challenge(&self, response: &Response) -> Option<Challenge> {
        let is_the_registry = response.url().origin() == self.base.origin();
        if response.status() != StatusCode::UNAUTHORIZED || self.pass.is_some() || !is_the_registry {
            return None;
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
        Challenge::of(headers.filter_map(|value| value.to_str().ok()))
    }

    async fn send(&self, url: &Url, pass: Option<&HeaderValue>) -> Result<Response, FetchError> {
        let response = self.web.get(url.clone(), manifest::ACCEPTED, pass).await;
        response.map_err(|error| told(self.from, &error))
    }

    /// What to say to the registry.
    async fn pass_for(&mut self, challenge: Challenge) -> Result<HeaderValue, FetchError> {
        let login = Login::of(self.reference.login(), PATIENCE).await?;
        self.is_identity = login == Login::Identity;
        let basic = match login {
            Login::Password(name, password) => Some(self.header(&basic(&name, &password))?),
            // Much is for everybody.
            Login::Nobody | Login::Identity => None,
        };
        match (challenge, basic) {
            (Challenge::Bearer { realm, service }, basic) => self.token(&realm, service.as_deref(), basic).await,
            (Challenge::Basic, Some(basic)) => Ok(basic),
            (Challenge::Basic, None) if self.is_identity => Err(self.identity()),
            (Challenge::Basic, None) => Err(self.refused(&format!(
                "it wants to know who asks: `docker login {}`",
                self.reference.registry
            ))),
        }
    }

    /// A token to read with. The registry is not asked which rights it would like it to have.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        basic: Option<HeaderValue>,
    ) -> Result<HeaderValue, FetchError> {
        let in_the_open = || FetchError::Realm(self.from.to_owned(), clean(realm));
        let mut url = Url::parse(realm).map_err(|_| in_the_open())?;
        // Only a registry of this machine may have its tokens made here.
        if url.scheme() != "https" && !(self.base.scheme() == "http" && is_safe(url.as_str())) {
            return Err(in_the_open());
        }
        let scope = format!("repository:{}:pull", self.reference.name);
        let service = service.map(|service| ("service", service));
        url.query_pairs_mut()
            .extend_pairs(service.into_iter().chain([("scope", scope.as_str())]));
        let response = self.send(&url, basic.as_ref()).await?;
        let response = self.good(&url, response).await?;
        let unread = || self.refused("there is no token in the answer to who asks");
        let token: Token = serde_json::from_slice(&self.words(response).await?).map_err(|_| unread())?;
        let token = token.token.or(token.access_token).ok_or_else(unread)?;
        self.header(&format!("Bearer {token}"))
    }

    fn header(&self, value: &str) -> Result<HeaderValue, FetchError> {
        let value = HeaderValue::from_str(value);
        let mut value = value.map_err(|_| self.refused("its token is none that a header can have"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A text of the registry.
    async fn words(&self, response: Response) -> Result<Vec<u8>, FetchError> {
        let words = body(response, MOST_WORDS)
            .await
            .map_err(|error| told(self.from, &error))?;
        words.ok_or_else(|| {
            self.refused(&format!(
                "it says more than {MOST_WORDS} bytes where there should be less"
            ))
        })
    }

    /// An answer that is one; else why it is none, in the registry's words where it has some. `asked` was asked.
    async fn good(&self, asked: &Url, mut response: Response) -> Result<Response, FetchError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let is_for_some = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        // Whoever it sent on to knows of no login.
        let is_for_some = is_for_some && response.url().origin() == asked.origin();
        if is_for_some && self.is_identity {
            return Err(self.identity());
        }
        let host = response.url().host_str().unwrap_or_default().to_owned();
        let first = response.chunk().await.ok().flatten().unwrap_or_default();
        let words: serde_json::Value = serde_json::from_slice(&first).unwrap_or_default();
        let words = ["/errors/0/message", "/details"].map(|place| words.pointer(place).and_then(|w| w.as_str()));
        let words = words.into_iter().flatten().next().map(|words| format!(": {words}"));
        let mut why = clean(&format!("{host} answered with {status}{}", words.unwrap_or_default()));
        if is_for_some {
            why += &format!(
                "; if it is not for everybody: `docker login {}`",
                self.reference.registry
            );
        }
        Err(match status {
            StatusCode::NOT_FOUND => FetchError::Missing(self.from.to_owned(), why),
            _ => FetchError::Registry(self.from.to_owned(), why),
        })
    }

    /// The login might help, and cannot be used.
    fn identity(&self) -> FetchError {
        FetchError::Credentials(
            self.reference.registry.clone(),
            "there is an identity token, which is not supported: log in with a password or an access token".to_owned(),
        )
    }

    fn refused(&self, why: &str) -> FetchError {
        FetchError::Registry(self.from.to_owned(), clean(why))
    }
}

/// A connection that failed.
fn told(from: &str, error: &dyn std::error::Error) -> FetchError {
    FetchError::Registry(from.to_owned(), clean(&chain(error)))
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}
