//! What authorization servers say of themselves: where their metadata is, and what stands in there.

use serde_json::Value;

/// Where the metadata of an issuer may be: RFC 8414, section 3.1, and OpenID Connect Discovery 1.0, section 4.
pub fn places(issuer: &str) -> Vec<String> {
    let issuer = issuer.trim_end_matches('/');
    let path = issuer
        .find("://")
        .and_then(|at| issuer[at + 3..].find('/').map(|p| at + 3 + p));
    let (origin, path) = issuer.split_at(path.unwrap_or(issuer.len()));
    let mut places = vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}{path}/.well-known/openid-configuration"),
    ];
    if !path.is_empty() {
        // What older servers have, and newer clients look for as well.
        places.push(format!("{origin}/.well-known/openid-configuration{path}"));
    }
    places
}

/// Whether a document is metadata at all: some servers have a page, with status 200, wherever there is nothing.
pub fn is_metadata(document: &[u8]) -> bool {
    serde_json::from_slice(document).is_ok_and(|value: Value| value.get("issuer").is_some())
}

/// One URL out of the metadata of `issuer`, which must name itself (RFC 8414, section 3.3).
pub fn endpoint(metadata: &[u8], issuer: &str, key: &str) -> Result<String, String> {
    let metadata: Value = serde_json::from_slice(metadata).map_err(|e| format!("its metadata is not JSON: {e}"))?;
    let said = metadata.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if said != issuer {
        return Err(format!("its metadata is that of another issuer, {said:?}"));
    }
    let url = metadata.get(key).and_then(Value::as_str);
    let url = url.ok_or_else(|| format!("its metadata has no {key}"))?;
    // On this machine plain HTTP is as good, but for what is elsewhere nothing here can speak.
    match is_safe(url) && (is_secure(url) || is_here(issuer)) {
        true => Ok(url.to_owned()),
        false => Err(format!("its {key} is no https:// URL")),
    }
}

fn is_secure(url: &str) -> bool {
    url.parse::<http::Uri>()
        .is_ok_and(|url| url.scheme_str() == Some("https"))
}

/// Whether a URL leads to this machine.
pub fn is_here(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|url| host_is_here(host(&url)))
}

fn host(url: &http::Uri) -> &str {
    url.host().unwrap_or_default().trim_matches(['[', ']'])
}

fn host_is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether keys and credentials may be fetched from a URL: whoever is on the way of plain HTTP could put in its own.
pub fn is_safe(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else {
        return false;
    };
    let host = host(&url);
    match url.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => host_is_here(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_the_issuer_has_a_path_too() {
        assert_eq!(
            places("https://id.example/"),
            [
                "https://id.example/.well-known/oauth-authorization-server",
                "https://id.example/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            places("https://id.example/realms/a"),
            [
                "https://id.example/.well-known/oauth-authorization-server/realms/a",
                "https://id.example/realms/a/.well-known/openid-configuration",
                "https://id.example/.well-known/openid-configuration/realms/a"
            ]
        );
    }

    #[test]
    fn metadata_of_another_issuer_or_without_a_safe_url_is_refused() {
        let of = |text: &str| endpoint(text.as_bytes(), "https://a.example", "jwks_uri");
        let good = r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/keys"}"#;
        assert_eq!(of(good).as_deref(), Ok("https://a.example/keys"));
        assert!(
            of(&good.replacen("a.example", "b.example", 1))
                .unwrap_err()
                .contains("another issuer")
        );
        assert!(of(&good.replace("https://a.example/keys", "http://a.example/keys")).is_err());
        assert!(
            of(r#"{"issuer":"https://a.example"}"#)
                .unwrap_err()
                .contains("no jwks_uri")
        );
        assert!(of("<html>").is_err());
        // What is on this machine is for what is on this machine.
        let here = good.replace("https://a.example/keys", "http://127.0.0.1:9/keys");
        assert!(of(&here).unwrap_err().contains("no https:// URL"));
        let both = here.replace("https://a.example", "http://localhost");
        assert!(endpoint(both.as_bytes(), "http://localhost", "jwks_uri").is_ok());
        assert!(is_metadata(good.as_bytes()));
        assert!(!is_metadata(b"<html>") && !is_metadata(b"\"no\"") && !is_metadata(b"{\"status\":\"fine\"}"));
        assert!(is_safe("http://127.0.0.1:9/x") && is_safe("http://[::1]/x") && !is_safe("file:///x"));
    }
}
