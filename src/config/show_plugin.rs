//! Plugins and what they may reach, as TOML.

use super::show::{Printer, list, quote};
use super::{Grants, HttpGrant, KvGrant, MetricsGrant, Plugin, Source};

impl Printer {
    /// One `[plugins.NAME]`.
    pub(super) fn plugin(&mut self, name: &str, plugin: &Plugin) {
        let Plugin {
            source,
            config,
            on_fault,
            cpu,
            wall,
            memory,
            output,
            instances,
            reuse,
            grants,
        } = plugin;
        self.table(&format!("plugins.{name}"));
        match source {
            Source::File(file) => self.path("file", Some(file)),
            Source::Embedded(name) => self.line("embedded", quote(name)),
        }
        let config = self.json(config, false);
        self.line("config", config);
        self.word("on-fault", *on_fault);
        self.time("cpu", *cpu);
        self.time("wall", *wall);
        self.size("memory", *memory);
        self.size("output", *output);
        self.line("instances", instances);
        self.line("reuse", reuse);
        if *grants != Grants::default() {
            self.grants(&format!("plugins.{name}.grants"), grants);
        }
    }

    fn grants(&mut self, at: &str, grants: &Grants) {
        let Grants {
            log,
            clock,
            random,
            directory,
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
