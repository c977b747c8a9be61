//! Which `Host` and `Origin` may talk to us: the defence against DNS rebinding.
//!
//! A page of another site can make a browser send requests here, under that site's name once its DNS points
//! here. It cannot choose `Host` and `Origin`, so these two decide. Nothing is allocated per request.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

use super::reply::Refusal;
use crate::config::Listen;

/// A host name, an IPv4 address or a bracketed IPv6 address, and the port if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Authority<'a> {
    name: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None` for what is no authority. User names before an `@` are none of a `Host`.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let name_end = if text.starts_with(b"[") {
            memchr::memchr(b']', text)? + 1
        } else {
            memchr::memchr(b':', text).unwrap_or(text.len())
        };
        let (name, rest) = text.split_at(name_end);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte) || !byte.is_ascii();
        if name.is_empty() || !name.iter().all(plain) {
            return None;
        }
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        Some(Self { name, port })
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    let mut port = 0_u32;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        port = port * 10 + u32::from(digit - b'0');
    }
    u16::try_from(port).ok()
}

#[derive(Debug)]
struct Allowed {
    name: Box<[u8]>,
    /// `None`: any.
    port: Option<u16>,
}

impl Allowed {
    fn named(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// The lists, made once.
#[derive(Debug)]
pub(super) struct Hosts {
    port: u16,
    own: Vec<Box<[u8]>>,
    allowed: Vec<Allowed>,
    origins: Vec<Box<[u8]>>,
}

impl Hosts {
    /// The lists for a listener bound to `local`. On loopback, and on all interfaces, the usual names of loopback are
    /// ours: no site can have its DNS answer for them. On any other address only the address itself is, and what the
    /// configuration allows.
    pub(super) fn new(local: SocketAddr, listen: &Listen) -> Self {
        let bytes = |text: &str| text.as_bytes().into();
        let mut own = vec![bytes(&match local.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        })];
        if local.ip().is_loopback() || local.ip().is_unspecified() {
            own.extend(["localhost", "127.0.0.1", "[::1]"].map(bytes));
        }
        let allowed = listen
            .allowed_hosts
            .iter()
            .map(|host| match Authority::parse(host.as_bytes()) {
                Some(Authority { name, port }) => Allowed {
                    name: name.into(),
                    port,
                },
                // Equal to no host that is asked for; the configuration's own check should have said so.
                None => Allowed {
                    name: bytes(host),
                    port: None,
                },
            });
        Self {
            port: local.port(),
            own,
            allowed: allowed.collect(),
            origins: listen.allowed_origins.iter().map(|origin| bytes(origin)).collect(),
        }
    }

    /// Refuses requests that another site's page may have caused.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Refusal::BadHost);
        };
        self.check_host(host.as_bytes())?;
        // `GET http://HOST/path`, as if to a proxy: then that host is the one that counts.
        if let Some(authority) = uri.authority() {
            self.check_host(authority.as_str().as_bytes())?;
        }
        if headers
            .get_all(ORIGIN)
            .iter()
            .any(|origin| !self.is_origin(origin.as_bytes()))
        {
            return Err(Refusal::ForeignOrigin);
        }
        Ok(())
    }

    fn check_host(&self, host: &[u8]) -> Result<(), Refusal> {
        let Authority { name, port } = Authority::parse(host).ok_or(Refusal::BadHost)?;
        let own = port.is_none_or(|port| port == self.port) && self.is_own(name);
        let allowed = |allowed: &Allowed| allowed.named(name) && (allowed.port.is_none() || allowed.port == port);
        if own || self.allowed.iter().any(allowed) {
            Ok(())
        } else {
            Err(Refusal::ForeignHost)
        }
    }

    /// A page that one of our hosts serves, on whatever port, or one that is listed.
    fn is_origin(&self, origin: &[u8]) -> bool {
        let host = strip(origin, b"http://").or_else(|| strip(origin, b"https://"));
        let known = host
            .and_then(Authority::parse)
            .is_some_and(|Authority { name, .. }| self.is_own(name) || self.allowed.iter().any(|a| a.named(name)));
        known || self.origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin))
    }

    fn is_own(&self, name: &[u8]) -> bool {
        self.own.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

fn strip<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &str) -> Hosts {
        let listen = Listen {
            allowed_hosts: vec!["mcp.example.com".to_owned(), "pinned.example.com:8443".to_owned()],
            allowed_origins: vec!["https://app.example.org".to_owned(), "null".to_owned()],
            ..Listen::default()
        };
        Hosts::new(address.parse().unwrap(), &listen)
    }

    fn check(hosts: &Hosts, host: &str, origin: Option<&str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        hosts.check(&Uri::from_static("/mcp"), &headers)
    }

    #[test]
    fn loopback_knows_its_names() {
        let hosts = hosts("127.0.0.1:7400");
        for host in [
            "127.0.0.1:7400",
            "127.0.0.1",
            "localhost:7400",
            "LocalHost",
            "[::1]:7400",
            "[::1]",
        ] {
            assert_eq!(check(&hosts, host, None), Ok(()), "{host}");
        }
        for host in ["mcp.example.com", "MCP.example.com:443", "pinned.example.com:8443"] {
            assert_eq!(check(&hosts, host, None), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost:7401",
            "127.0.0.1.evil.example",
            "pinned.example.com",
            "0.0.0.0:7400",
        ] {
            assert_eq!(check(&hosts, host, None), Err(Refusal::ForeignHost), "{host}");
        }
        for host in [
            "",
            ":7400",
            "localhost:",
            "localhost:x",
            "localhost:70000",
            "[::1",
            "[::1]x",
            "a@localhost",
            "a b",
        ] {
            assert_eq!(check(&hosts, host, None), Err(Refusal::BadHost), "{host}");
        }
    }

    #[test]
    fn all_interfaces_are_reached_by_the_local_names_too() {
        for address in ["0.0.0.0:7400", "[::]:7400"] {
            let hosts = hosts(address);
            for host in ["localhost:7400", "127.0.0.1:7400", "[::1]:7400", "mcp.example.com"] {
                assert_eq!(check(&hosts, host, None), Ok(()), "{address} {host}");
            }
            assert_eq!(check(&hosts, "evil.example", None), Err(Refusal::ForeignHost));
        }
    }

    #[test]
    fn other_addresses_have_no_local_names() {
        let four = hosts("192.0.2.7:7400");
        assert_eq!(check(&four, "192.0.2.7:7400", None), Ok(()));
        assert_eq!(check(&four, "mcp.example.com", None), Ok(()));
        assert_eq!(check(&four, "localhost:7400", None), Err(Refusal::ForeignHost));
        let six = hosts("[2001:db8::1]:7400");
        assert_eq!(check(&six, "[2001:DB8::1]:7400", None), Ok(()));
        assert_eq!(check(&six, "127.0.0.1:7400", None), Err(Refusal::ForeignHost));
    }

    #[test]
    fn origins_of_our_hosts_on_any_port_and_listed_ones() {
        let hosts = hosts("127.0.0.1:7400");
        for origin in [
            "http://localhost:3000",
            "https://127.0.0.1",
            "HTTP://LOCALHOST:7400",
            "http://[::1]:1",
        ] {
            assert_eq!(check(&hosts, "localhost", Some(origin)), Ok(()), "{origin}");
        }
        for origin in ["https://mcp.example.com", "https://app.example.org", "null"] {
            assert_eq!(check(&hosts, "localhost", Some(origin)), Ok(()), "{origin}");
        }
        for origin in [
            "http://evil.example",
            "ftp://localhost",
            "http://localhost@evil",
            "http://",
            "localhost",
            "",
        ] {
            assert_eq!(
                check(&hosts, "localhost", Some(origin)),
                Err(Refusal::ForeignOrigin),
                "{origin}"
            );
        }
    }

    #[test]
    fn missing_and_contradicting_hosts() {
        let hosts = hosts("127.0.0.1:7400");
        let mut headers = HeaderMap::new();
        assert_eq!(hosts.check(&Uri::from_static("/mcp"), &headers), Err(Refusal::BadHost));
        headers.append(HOST, "localhost".parse().unwrap());
        let proxied = Uri::from_static("http://evil.example/mcp");
        assert_eq!(hosts.check(&proxied, &headers), Err(Refusal::ForeignHost));
        headers.append(HOST, "evil.example".parse().unwrap());
        assert_eq!(hosts.check(&Uri::from_static("/mcp"), &headers), Err(Refusal::BadHost));
    }
}
