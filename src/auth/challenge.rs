//! What is said to those who may not: status, challenge (RFC 6750, section 3), and the metadata that lets a client find
//! out how to get a token (RFC 9728).

use http::StatusCode;
use serde_json::json;

/// Where the metadata of a resource is: this, and the path of the resource behind it (RFC 9728, section 3.1).
pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Seconds after which another try may end otherwise, where nobody can tell now.
const AGAIN: u32 = 1;

/// A request that is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// 400, 401, 403, or 503 where nobody can tell.
    pub status: StatusCode,
    /// The value of `WWW-Authenticate`.
    pub challenge: Option<String>,
    /// The value of `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// Why, for people.
    pub why: String,
}

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// There is no token.
    Token,
    /// It cannot be told which token is meant.
    Form(&'static str),
    /// The token is not good here.
    Good(&'static str),
    /// The token is good, and not for this.
    Scope,
    /// It cannot be told now. Why is for the log: who asks has proved nothing yet.
    Unsure,
}

/// What a challenge speaks of.
pub(super) struct Resource<'a> {
    /// Scheme and host; `None` where nobody said which.
    pub(super) base: Option<&'a str>,
    /// The path.
    pub(super) path: &'a str,
    /// The scopes that a token must have.
    pub(super) scopes: &'a [String],
}

impl Resource<'_> {
    /// Its identifier (RFC 8707, section 2).
    pub(super) fn url(&self) -> Option<String> {
        Some(format!("{}{}", self.base?, self.path))
    }

    /// The refusal that fits.
    pub(super) fn refuse(&self, lack: Lack) -> Refused {
        let (status, error, why) = match lack {
            Lack::Token => (
                StatusCode::UNAUTHORIZED,
                None,
                "a bearer token is needed here".to_owned(),
            ),
            Lack::Form(why) => (StatusCode::BAD_REQUEST, Some("invalid_request"), why.to_owned()),
            Lack::Good(why) => (StatusCode::UNAUTHORIZED, Some("invalid_token"), why.to_owned()),
            Lack::Scope => {
                let why = format!("the token needs the scopes: {}", self.scopes.join(" "));
                (StatusCode::FORBIDDEN, Some("insufficient_scope"), why)
            }
            Lack::Unsure => {
                return Refused {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    challenge: None,
                    retry_after: Some(AGAIN),
                    why: "tokens cannot be checked now".to_owned(),
                };
            }
        };
        let mut parts = Vec::new();
        if let Some(error) = error {
            parts.push(format!("error=\"{error}\""));
            parts.push(format!("error_description=\"{why}\""));
        }
        if let Some(base) = self.base {
            parts.push(format!("resource_metadata=\"{base}{WELL_KNOWN}{}\"", self.path));
        }
        if !self.scopes.is_empty() {
            parts.push(format!("scope=\"{}\"", self.scopes.join(" ")));
        }
        let parameters = match parts.is_empty() {
            true => String::new(),
            false => format!(" {}", parts.join(", ")),
        };
        Refused {
            status,
            challenge: Some(format!("Bearer{parameters}")),
            retry_after: None,
            why,
        }
    }

    /// The metadata document (RFC 9728, section 2).
    pub(super) fn metadata(&self, issuer: Option<&str>) -> Option<String> {
        let mut document = json!({
            "resource": self.url()?,
            "bearer_methods_supported": ["header"],
            "resource_name": "Pointsman",
        });
        if let Some(issuer) = issuer {
            document["authorization_servers"] = json!([issuer]);
        }
        if !self.scopes.is_empty() {
            document["scopes_supported"] = json!(self.scopes);
        }
        Some(document.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lack_has_its_status_and_challenge() {
        let scopes = ["a".to_owned(), "b:c".to_owned()];
        let resource = Resource {
            base: Some("https://h.example"),
            path: "/mcp/x",
            scopes: &scopes,
        };
        let rest =
            "resource_metadata=\"https://h.example/.well-known/oauth-protected-resource/mcp/x\", scope=\"a b:c\"";
        for (lack, status, error) in [
            (Lack::Token, 401, None),
            (Lack::Form("x"), 400, Some(("invalid_request", "x"))),
            (Lack::Good("y"), 401, Some(("invalid_token", "y"))),
            (
                Lack::Scope,
                403,
                Some(("insufficient_scope", "the token needs the scopes: a b:c")),
            ),
        ] {
            let refused = resource.refuse(lack);
            let error = error.map_or_else(String::new, |(error, why)| {
                format!("error=\"{error}\", error_description=\"{why}\", ")
            });
            assert_eq!(refused.status.as_u16(), status);
            assert_eq!(refused.challenge.unwrap(), format!("Bearer {error}{rest}"));
        }
        let unknown = resource.refuse(Lack::Unsure);
        assert_eq!((unknown.status.as_u16(), unknown.challenge), (503, None));
        assert_eq!(unknown.retry_after, Some(1));
        let bare = Resource {
            base: None,
            path: "/mcp",
            scopes: &[],
        };
        assert_eq!(bare.refuse(Lack::Token).challenge.as_deref(), Some("Bearer"));
    }
}
