//! Backends over HTTP in TOML: what is read, what is told, what is shown.

use std::path::PathBuf;
use std::time::Duration;

use insta::assert_snapshot;

use super::super::{Place, Secrets, Transport, diff, show};
use super::{problems, toml};

#[test]
fn every_url_is_a_target() {
    let config = toml(
        r#"
[backend-defaults]
env = { A = "b" }
replicas = 3
[backends.one]
url = "https://tools.example/mcp"
headers = { Authorization = "Bearer ${TOKEN}" }
[backends.two]
urls = ["http://10.0.0.1:8080/mcp?key=k1", "http://10.0.0.2:8080/mcp"]
transport = "http"
connect-timeout = "2s"
ca-file = "ca.pem"
[backends.local]
unix-socket = "run/mcp.sock"
path = "/x"
transport = "sse"
"#,
    )
    .config;
    let one = &config.backends["one"];
    let remote = one.remote.as_ref().unwrap();
    assert_eq!((one.replicas, one.env.len()), (1, 0));
    assert_eq!(remote.headers["Authorization"], "Bearer t0k");
    assert_eq!(
        (remote.transport, remote.connect_timeout),
        (Transport::Auto, Duration::from_secs(5))
    );
    let two = &config.backends["two"];
    let remote = two.remote.as_ref().unwrap();
    assert_eq!(two.replicas, 2);
    assert_eq!(remote.address(0), "http://10.0.0.1:8080/mcp");
    assert_eq!(remote.ca_file, Some(PathBuf::from("/etc/p/ca.pem")));
    let local = config.backends["local"].remote.as_ref().unwrap();
    assert_eq!(
        local.place,
        Place::Socket {
            socket: PathBuf::from("/etc/p/run/mcp.sock"),
            path: "/x".to_owned()
        }
    );
    assert_eq!(local.address(0), "unix:/etc/p/run/mcp.sock/x");
    let shown = show(&config, Secrets::Masked);
    assert!(!shown.contains("t0k") && !shown.contains("k1"), "{shown}");
    assert!(
        shown.contains(r#"headers = { "Authorization" = "********" }"#),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_is_told() {
    assert_snapshot!(problems(r#"
[backends.both]
command = "x"
url = "http://x/"
[backends.three]
url = "http://x/"
urls = ["http://x/"]
unix-socket = "/x"
[backends.none]
urls = []
[backends.bad]
urls = ["x", "http://", "ws://x/", "http://a:b@x/"]
transport = "tcp"
connect-timeout = "0s"
path = "/mcp"
headers = { Host = "x", "a b" = "c", X = "a\nb", Y = "${GONE}" }
[backends.program]
command = "x"
headers = { A = "b" }
[backends.socket]
unix-socket = "/x"
path = "mcp"
replicas = 2
"#), @r#"
    pointsman.toml:3:1: `command` in [backends.both]: the server is somewhere else, and has a target for each of its URLs
    pointsman.toml:7:8: `urls` and `url` exclude each other
    pointsman.toml:8:15: `unix-socket` and `url` exclude each other
    pointsman.toml:10:8: `urls` must have from 1 to 64 items
    pointsman.toml:12:9: item 1 of `urls` is no URL of a server: `x`; it begins with http:// or https://
    pointsman.toml:12:14: item 2 of `urls` is no URL of a server: `http://`; write it like "https://tools.example/mcp"
    pointsman.toml:12:25: item 3 of `urls` is no URL of a server: `ws://x/`; it begins with http:// or https://
    pointsman.toml:12:36: item 4 of `urls` is no URL of a server: `http://a:b@x/`; credentials belong into `headers`, not into the URL
    pointsman.toml:13:13: `transport` cannot be `tcp`; known: `auto`, `http`, `sse`
    pointsman.toml:14:19: `connect-timeout` must be from 1ms to 1h
    pointsman.toml:15:1: `path` in [backends.bad]: it belongs to a `unix-socket`; a URL has its own
    pointsman.toml:16:1: the header `Host` is written by the router itself
    pointsman.toml:16:1: the header `X` has a value with characters that no header may have
    pointsman.toml:16:1: the header `a b` is no name of a header
    pointsman.toml:16:54: `Y`: the environment variable `GONE` is not set; set it, or give a default: `${GONE:-}`
    pointsman.toml:19:1: `headers` in [backends.program]: it belongs to a `url`
    pointsman.toml:22:8: `path` is no path of a URL: `mcp`; write it like "/mcp"
    pointsman.toml:23:1: `replicas` in [backends.socket]: the server is somewhere else, and has a target for each of its URLs
    "#);
}

#[test]
fn the_router_itself_is_no_backend() {
    let own = |listen: &str, url: &str| {
        problems(&format!(
            "[listen]\naddress = \"{listen}\"\n[backends.a]\nurl = \"{url}\"\n[backends.b]\nfault = 1\n"
        ))
        .contains("is this router")
    };
    assert!(own("127.0.0.1:7400", "http://localhost:7400/mcp"));
    assert!(own("0.0.0.0:80", "http://[::1]/mcp/git"));
    assert!(own("10.1.2.3:7400", "http://10.1.2.3:7400/mcp"));
    assert!(!own("127.0.0.1:7400", "http://localhost:7401/mcp"));
    assert!(!own("127.0.0.1:7400", "http://other.example:7400/mcp"));
}

#[test]
fn another_place_or_other_headers_are_another_server() {
    let text = |more: &str| toml(&format!("[backends.a]\nurl = \"http://x/\"\n{more}\n")).config;
    let before = text("");
    for more in [
        "headers = { A = \"b\" }",
        "transport = \"http\"",
        "connect-timeout = \"1s\"",
    ] {
        assert_eq!(diff(&before, &text(more)).backends_respawn, ["a"], "{more}");
    }
    let two = toml("[backends.a]\nurls = [\"http://x/\", \"http://y/\"]\n").config;
    let changes = diff(&before, &two);
    assert_eq!(
        (changes.backends_respawn, changes.replicas_changed),
        (vec!["a".to_owned()], vec!["a".to_owned()])
    );
    assert!(diff(&before, &text("")).is_empty());
}

#[test]
fn credentials_that_others_can_read_are_warned_of() {
    let told = |url: &str, more: &str| {
        let text = format!("[backends.a]\n{url}\n{more}\n");
        let loaded = toml(&text);
        let told: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        told.join("\n")
    };
    let headers = "headers = { Authorization = \"Bearer x\" }";
    let oauth =
        "[backends.a.oauth]\ntoken-url = \"https://id.example/token\"\nclient-id = \"a\"\nclient-secret = \"b\"";
    let open = "urls = [\"http://localhost/mcp\", \"HTTP://tools.example/mcp\"]";
    assert_snapshot!(told(open, headers), @"/etc/p/pointsman.toml:3:1: `headers` of [backends.a] goes over plain HTTP, where others can read it; give the URL as https://");
    assert_snapshot!(told(open, oauth), @"/etc/p/pointsman.toml:3:13: `oauth` of [backends.a] goes over plain HTTP, where others can read it; give the URL as https://");
    assert_eq!(told(open, ""), "");
    for url in [
        "https://tools.example/mcp",
        "http://127.0.0.1:1/mcp",
        "http://[::1]/mcp",
    ] {
        assert_eq!(told(&format!("url = \"{url}\""), headers), "");
    }
    assert_eq!(told("unix-socket = \"/x\"", headers), "");
}
