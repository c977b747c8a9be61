//! `mcpServers` files as clients write them.

use std::path::PathBuf;

use insta::assert_snapshot;

use super::super::{Place, Remote, Transport};
use super::{client, client_problems};
use crate::policy::Hook;

#[test]
fn a_file_of_claude_desktop_or_cursor_gives_its_backends() {
    let loaded = client(
        r#"{
  "globalShortcut": "",
  "preferences": { "x": [1, null] },
  "mcpServers": {
    "files": { "command": "npx", "args": ["-y", "${HOME}/d"], "env": { "T": "${env:TOKEN}" }, "autoApprove": ["x"] },
    "local": { "type": "stdio", "command": "./bin/server", "cwd": "~/src", "disabled": false, "args": null },
    "bad name, but off": { "url": "https://example.com", "disabled": true }
  }
}"#,
    );
    let config = loaded.config;
    assert_eq!(config.backends.keys().collect::<Vec<_>>(), ["files", "local"]);
    let files = &config.backends["files"];
    assert_eq!(
        (files.command.as_str(), files.args.join(" ")),
        ("npx", "-y /home/me/d".to_owned())
    );
    assert_eq!(files.env["T"], "t0k");
    let local = &config.backends["local"];
    assert_eq!(local.command, "/etc/p/bin/server");
    assert_eq!(local.cwd, Some(PathBuf::from("/home/me/src")));
    assert_eq!(config.pipeline.of(Hook::Route), ["default-route"]);
    assert_eq!(config.plugins.len(), 3);
    assert_eq!(loaded.files, [PathBuf::from("/etc/p/mcp.json")]);
}

#[test]
fn the_router_is_no_backend_of_itself() {
    let loaded = client(
        r#"{ "mcpServers": {
    "pointsman": { "command": "/usr/bin/pointsman", "args": ["connect", "--config", "x"] },
    "demo": { "command": "pointsman", "args": ["demo-server"] } } }"#,
    );
    assert_eq!(loaded.config.backends.keys().collect::<Vec<_>>(), ["demo"]);
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings[0].contains("`pointsman` is left out: it is this router"),
        "{warnings:?}"
    );
}

#[test]
fn a_file_of_vs_code_may_hold_comments_and_trailing_commas() {
    let loaded = client(
        "\u{feff}{\n  // ours\n  \"servers\": {\n    /* \"x\": {} */\n    \"a\": { \"command\": \"x//y\", \"args\": [\"/*\", \"\\\"//\",], },\n  },\n}",
    );
    assert_eq!(loaded.config.backends["a"].args, ["/*", "\"//"]);
    assert_eq!(loaded.config.backends["a"].command, "/etc/p/x/y");
}

#[test]
fn problems_of_servers_have_their_lines() {
    assert_snapshot!(client_problems(r#"{
  // line 2
  "mcpServers": {
    "!!": { "command": "x" },
    "nothing": {},
    "wrong": { "command": ["x"], "args": "y",
      "env": { "PORT": 80, "KEY": "${input:key}", "GONE": "${GONE}" } },
    "items": { "command": "x", "args": ["a", 1, {}] },
    "text": "x"
  }
}"#), @r#"
    mcp.json:4:11: the name of the server `!!` may hold letters, digits, `-` and `_` only
    mcp.json:5:16: the server `nothing` has no `command`
    mcp.json:6:27: `command` must be a string
    mcp.json:6:42: `args` must be a list of strings
    mcp.json:7:24: `PORT` must be a string; put it in quotes
    mcp.json:7:35: `KEY`: `${input:key}` names no environment variable; inputs of an editor are not known here: write `${env:NAME}`
    mcp.json:7:59: `GONE`: the environment variable `GONE` is not set; set it, or give a default: `${GONE:-}`
    mcp.json:8:46: an item of `args` must be a string; put it in quotes
    mcp.json:8:49: an item of `args` must be a string
    mcp.json:9:13: the server `text` cannot be read: expected an object
    "#);
}

#[test]
fn servers_over_http_are_backends_too_but_not_this_router() {
    let loaded = client(
        r#"{ "mcpServers": { "a": { "command": "a", "url": null },
  "the router itself": { "url": "http://localhost:7400/mcp" },
  "web": { "type": "streamable-http", "url": "https://x.example/mcp", "headers": { "Authorization": "Bearer ${TOKEN}" } },
  "old": { "type": "sse", "url": "http://127.0.0.1:7401/sse", "headers": null },
  "typed": { "type": "http", "serverUrl": "http://h/mcp" } } }"#,
    );
    let backends = &loaded.config.backends;
    assert_eq!(backends.keys().collect::<Vec<_>>(), ["a", "old", "typed", "web"]);
    let mut web = Remote::from(Place::Urls(vec!["https://x.example/mcp".to_owned()]));
    web.headers.insert("Authorization".to_owned(), "Bearer t0k".to_owned());
    assert_eq!(backends["web"].remote, Some(web));
    let old = backends["old"].remote.as_ref().unwrap();
    assert_eq!(
        (old.transport, old.address(0).as_str()),
        (Transport::Sse, "http://127.0.0.1:7401/sse")
    );
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(warnings.join("\n"), @"/etc/p/mcp.json:2:33: the server `the router itself` is left out: it is this router");
}

#[test]
fn problems_of_servers_over_http_have_their_lines() {
    assert_snapshot!(client_problems(r#"{ "mcpServers": {
  "a": { "url": "ftp://x/" }, "b": { "url": 7 },
  "c": { "url": "http://u:p@x/" }, "d": { "url": "http://x/${GONE}" },
  "e": { "url": "http://x/", "headers": { "Host": "y", "X Y": "z", "X-N": 5, "X-T": "a\nb" } } } }"#), @"
    mcp.json:2:17: `url` is no URL of a server: `ftp://x/`; it begins with http:// or https://
    mcp.json:2:45: `url` must be a string; put it in quotes
    mcp.json:3:17: `url` is no URL of a server: `http://u:p@x/`; credentials belong into `headers`, not into the URL
    mcp.json:3:50: `url`: the environment variable `GONE` is not set; set it, or give a default: `${GONE:-}`
    mcp.json:4:51: the header `Host` is written by the router itself
    mcp.json:4:63: the header `X Y` is no name of a header
    mcp.json:4:75: `X-N` must be a string; put it in quotes
    mcp.json:4:85: the header `X-T` has a value with characters that no header may have
    ");
}

#[test]
fn a_name_that_stands_twice_is_a_problem() {
    assert_snapshot!(client_problems("{\n \"mcpServers\": {\n  \"a\": {\"command\": \"x\"},\n  \"a\": {\"command\": \"y\"}\n }\n}"), @r#"mcp.json:4:3: `mcpServers` cannot be read: duplicate key "a""#);
}

#[test]
fn broken_json_and_other_files_are_told() {
    assert_snapshot!(client_problems("{\n  \"mcpServers\": {\n    \"a\": { \"command\": }\n  }\n}"), @"mcp.json:3:23: the file cannot be read: expected a value");
    assert_snapshot!(client_problems("{ \"context_servers\": {} }"), @"mcp.json:1:1: holds no servers; the servers of a client stand in `mcpServers`, or `servers` for VS Code");
    assert_snapshot!(client_problems("[]"), @"mcp.json:1:1: the file cannot be read: expected an object");
    assert_snapshot!(client_problems(""), @"mcp.json:1:1: the file cannot be read: expected an object");
    assert_snapshot!(client_problems("{\"mcpServers\": []}"), @"mcp.json:1:16: `mcpServers` cannot be read: expected an object");
}

#[test]
fn names_that_are_not_allowed_here_are_cleaned_with_a_warning() {
    let loaded = client(
        r#"{ "mcpServers": {
  "my.server": { "command": "a" },
  "@scope/file  system ": { "command": "b" },
  "default": { "command": "c" },
  "plain": { "command": "d", "envFile": "${workspaceFolder}/.env" } } }"#,
    );
    let names: Vec<&String> = loaded.config.backends.keys().collect();
    assert_eq!(names, ["default-server", "my-server", "plain", "scope-file-system"]);
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(warnings.join("\n"), @"
    /etc/p/mcp.json:2:16: the server `my.server` is named `my-server` here; not every name can stand in paths and names of tools
    /etc/p/mcp.json:3:27: the server `@scope/file  system ` is named `scope-file-system` here; not every name can stand in paths and names of tools
    /etc/p/mcp.json:4:14: the server `default` is named `default-server` here; not every name can stand in paths and names of tools
    /etc/p/mcp.json:5:41: `envFile` of the server `plain` is not read; give its variables in `env`
    ");
}

#[test]
fn two_servers_that_would_have_one_name_are_both_named() {
    let told = client_problems(
        r#"{ "mcpServers": { "my.server": { "command": "a" },
  "my server": { "command": "b" }, "a-b": { "command": "c" },
  "a.b": { "command": "d" } } }"#,
    );
    assert_snapshot!(told, @"
    mcp.json:2:16: the servers `my.server` and `my server` would both be named `my-server` here; rename one of them
    mcp.json:3:10: the servers `a-b` and `a.b` would both be named `a-b` here; rename one of them
    ");
}
