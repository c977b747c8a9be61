//! Plugins and what they may reach, as TOML.

use super::show::{Printer, list, quote};
use super::{Grants, HttpGrant, KvGrant, MetricsGrant, Plugin, PluginScope, Source};

impl Printer {
    /// One `[plugins.NAME]`.
    pub(super) fn plugin(&mut self, name: &str, plugin: &Plugin) {
        let Plugin {
            source,
            sha256,
            // A file of its own holds it.
            locked: _,
            config,
            on_fault,
            on_load_failure,
            cpu,
            wall,
            memory,
            output,
            instances,
            reuse,
            scope,
            grants,
        } = plugin;
        self.table(&format!("plugins.{name}"));
        match source {
            Source::File(file) => self.path("file", Some(file)),
            Source::Embedded(name) => self.line("embedded", quote(name)),
            Source::Pulled(reference) => self.line("from", quote(reference)),
        }
        if let Some(digest) = sha256 {
            self.line("sha256", quote(digest));
        }
        let config = self.json(config, false);
        self.line("config", config);
        self.word("on-fault", *on_fault);
        self.word("on-load-failure", *on_load_failure);
        self.time("cpu", *cpu);
        self.time("wall", *wall);
        self.size("memory", *memory);
        self.size("output", *output);
        self.line("instances", instances);
        self.line("reuse", reuse);
        if *scope != PluginScope::default() {
            self.scope(&format!("plugins.{name}.scope"), scope);
        }
        if *grants != Grants::default() {
            self.grants(&format!("plugins.{name}.grants"), grants);
        }
    }

    fn scope(&mut self, at: &str, scope: &PluginScope) {
        let PluginScope {
            backends,
            tools,
            agents,
        } = scope;
        self.table(at);
        for (key, patterns) in [("backends", backends), ("tools", tools)] {
            if let Some(patterns) = patterns {
                let texts: Vec<String> = patterns.iter().map(ToString::to_string).collect();
                self.line(key, list(&texts));
            }
        }
        if !agents.is_empty() {
            self.table(&format!("{at}.agents"));
            for (label, pattern) in agents {
                self.text(&quote(label), Some(&pattern.to_string()));
            }
        }
    }

    fn grants(&mut self, at: &str, grants: &Grants) {
        let Grants {
            log,
            clock,
            random,
            directory,
            wasi,
            metrics,
            kv,
            http,
            secrets,
        } = grants;
        self.table(at);
        for (key, granted) in [
            ("log", log),
            ("clock", clock),
            ("random", random),
            ("directory", directory),
            ("wasi", wasi),
        ] {
            self.line(key, granted);
        }
        if let Some(MetricsGrant { series }) = metrics {
            self.line("metrics", format!("{{ series = {series} }}"));
        }
        if let Some(KvGrant { namespace, keys, bytes }) = kv {
            self.table(&format!("{at}.kv"));
            self.text("namespace", namespace.as_deref());
            self.line("keys", keys);
            self.size("bytes", *bytes);
        }
        if let Some(HttpGrant {
            allow,
            methods,
            private,
            timeout,
            max_body,
        }) = http
        {
            self.table(&format!("{at}.http"));
            self.line("allow", list(allow));
            self.line("methods", list(methods));
            self.line("private", private);
            self.time("timeout", *timeout);
            self.size("max-body", *max_body);
        }
        for (name, secret) in secrets {
            self.table(&format!("{at}.secrets.{}", quote(name)));
            match &secret.file {
                Some(file) => self.path("file", Some(file)),
                None => {
                    let text = self.hidden(&secret.text).to_owned();
                    self.text("value", Some(&text));
                }
            }
        }
    }
}
