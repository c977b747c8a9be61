//! What changed between two configurations, sorted by what has to be done about it.

use std::collections::BTreeMap;

use super::{Backend, Config, Listen};

/// The changes from one configuration to the next. Names are sorted. Every backend of both is in at most one of
/// `backends_respawn` and `backends_retuned`; one that is respawned takes its new limits on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Backends that are new.
    pub backends_added: Vec<String>,
    /// Backends that are gone.
    pub backends_removed: Vec<String>,
    /// Backends whose program changed (command, args, env, cwd, era, where it is, and whom it is told that it serves):
    /// their children must be restarted.
    pub backends_respawn: Vec<String>,
    /// Backends of which only limits changed: no restart.
    pub backends_retuned: Vec<String>,
    /// Backends whose number of targets changed, be it alone or with more.
    pub replicas_changed: Vec<String>,
    /// Endpoints that are new, gone or different.
    pub endpoints_changed: Vec<String>,
    /// Plugins that are new, gone or set differently. Whether a file's bytes changed is not seen here.
    pub plugins_changed: Vec<String>,
    /// Whether other plugins are asked, or in another order.
    pub pipeline_changed: bool,
    /// Whether what all components share changed: it takes a restart of the router.
    pub policies_changed: bool,
    /// Whether the bounds of sessions changed: it takes a restart of the router.
    pub sessions_changed: bool,
    /// Whether it changed who may call: what is asked for, or where.
    pub auth_changed: bool,
    /// Whether `[listen]` changed otherwise: it takes a restart of the router.
    pub listen_changed: bool,
    /// Whether `[router]` changed: it takes a restart of the router.
    pub router_changed: bool,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The tables that changed and cannot be applied to a running router.
    pub fn needs_restart(&self) -> Vec<&'static str> {
        let tables = [
            ("[listen]", self.listen_changed),
            ("[router]", self.router_changed),
            ("[sessions]", self.sessions_changed),
            ("[policies]", self.policies_changed),
        ];
        tables
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(table, _)| table)
            .collect()
    }
}

/// Compares two configurations.
pub fn diff(old: &Config, new: &Config) -> Changes {
    let mut changes = Changes {
        endpoints_changed: changed(&old.endpoints, &new.endpoints),
        plugins_changed: changed(&old.plugins, &new.plugins),
        pipeline_changed: old.pipelines() != new.pipelines(),
        policies_changed: old.policies != new.policies,
        sessions_changed: old.sessions != new.sessions,
        auth_changed: old.auth != new.auth || asked(&old.listen) != asked(&new.listen),
        listen_changed: old.listen != unasked(&new.listen, &old.listen),
        router_changed: old.router != new.router,
        ..Changes::default()
    };
    for name in changed(&old.backends, &new.backends) {
        match (old.backends.get(&name), new.backends.get(&name)) {
            (Some(before), Some(after)) => backend(&mut changes, name, before, after),
            (None, _) => changes.backends_added.push(name),
            (_, None) => changes.backends_removed.push(name),
        }
    }
    changes
}

/// What `[listen]` says about who may call: it is in force at once.
fn asked(listen: &Listen) -> (&Option<String>, &Option<String>) {
    (&listen.auth, &listen.public_url)
}

/// All else that it says.
fn unasked(new: &Listen, old: &Listen) -> Listen {
    Listen {
        auth: old.auth.clone(),
        public_url: old.public_url.clone(),
        ..new.clone()
    }
}

fn backend(changes: &mut Changes, name: String, before: &Backend, after: &Backend) {
    if before.replicas != after.replicas {
        changes.replicas_changed.push(name.clone());
    }
    let mut only_replicas = before.clone();
    only_replicas.replicas = after.replicas;
    if program(before) != program(after) {
        changes.backends_respawn.push(name);
    } else if only_replicas != *after {
        changes.backends_retuned.push(name);
    }
}

/// Whether running children must be started again to have the new settings.
pub fn needs_respawn(before: &Backend, after: &Backend) -> bool {
    let same_requests = Backend {
        // A target of one session has no use for it.
        server_requests: before.server_requests,
        ..after.clone()
    };
    program(before) != program(&same_requests)
}

/// What a running child cannot take on.
fn program(backend: &Backend) -> impl PartialEq + '_ {
    let Backend {
        command,
        args,
        env,
        cwd,
        remote,
        era,
        scope,
        server_requests,
        ..
    } = backend;
    ((command, args, env, cwd), (remote, era, scope, server_requests))
}

/// The names that are in one map only, or have different values.
fn changed<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Vec<String> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .cloned()
        .collect()
}
