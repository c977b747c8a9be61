//! How the router itself gets a token for a backend over HTTP: the client-credentials grant.

use std::path::PathBuf;

use super::auth::{safe_url, scope_list};
use super::item::Item;
use super::read::Table;

/// `[backends.NAME.oauth]`: the router's own credentials for a server (RFC 6749, section 4.4).
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth {
    /// Where tokens are given out.
    pub server: TokenServer,
    /// Who the router is there.
    pub client_id: String,
    /// How it proves that.
    pub client_secret: Secret,
    /// How that goes there.
    pub client_auth: ClientAuth,
    /// What the token is to be good for.
    pub scopes: Vec<String>,
    /// Where it is to be used (RFC 8707).
    pub resource: Option<String>,
    /// The same for servers that have a word of their own for it.
    pub audience: Option<String>,
    /// Certificates of the authorities that are believed instead of the system's, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// Where tokens are given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenServer {
    /// There.
    Url(String),
    /// Where the metadata of this issuer says (RFC 8414).
    Issuer(String),
}

/// Something that nobody else must know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The file that it stands in, if it does.
    pub file: Option<PathBuf>,
    /// It.
    pub text: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// How a client proves who it is (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the header.
    Basic,
    /// In the form.
    Post,
}

/// Reads `[backends.NAME.oauth]`. What is wrong with it is noted; `None` then is never used.
pub(super) fn section(t: &mut Table<'_>) -> Option<OAuth> {
    let (url, issuer) = (t.take("token-url"), t.take("issuer"));
    let (text, file) = (t.take("client-secret"), t.take("client-secret-file"));
    t.require("client-id");
    let server = one_of(t, (&url, &issuer), "token-url` or `issuer");
    let server = match (server, &url) {
        (Some(item), Some(_)) => safe_url(item).map(TokenServer::Url),
        (Some(item), None) => safe_url(item).map(TokenServer::Issuer),
        (None, _) => None,
    };
    let secret = secret(t, (&text, &file), "client-secret` or `client-secret-file");
    let (mut client_id, mut client_auth, mut scopes) = (String::new(), ClientAuth::Basic, Vec::new());
    let (mut resource, mut audience, mut ca_file) = (None, None, None);
    t.read("client-id", &mut client_id, Item::expanded);
    t.read("client-auth", &mut client_auth, Item::word);
    t.read("scopes", &mut scopes, scope_list);
    t.read("resource", &mut resource, |item| item.expanded().map(Some));
    t.read("audience", &mut audience, |item| item.expanded().map(Some));
    t.read("ca-file", &mut ca_file, |item| item.path().map(Some));
    Some(OAuth {
        server: server?,
        client_id,
        client_secret: secret?,
        client_auth,
        scopes,
        resource,
        audience,
        ca_file,
    })
}

/// A secret that is either given as text or stands in a file.
pub(super) fn secret<'d>(
    t: &Table<'d>,
    (text, file): (&Option<Item<'d>>, &Option<Item<'d>>),
    keys: &str,
) -> Option<Secret> {
    match (one_of(t, (text, file), keys)?, text) {
        (item, Some(_)) => item.expanded().map(|text| Secret { file: None, text }),
        (item, None) => item.file().map(|(path, text)| Secret {
            file: Some(path),
            text: text.trim().to_owned(),
        }),
    }
}

/// The one of two that is given; anything else is noted.
fn one_of<'a, 'd>(
    t: &Table<'d>,
    (first, second): (&'a Option<Item<'d>>, &'a Option<Item<'d>>),
    keys: &str,
) -> Option<&'a Item<'d>> {
    match (first, second) {
        (Some(first), Some(second)) => second.fault(&format!("and {} exclude each other", first.label), None),
        (None, None) => {
            t.require(keys);
            None
        }
        (one, other) => one.as_ref().or(other.as_ref()),
    }
}
