//! Where a location leads that a server names: to its own origin, or nowhere.

use http::Uri;

/// Where `location` leads from `base`; `None` where that is no URL, or on another origin: credentials stay where they
/// were meant for.
pub(super) fn within(base: &Uri, location: &str) -> Option<Uri> {
    let authority = base.authority()?;
    let port = |uri: &Uri| {
        uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            _ => Some(80),
        })
    };
    if location.contains("://") {
        let other: Uri = location.parse().ok()?;
        let same = other.scheme_str() == base.scheme_str()
            && other.host().is_some_and(|h| h.eq_ignore_ascii_case(authority.host()))
            && port(&other) == port(base)
            && !other.authority().is_some_and(|a| a.as_str().contains('@'));
        return same.then_some(other);
    }
    if location.starts_with("//") || location.split(['/', '?']).any(|part| part == "..") {
        return None;
    }
    let path = match location.as_bytes().first() {
        Some(b'/') => location.to_owned(),
        Some(b'?') => format!("{}{location}", base.path()),
        _ => format!("{}{location}", &base.path()[..=base.path().rfind('/')?]),
    };
    let parts = Uri::builder()
        .scheme(base.scheme()?.clone())
        .authority(authority.clone());
    parts.path_and_query(path).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_stays_on_its_origin() {
        let base: Uri = "http://h.example:80/a/sse?x=1".parse().unwrap();
        let to = |location| within(&base, location).map(|uri| uri.to_string());
        assert_eq!(to("/m?s=1").as_deref(), Some("http://h.example:80/m?s=1"));
        assert_eq!(to("m/").as_deref(), Some("http://h.example:80/a/m/"));
        assert_eq!(to("?s=1").as_deref(), Some("http://h.example:80/a/sse?s=1"));
        assert_eq!(to("http://H.example/m").as_deref(), Some("http://H.example/m"));
        for other in [
            "https://h.example/m",
            "http://h.example:81/m",
            "http://evil.example/m",
            "http://u@h.example/m",
            "//evil.example/m",
            "../m",
            "http://",
        ] {
            assert_eq!(to(other), None, "{other}");
        }
    }
}
