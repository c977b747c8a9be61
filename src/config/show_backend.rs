//! Backends as TOML: the part of the printer with the most settings.

use super::expand::escape;
use super::show::{Printer, list, quote};
use super::{Backend, Backoff, CrashLoop, Gate, Place, Remote, Stop};

impl Printer {
    /// One backend with its sub-tables.
    pub(super) fn backend(&mut self, name: &str, backend: &Backend) {
        let Backend {
            command,
            args,
            env,
            cwd,
            remote,
            replicas,
            trusted,
            era,
            state,
            scope,
            labels,
            session_targets,
            session_idle,
            server_requests,
            max_in_flight,
            call_timeout,
            start_timeout,
            stable_after,
            max_message,
            stderr_bytes,
            gate,
            backoff,
            crash_loop,
            stop,
        } = backend;
        self.table(&format!("backends.{name}"));
        match remote {
            Some(remote) => self.remote(remote),
            None => {
                self.line("command", quote(&escape(command)));
                let args = self.args(args);
                self.line("args", list(&args));
                let env = env.iter().map(|(key, value)| (key, self.masked(key, value)));
                let env = pairs(env);
                self.line("env", env);
                self.path("cwd", cwd.as_deref());
                self.line("replicas", replicas);
            }
        }
        self.line("trusted", trusted);
        self.word("era", *era);
        self.word("state", *state);
        self.word("scope", *scope);
        self.line(
            "labels",
            pairs(labels.iter().map(|(name, value)| (name, value.as_str()))),
        );
        self.line("session-targets", session_targets);
        self.time("session-idle", *session_idle);
        self.word("server-requests", *server_requests);
        self.line("max-in-flight", max_in_flight);
        match call_timeout {
            Some(timeout) => self.time("call-timeout", *timeout),
            None => self.line("call-timeout", quote("never")),
        }
        self.time("start-timeout", *start_timeout);
        self.time("stable-after", *stable_after);
        self.size("max-message", *max_message);
        self.size("stderr-bytes", *stderr_bytes);
        if let Some(oauth) = remote.as_ref().and_then(|remote| remote.oauth.as_ref()) {
            self.oauth(name, oauth);
        }
        self.gate(name, gate);
        self.restarts(name, backoff, crash_loop, stop);
    }

    fn remote(&mut self, remote: &Remote) {
        let Remote {
            place,
            transport,
            oauth: _,
            headers,
            connect_timeout,
            ca_file,
        } = remote;
        match place {
            Place::Urls(urls) => {
                let urls: Vec<String> = urls.iter().map(|url| escape(&self.url(url))).collect();
                self.line("urls", list(&urls));
            }
            Place::Socket { socket, path } => {
                self.path("unix-socket", Some(socket));
                self.line("path", quote(path));
            }
        }
        self.word("transport", *transport);
        // Most headers that one configures are credentials, whatever they are called.
        let headers = headers.iter().map(|(name, value)| (name, self.hidden(value)));
        let headers = pairs(headers);
        self.line("headers", headers);
        self.time("connect-timeout", *connect_timeout);
        self.path("ca-file", ca_file.as_deref());
    }

    /// Arguments, with the value of `--api-key=VALUE` or `--api-key VALUE` masked.
    fn args(&self, args: &[String]) -> Vec<String> {
        let mut flag = "";
        let mut out = Vec::with_capacity(args.len());
        for arg in args {
            let shown = match arg.split_once('=') {
                Some((name, value)) if name.starts_with('-') => format!("{name}={}", self.masked(name, value)),
                _ if arg.starts_with('-') => arg.clone(),
                _ => self.masked(flag, arg).to_owned(),
            };
            flag = if arg.starts_with('-') && !arg.contains('=') {
                arg
            } else {
                ""
            };
            out.push(escape(&shown));
        }
        out
    }

    fn gate(&mut self, name: &str, gate: &Gate) {
        let Gate {
            capacity,
            bytes,
            agent_capacity,
            agent_bytes,
            wait,
            progress,
        } = gate;
        self.table(&format!("backends.{name}.gate"));
        self.line("capacity", capacity);
        self.size("bytes", *bytes);
        self.line("agent-capacity", agent_capacity);
        self.size("agent-bytes", *agent_bytes);
        self.time("wait", *wait);
        self.time("progress", *progress);
    }

    fn restarts(&mut self, name: &str, backoff: &Backoff, crash_loop: &CrashLoop, stop: &Stop) {
        let Backoff { min, base, max } = backoff;
        self.table(&format!("backends.{name}.backoff"));
        self.time("min", *min);
        self.time("base", *base);
        self.time("max", *max);
        let CrashLoop {
            deaths,
            within,
            probe,
            probe_max,
        } = crash_loop;
        self.table(&format!("backends.{name}.crash-loop"));
        self.line("deaths", deaths);
        self.time("within", *within);
        self.time("probe", *probe);
        self.time("probe-max", *probe_max);
        let Stop { drain, eof, term } = stop;
        self.table(&format!("backends.{name}.stop"));
        self.time("drain", *drain);
        self.time("eof", *eof);
        self.time("term", *term);
    }
}

/// A table in one line, its values expanded when they are read.
pub(super) fn pairs<'a>(pairs: impl Iterator<Item = (&'a String, &'a str)>) -> String {
    let pairs: Vec<String> = pairs
        .map(|(key, value)| format!("{} = {}", quote(key), quote(&escape(value))))
        .collect();
    match pairs.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", pairs.join(", ")),
    }
}
