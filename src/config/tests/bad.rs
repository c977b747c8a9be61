//! Bad TOML: every problem is told at once, with its place and what was probably meant.

use insta::assert_snapshot;

use super::problems;

#[test]
fn unknown_keys_are_told_with_the_nearest_known_one() {
    assert_snapshot!(problems(r#"
lisen = {}
[listen]
max_body = "1MiB"
[backends.git]
comand = "git-mcp"
command = "git-mcp"
gate = { wiat = "1s", zzz = 1 }
crash_loop = {}
[backend-defaults]
command = "x"
replica = 2
url = "https://example.com"
[pipeline]
transform = []
[backends.odd]
command = "x"
timeout = "5s"
colour = "red"
[policies]
timeout = "5s"
"#), @"
    pointsman.toml:2:1: unknown key `lisen` at the top level; did you mean `listen`?
    pointsman.toml:4:1: unknown key `max_body` in [listen]; did you mean `max-body`?
    pointsman.toml:6:1: unknown key `comand` in [backends.git]; did you mean `command`?
    pointsman.toml:8:10: unknown key `wiat` in [backends.git.gate]; did you mean `wait`?
    pointsman.toml:8:23: unknown key `zzz` in [backends.git.gate]; known: `capacity`, `bytes`, `agent-capacity`, `agent-bytes`, `wait`, `progress`
    pointsman.toml:9:1: unknown key `crash_loop` in [backends.git]; did you mean `crash-loop`?
    pointsman.toml:11:1: `command` in [backend-defaults]: every backend has its own
    pointsman.toml:12:1: unknown key `replica` in [backend-defaults]; did you mean `replicas`?
    pointsman.toml:13:1: `url` in [backend-defaults]: every backend has its own
    pointsman.toml:15:1: unknown key `transform` in [pipeline]; known: `route`, `select`, `transform-request`, `transform-response`, `transform-list`, `settle`, `observe`
    pointsman.toml:18:1: unknown key `timeout` in [backends.odd]; did you mean `call-timeout`?
    pointsman.toml:19:1: unknown key `colour` in [backends.odd]; known: `url`, `urls`, `unix-socket`, `command`, `args`, `env`, `labels`, `cwd`, `replicas`, `trusted`, `era`, `state`, `scope`, `session-targets`, `session-idle`, `server-requests`, `max-in-flight`, `call-timeout`, `start-timeout`, `stable-after`, `max-message`, `stderr-bytes`, `gate`, `backoff`, `crash-loop`, `stop`
    pointsman.toml:21:1: unknown key `timeout` in [policies]; known: `cache`, `store`, `generations`, `compile-timeout`, `max-component`, `breaker`, `young`, `trace-calls`, `trace-bytes`
    ");
}

#[test]
fn values_of_the_wrong_kind_or_out_of_bounds_are_told() {
    assert_snapshot!(problems(r#"
[listen]
address = "localhost:8080"
allowed-hosts = ["https://x/", "a", "a", 3, ""]
allowed-origins = ["app.example", "https://a/"]
max-body = "4MB"
max-connections = 0
keep-alive = 30
stream-after = "1.5s"
[router]
workers = "many"
[backends.a]
command = "x"
args = ["1", 2, true]
env = { PORT = 80, "A=B" = "x" }
replicas = 65
trusted = "yes"
era = "modren"
state = 1
max-message = -1
call-timeout = "soon"
gate = { capacity = 0, wait = "2h" }
stop = "fast"
[backends]
b = 3
[plugins.p]
embedded = "least-busy"
config = { far = nan, n = 99999999999999999999 }
on-fault = "ignore"
"#), @r#"
    pointsman.toml:3:11: `address` is not an address: `localhost:8080`; it is an IP address with a port, like "127.0.0.1:8080"
    pointsman.toml:4:18: item 1 of `allowed-hosts` is no host: `https://x/`; write it like "router.lan"
    pointsman.toml:4:37: item 3 of `allowed-hosts` stands twice: `a`
    pointsman.toml:4:42: item 4 of `allowed-hosts` must be a string, not a whole number
    pointsman.toml:4:45: item 5 of `allowed-hosts` is empty
    pointsman.toml:5:20: item 1 of `allowed-origins` is no origin: `app.example`; write it like "https://app.example"
    pointsman.toml:5:35: item 2 of `allowed-origins` is no origin: `https://a/`; write it like "https://app.example"
    pointsman.toml:6:12: `max-body` is not a size: `4MB`; did you mean "4MiB"?
    pointsman.toml:7:19: `max-connections` must be from 1 to 10000000
    pointsman.toml:8:14: `keep-alive` needs a unit of time; did you mean "30s"?
    pointsman.toml:9:16: `stream-after` is not a duration: `1.5s`; write it like "30s", "500ms", "2m" or "1h"
    pointsman.toml:11:11: `workers` must be a whole number, not a string
    pointsman.toml:14:14: item 2 of `args` must be a string, not a whole number
    pointsman.toml:14:17: item 3 of `args` must be a string, not true or false
    pointsman.toml:15:16: `PORT` must be a string, not a whole number
    pointsman.toml:15:20: `A=B` cannot be the name of an environment variable
    pointsman.toml:16:12: `replicas` must be from 1 to 64
    pointsman.toml:17:11: `trusted` must be true or false, not a string
    pointsman.toml:18:7: `era` cannot be `modren`; did you mean `modern`?
    pointsman.toml:19:9: `state` must be a word, not a whole number; known: `none`, `volatile`
    pointsman.toml:20:15: `max-message` must be from "1KiB" to "64GiB"
    pointsman.toml:21:16: `call-timeout` is not a duration: `soon`; write it like "30s", "500ms", "2m" or "1h"
    pointsman.toml:22:21: `capacity` must be from 1 to 10000000
    pointsman.toml:22:31: `wait` must be from 0s to 1h
    pointsman.toml:23:1: [backends.a.stop] must be a table, not a string
    pointsman.toml:25:1: [backends.b] must be a table, not a whole number
    pointsman.toml:28:18: `far` of `config` is a number that JSON does not have
    pointsman.toml:29:12: `on-fault` cannot be `ignore`; known: `by-hook`, `open`, `closed`
    "#);
}

#[test]
fn names_and_relations_are_checked() {
    assert_snapshot!(problems(r#"
[backends."my server"]
command = "x"
[backends.default]
command = "x"
[backends.a__b]
command = ""
[backends.git]
[backends.web]
url = "https://example.com/mcp"
command = "x"
[endpoints.git]
backends = ["gti", "web", "zzzzzz"]
[endpoints.none]
backends = []
[backend-defaults.backoff]
base = "5s"
max = "1s"
[backends.late]
command = "x"
crash-loop = { probe = "10m" }
[plugins.mine]
file = "a.wasm"
embedded = "default-route"
cpu = "2s"
[plugins.neither]
[pipeline]
route = ["mine", "defualt-route"]
select = ["neither"]
transform-request = ["redact"]
"#), @r#"
    pointsman.toml:2:11: the backend name `my server` may hold letters, digits, `-` and `_` only; for example `my-server`
    pointsman.toml:4:11: no backend can be named `default`; `default` is the endpoint with all backends
    pointsman.toml:6:11: the backend name `a__b` must not hold `__`, which separates backend and tool; for example `a_b`
    pointsman.toml:7:11: `command` is empty; name a program
    pointsman.toml:8:11: `command` is missing in [backends.git]
    pointsman.toml:11:1: `command` in [backends.web]: the server is somewhere else, and has a target for each of its URLs
    pointsman.toml:12:12: `git` names an endpoint and a backend; the backend is at pointsman.toml:8
    pointsman.toml:13:13: there is no backend `gti` for [endpoints.git]; did you mean `git`?
    pointsman.toml:13:27: there is no backend `zzzzzz` for [endpoints.git]; known: `a__b`, `default`, `git`, `late`, `my server`, `web`
    pointsman.toml:15:12: `backends` is empty; leave it out for all backends
    pointsman.toml:18:1: `base` (5s) is longer than `max` (1s) in [backend-defaults.backoff]
    pointsman.toml:21:16: `probe` (10m) is longer than `probe-max` (5m) in [backends.late.crash-loop]
    pointsman.toml:24:12: `embedded` and `file` exclude each other
    pointsman.toml:25:1: `cpu` (2s) is longer than `wall` (1s) in [plugins.mine]
    pointsman.toml:26:10: `file`, `embedded` or `from` is missing in [plugins.neither]
    pointsman.toml:28:18: there is no plugin `defualt-route` for `route` in [pipeline]; did you mean `default-route`?
    pointsman.toml:30:22: there is no plugin `redact` for `transform-request` in [pipeline]; it is built in: add [plugins.redact] with embedded = "redact"
    "#);
}

#[test]
fn placeholders_without_a_value_are_told() {
    assert_snapshot!(problems(r#"
[backends.a]
command = "${NOWHERE}/bin/x"
args = ["${TOKEN}", "--key=${MISSING}", "${input:key}", "${OPEN"]
env = { A = "${env:GONE}", B = "${GONE:-}" }
"#), @"
    pointsman.toml:3:11: `command`: the environment variable `NOWHERE` is not set; set it, or give a default: `${NOWHERE:-}`
    pointsman.toml:4:21: item 2 of `args`: the environment variable `MISSING` is not set; set it, or give a default: `${MISSING:-}`
    pointsman.toml:4:41: item 3 of `args`: `${input:key}` names no environment variable; inputs of an editor are not known here: write `${env:NAME}`
    pointsman.toml:4:57: item 4 of `args`: `${` has no `}`; write `$${` for a plain `${`
    pointsman.toml:5:13: `A`: the environment variable `GONE` is not set; set it, or give a default: `${GONE:-}`
    ");
}

#[test]
fn broken_syntax_is_told_and_nothing_else() {
    assert_snapshot!(problems("[listen]\naddress = \n[backends.a]\ncommand = \"x\nreplicas = 1\n[listen]\n"), @r#"
    pointsman.toml:2:11: string values must be quoted, expected literal string
    pointsman.toml:4:13: invalid basic string, expected `"`
    pointsman.toml:6:2: duplicate key
    "#);
}

#[test]
fn columns_are_counted_in_characters() {
    assert_snapshot!(problems("[backends.a]\ncommand = \"x\"\nargs = [\"é🚂\", 1]\n"), @"pointsman.toml:3:15: item 2 of `args` must be a string, not a whole number");
}

#[test]
fn what_an_endpoint_has_and_asks_is_checked() {
    assert_snapshot!(problems(r#"
[backends.a]
command = "x"
[endpoints.one]
allow = { tools = ["read_*", ""], tool = ["x"] }
deny = { resource-templates = "all" }
[endpoints.one.pipeline]
route = ["gone"]
rout = []
[endpoints.default.pipeline]
transform-response = ["redact"]
"#), @r#"
    pointsman.toml:5:30: item 2 of `tools` is empty
    pointsman.toml:5:35: unknown key `tool` in [endpoints.one.allow]; did you mean `tools`?
    pointsman.toml:6:31: `resource-templates` must be a list, not a string
    pointsman.toml:8:10: there is no plugin `gone` for `route` in [endpoints.one.pipeline]; known: `default-names`, `default-route`, `least-busy`
    pointsman.toml:9:1: unknown key `rout` in [endpoints.one.pipeline]; did you mean `route`?
    pointsman.toml:11:23: there is no plugin `redact` for `transform-response` in [endpoints.default.pipeline]; it is built in: add [plugins.redact] with embedded = "redact"
    "#);
}
