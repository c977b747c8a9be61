//! The effective configuration as TOML that loads back to the same.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::expand::escape;
use super::values::{Word, show_duration, show_size};
use super::{Config, Endpoint, Exposure, Listen, Patterns, Pipeline, Policies, Router, Sessions, Tls};
use crate::wire::Kind;

/// Whether what looks like a secret is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// As asterisks. What is printed then does not load back to the same.
    Masked,
    /// As they are.
    Shown,
}

/// What stands for a secret.
const MASK: &str = "********";

/// The configuration as TOML, every setting with its value.
pub fn show(config: &Config, secrets: Secrets) -> String {
    let mut out = Printer {
        text: String::new(),
        secrets,
    };
    // Taken apart by name, here and below: a setting that is added must be printed to compile.
    let Config {
        listen,
        router,
        sessions,
        auth,
        backends,
        endpoints,
        plugins,
        pipeline,
        policies,
    } = config;
    out.listen(listen);
    out.router(router);
    out.sessions(sessions);
    for (name, one) in auth {
        out.auth(name, one);
    }
    out.policies(policies);
    out.pipeline("pipeline", pipeline);
    for (name, one) in plugins {
        out.plugin(name, one);
    }
    for (name, one) in endpoints {
        out.endpoint(name, one);
    }
    for (name, one) in backends {
        out.backend(name, one);
    }
    out.text
}

/// Whether a name says that its value is a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"]
        .iter()
        .any(|word| name.contains(word))
}

/// `text` as a TOML string.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A list of TOML strings.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A path as a value that is expanded when it is read.
fn path(path: &Path) -> String {
    quote(&escape(&path.to_string_lossy()))
}

/// Collects the lines.
pub(super) struct Printer {
    text: String,
    secrets: Secrets,
}

impl Printer {
    /// Begins a table.
    pub(super) fn table(&mut self, name: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}[{name}]");
    }

    /// One setting, its value ready.
    pub(super) fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{key} = {value}");
    }

    /// A duration.
    pub(super) fn time(&mut self, key: &str, value: std::time::Duration) {
        self.line(key, quote(&show_duration(value)));
    }

    /// A size.
    pub(super) fn size(&mut self, key: &str, value: usize) {
        self.line(key, show_size(value));
    }

    /// A word.
    pub(super) fn word(&mut self, key: &str, value: impl Word) {
        self.line(key, quote(value.word()));
    }

    /// A path, if it is set.
    pub(super) fn path(&mut self, key: &str, value: Option<&Path>) {
        if let Some(value) = value {
            self.line(key, path(value));
        }
    }

    /// A text that is expanded when it is read, if it is set.
    pub(super) fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(key, quote(&escape(value)));
        }
    }

    /// The value of `name`, or the mask for it.
    pub(super) fn masked<'v>(&self, name: &str, value: &'v str) -> &'v str {
        if self.secrets == Secrets::Masked && is_secret(name) {
            MASK
        } else {
            value
        }
    }

    /// A value that is a secret, or the mask for it.
    pub(super) fn hidden<'v>(&self, value: &'v str) -> &'v str {
        match self.secrets {
            Secrets::Masked => MASK,
            Secrets::Shown => value,
        }
    }

    /// A URL; what stands behind its `?` may be a key.
    pub(super) fn url(&self, url: &str) -> String {
        match url.split_once('?') {
            Some((place, query)) => format!("{place}?{}", self.hidden(query)),
            None => url.to_owned(),
        }
    }

    fn listen(&mut self, listen: &Listen) {
        let Listen {
            address,
            auth,
            public_url,
            tls,
            allowed_hosts,
            allowed_origins,
            max_connections,
            max_body,
            header_timeout,
            body_timeout,
            stream_after,
            keep_alive,
            stream_capacity,
            retry,
            poll_after,
            write_timeout,
        } = listen;
        self.table("listen");
        self.line("address", quote(&address.to_string()));
        self.line("allowed-hosts", list(allowed_hosts));
        self.line("allowed-origins", list(allowed_origins));
        self.line("max-connections", max_connections);
        self.size("max-body", *max_body);
        self.time("header-timeout", *header_timeout);
        self.time("body-timeout", *body_timeout);
        self.time("stream-after", *stream_after);
        self.time("keep-alive", *keep_alive);
        self.line("stream-capacity", stream_capacity);
        self.time("retry", *retry);
        match poll_after {
            Some(time) => self.time("poll-after", *time),
            None => self.line("poll-after", quote("never")),
        }
        self.time("write-timeout", *write_timeout);
        self.text("auth", auth.as_deref());
        self.text("public-url", public_url.as_deref());
        if let Some(Tls { cert, key }) = tls {
            self.table("listen.tls");
            self.path("cert", Some(cert));
            self.path("key", Some(key));
        }
    }

    fn router(&mut self, router: &Router) {
        let Router {
            workers,
            grace,
            admin_socket,
            key_file,
            mcp_socket,
            list_wait,
        } = router;
        self.table("router");
        self.line("workers", workers);
        self.time("grace", *grace);
        self.path("admin-socket", admin_socket.as_deref());
        self.path("key-file", key_file.as_deref());
        self.path("mcp-socket", mcp_socket.as_deref());
        self.time("list-wait", *list_wait);
    }

    fn sessions(&mut self, sessions: &Sessions) {
        let Sessions {
            capacity,
            bytes,
            idle,
            max_requests,
            parked,
            answer_wait,
            stream_events,
            stream_bytes,
            streams,
            stream_keep,
        } = sessions;
        self.table("sessions");
        self.line("capacity", capacity);
        self.size("bytes", *bytes);
        self.time("idle", *idle);
        self.line("max-requests", max_requests);
        self.line("parked", parked);
        self.time("answer-wait", *answer_wait);
        self.line("stream-events", stream_events);
        self.size("stream-bytes", *stream_bytes);
        self.line("streams", streams);
        self.time("stream-keep", *stream_keep);
    }

    fn policies(&mut self, policies: &Policies) {
        let Policies {
            cache,
            store,
            generations,
            compile_timeout,
            max_component,
            breaker,
            young,
            trace_calls,
            trace_bytes,
        } = policies;
        self.table("policies");
        self.path("cache", cache.as_deref());
        self.path("store", store.as_deref());
        self.line("generations", generations);
        self.time("compile-timeout", *compile_timeout);
        self.size("max-component", *max_component);
        self.line("breaker", breaker);
        self.time("young", *young);
        self.line("trace-calls", trace_calls);
        self.size("trace-bytes", *trace_bytes);
    }

    fn pipeline(&mut self, at: &str, pipeline: &Pipeline) {
        self.table(at);
        for (hook, names) in pipeline.iter() {
            self.line(hook.as_str(), list(names));
        }
    }

    /// A JSON value as TOML on one line. TOML has no `null`, and no file can have brought one in.
    pub(super) fn json(&self, value: &Value, secret: bool) -> String {
        match value {
            Value::String(_) | Value::Number(_) if secret => quote(MASK),
            Value::String(text) => quote(text),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.json(item, secret)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(members) => {
                let hidden = |key: &str| secret || (self.secrets == Secrets::Masked && is_secret(key));
                let member =
                    |(key, value): (&String, &Value)| format!("{} = {}", quote(key), self.json(value, hidden(key)));
                let members: Vec<String> = members.iter().map(member).collect();
                if members.is_empty() {
                    "{}".to_owned()
                } else {
                    format!("{{ {} }}", members.join(", "))
                }
            }
            other => other.to_string(),
        }
    }

    fn endpoint(&mut self, name: &str, endpoint: &Endpoint) {
        let Endpoint {
            backends,
            auth,
            scopes,
            names,
            errors,
            page_size,
            own_tools,
            exposure,
            pipeline,
        } = endpoint;
        self.table(&format!("endpoints.{name}"));
        match backends {
            Some(names) => self.line("backends", list(names)),
            None => self.line("backends", quote("all")),
        }
        self.text("auth", auth.as_deref());
        self.line("scopes", list(scopes));
        self.word("names", *names);
        self.word("errors", *errors);
        self.line("page-size", page_size);
        self.word("own-tools", *own_tools);
        let Exposure { allow, deny } = exposure;
        let some = |patterns: &Patterns| Some(patterns.clone()).filter(|p| !p.is_empty());
        for (rule, patterns) in [("allow", allow.clone()), ("deny", deny.each_ref().map(some))] {
            if patterns.iter().any(Option::is_some) {
                self.table(&format!("endpoints.{name}.{rule}"));
            }
            for (kind, patterns) in Kind::ALL.into_iter().zip(patterns) {
                if let Some(patterns) = patterns {
                    let texts: Vec<String> = patterns.iter().map(ToString::to_string).collect();
                    self.line(Exposure::word(kind), list(&texts));
                }
            }
        }
        if !pipeline.is_empty() {
            self.pipeline(&format!("endpoints.{name}.pipeline"), pipeline);
        }
    }
}
