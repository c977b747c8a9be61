//! Who may call: what is refused, what is warned of, and what a change of it takes.

use insta::assert_snapshot;

use super::super::*;
use super::{problems, toml};

#[test]
fn mistakes_are_told_at_their_places() {
    assert_snapshot!(problems(r#"
[listen]
auth = "peple"
public-url = "https://router.example/mcp"
tls = { cert = "cert.pem" }
[auth.none]
tokens = {}
[auth.empty]
[auth.people]
issuer = "http://id.example"
tokens = {}
leeway = "1h"
algorithms = ["HS256", "none"]
[auth.other]
issuer = "https://id.example"
jwks = "https://id.example/keys"
jwks-file = "keys.json"
scopes = ["a b"]
[auth.ci]
audience = ["x"]
[auth.ci.tokens.short]
token = "0123456789"
[auth.ci.tokens.two]
token = "0123456789abcdef"
file = "token"
[auth.ci.tokens.odd]
token = "0123456789 abcdef"
[auth.ci.tokens.gone]
file = "/nowhere"
[auth.ci.tokens.hash]
sha256 = "abc"
[auth.ci.tokens.nothing]
[endpoints.x]
auth = "nobody"
[endpoints.y]
auth = "none"
scopes = ["admin"]
[backends.a]
url = "https://a.example/mcp"
headers = { authorization = "Bearer x" }
[backends.a.oauth]
token-url = "http://id.example/token"
issuer = "https://id.example"
[backends.b]
url = "https://b.example/mcp"
[backends.b.oauth]
token-url = "https://id.example/token"
client-id = "x"
client-auth = "digest"
client-secret = "${NOT_THERE}"
"#), @r##"
    pointsman.toml:3:1: there is no [auth.peple] for [listen]; did you mean `people`?
    pointsman.toml:4:14: `public-url` is no scheme with a host: `https://router.example/mcp`; write it like "https://router.example"
    pointsman.toml:5:1: `key` is missing in [listen.tls]
    pointsman.toml:6:7: no [auth] can be named `none`; `none` stands for no authentication at all
    pointsman.toml:8:7: `tokens` or `issuer` is missing in [auth.empty]
    pointsman.toml:10:10: `issuer` must begin with https://; plain HTTP is for loopback
    pointsman.toml:11:1: `tokens` in [auth.people]: there is an `issuer`
    pointsman.toml:12:10: `leeway` must be from 0s to 10m
    pointsman.toml:13:15: item 1 of `algorithms` cannot be `HS256`; known: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`
    pointsman.toml:13:24: item 2 of `algorithms` cannot be `none`; known: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`
    pointsman.toml:16:8: `jwks` and `jwks-file` exclude each other
    pointsman.toml:18:11: item 1 of `scopes` is no scope: `a b`; write it like "tools:call"
    pointsman.toml:20:1: `audience` in [auth.ci]: it belongs to an `issuer`
    pointsman.toml:22:9: `token` is shorter than 16 characters; `openssl rand -hex 32` makes a good one
    pointsman.toml:25:8: `file` and `token` exclude each other
    pointsman.toml:27:9: `token` has characters that no token may have; letters, digits and -._~+/ can go into a header, and = at the end
    pointsman.toml:29:8: `file` cannot be read: /nowhere (entity not found)
    pointsman.toml:31:10: `sha256` must be 64 hexadecimal digits
    pointsman.toml:32:17: `token`, `file` or `sha256` is missing in [auth.ci.tokens.nothing]
    pointsman.toml:34:1: there is no [auth.nobody] for [endpoints.x]; known: `ci`, `empty`, `none`, `other`, `people`
    pointsman.toml:37:1: `scopes` of [endpoints.y] are not asked for: it has no `auth`
    pointsman.toml:41:13: `client-id` is missing in [backends.a.oauth]
    pointsman.toml:41:13: `client-secret` or `client-secret-file` is missing in [backends.a.oauth]
    pointsman.toml:43:10: `issuer` and `token-url` exclude each other
    pointsman.toml:49:15: `client-auth` cannot be `digest`; known: `basic`, `post`
    pointsman.toml:50:17: `client-secret`: the environment variable `NOT_THERE` is not set; set it, or give a default: `${NOT_THERE:-}`
    "##);
}

#[test]
fn an_open_mcp_beside_a_closed_endpoint_is_warned_of() {
    let text = "[auth.ci]\ntokens = {}\n[auth.idle]\ntokens = {}\n[endpoints.x]\nauth = \"ci\"\n[backends.a]\ncommand = \"a\"\n";
    let told: Vec<String> = toml(text).warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(told.join("\n"), @r##"
    /etc/p/pointsman.toml:3:7: [auth.idle] is asked nowhere; name it as `auth` in [listen], or in an endpoint
    /etc/p/pointsman.toml:6:1: [endpoints.x] asks for a token, and `/mcp` does not; set `auth` in [listen], and `auth = "none"` where everybody may
    "##);
    assert_eq!(toml(&format!("{text}[listen]\nauth = \"idle\"\n")).warnings, []);
}

#[test]
fn beyond_loopback_tokens_of_an_issuer_are_for_a_name_that_no_client_chooses() {
    let text = |listen: &str, more: &str| {
        format!(
            "[listen]\n{listen}\nauth = \"people\"\n[auth.people]\nissuer = \"https://id.example\"\n{more}\n\
             [backends.a]\ncommand = \"a\"\n"
        )
    };
    assert_snapshot!(problems(&text("address = \"0.0.0.0:7400\"", "")), @"pointsman.toml:4:7: [auth.people] has no `audience`, and the router no name: 0.0.0.0:7400 is no loopback address; set `public-url` in [listen] to what agents know it by");
    assert!(problems(&text("address = \"192.0.2.1:7400\"", "")).contains("[auth.people]"));
    let named = "address = \"0.0.0.0:7400\"\npublic-url = \"https://router.example\"";
    for good in [
        text(named, ""),
        text("address = \"[::]:7400\"", "audience = [\"api\"]"),
        text("address = \"127.0.0.1:7400\"", ""),
        text("address = \"[::ffff:127.0.0.1]:7400\"", ""),
    ] {
        assert_eq!(toml(&good).warnings, [], "{good}");
    }
    // What another address on the command line makes of it.
    let config = toml(&text("address = \"127.0.0.1:7400\"", "")).config;
    assert_eq!(nameless(&config).count(), 0);
    let mut elsewhere = config;
    elsewhere.listen.address = "0.0.0.0:7400".parse().unwrap();
    assert_eq!(nameless(&elsewhere).collect::<Vec<_>>(), ["people"]);
}

#[test]
fn who_may_call_changes_without_a_restart_and_tls_does_not() {
    let base = "[auth.ci]\ntokens = {}\n[listen]\n";
    let config = |more: &str| toml(&format!("{base}{more}")).config;
    let old = config("");
    for more in ["auth = \"ci\"\n", "public-url = \"https://x.example\"\n"] {
        let changes = diff(&old, &config(more));
        assert!(changes.auth_changed && changes.needs_restart().is_empty(), "{more}");
    }
    let changes = diff(&old, &config("tls = { cert = \"c\", key = \"k\" }\n"));
    assert_eq!(changes.needs_restart(), ["[listen]"]);
    assert!(!changes.auth_changed);
}

#[test]
fn secrets_are_neither_kept_nor_shown() {
    let loaded = toml(
        "[auth.ci.tokens.a]\ntoken = \"${TOKEN}-0123456789abcdef\"\n[listen]\nauth = \"ci\"\n[backends.a]\n\
         url = \"https://a.example/mcp\"\noauth = { token-url = \"https://a.example/t\", client-id = \"me\", client-secret = \"s3cret\" }\n",
    );
    let shown = show(&loaded.config, Secrets::Shown);
    assert!(
        shown.contains("client-secret = \"s3cret\"") && !shown.contains("t0k-"),
        "{shown}"
    );
    let all = format!("{:?}", loaded.config) + &show(&loaded.config, Secrets::Masked);
    assert!(!all.contains("t0k-") && !all.contains("s3cret"), "{all}");
}
