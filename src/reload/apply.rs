//! A changed configuration: read, compared, and brought to backends and endpoints. Plugins are not waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use tracing::{info, warn};

use super::Reloader;
use crate::backend::Backend;
use crate::catalog::Endpoint;
use crate::config::{self, Config, DEFAULT_ENDPOINT};
use crate::error::Reason;

impl Reloader {
    pub(super) async fn reload_config(&mut self) {
        if let Some(tls) = &self.parts.tls {
            tls.renew().await;
        }
        let reader = Arc::clone(&self.reader);
        let read = tokio::task::spawn_blocking(move || reader()).await;
        let loaded = match read {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(problems)) => {
                let text = problems.to_string();
                let known = self.show(|s| s.config_error.replace(text.clone()));
                if known.is_none_or(|known| known != text) {
                    warn!("the changed configuration is refused and nothing was changed:\n{text}");
                }
                // It may be an included file that is mended, one that the present configuration does not have.
                let files = problems.1.into_iter().filter(|f| !self.files.contains(f));
                self.files.extend(files.collect::<Vec<_>>());
                return;
            }
            Err(panic) => {
                warn!("the changed configuration could not be read: {panic}");
                return;
            }
        };
        self.show(|s| s.config_error = None);
        self.note_warnings(&loaded.warnings);
        self.files = loaded.files;
        if loaded.config == self.config {
            return;
        }
        let waiting: Vec<String> = config::diff(&self.booted, &loaded.config)
            .needs_restart()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let known = self.show(|s| std::mem::replace(&mut s.needs_restart, waiting.clone()));
        if !waiting.is_empty() && waiting != known {
            warn!(
                "changed, and in force after a restart of the router: {}",
                waiting.join(", ")
            );
        }
        self.apply(loaded.config).await;
        self.show(|s| s.applied += 1);
    }

    /// Brings backends and endpoints to `config`.
    pub(super) async fn apply(&mut self, config: Config) {
        let changes = config::diff(&self.config, &config);
        // Before anything new can be reached; what can be reached until then is guarded as it was.
        self.parts.guard.prepare(&config);
        let mut backends = (*self.parts.router.backends()).clone();
        for name in &changes.backends_added {
            if let Some(settings) = config.backends.get(name) {
                info!(backend = name, "added");
                let (spawner, observer) = (Arc::clone(&self.parts.spawner), self.parts.router.policies().observer());
                let backend = Backend::start_observed(name, settings.clone(), spawner, observer);
                backends.insert(name.clone(), backend);
            }
        }
        let removed: Vec<_> = changes
            .backends_removed
            .iter()
            .filter_map(|name| backends.remove(name))
            .collect();
        let touched: BTreeSet<&String> = changes
            .backends_respawn
            .iter()
            .chain(&changes.backends_retuned)
            .chain(&changes.replicas_changed)
            .collect();
        for name in touched {
            if let (Some(settings), Some(backend)) = (config.backends.get(name), backends.get(name)) {
                let respawn = changes.backends_respawn.contains(name);
                info!(backend = name, respawn, "changed");
                backend.reconfigure(settings.clone(), respawn).await;
            }
        }
        self.parts.router.set_backends(backends.clone());
        self.set_endpoints(&config, &backends).await;
        self.parts.guard.configure(&config);
        for backend in removed {
            info!(backend = %backend.name(), "removed");
            backend.refuse(Reason::Unavailable("it was removed from the configuration".into()));
            tokio::spawn(async move {
                backend
                    .stop(Reason::Unavailable("it was removed from the configuration".into()))
                    .await
            });
        }
        self.config = config;
    }

    async fn set_endpoints(&self, config: &Config, backends: &BTreeMap<String, Arc<Backend>>) {
        let default = config.endpoints.get(DEFAULT_ENDPOINT).cloned().unwrap_or_default();
        let members = |settings: &config::Endpoint| match &settings.backends {
            None => backends.values().cloned().collect(),
            Some(names) => names
                .iter()
                .filter_map(|n| backends.get(n).cloned())
                .collect::<Vec<_>>(),
        };
        let mut wanted = vec![(String::new(), None, default.clone(), members(&default))];
        for (name, settings) in config.endpoints.iter().filter(|(name, _)| *name != DEFAULT_ENDPOINT) {
            wanted.push((name.clone(), None, settings.clone(), members(settings)));
        }
        for (name, backend) in backends {
            let settings = config::Endpoint {
                backends: Some(vec![name.clone()]),
                // The path names the backend: nothing that is added can rename its tools.
                names: config::Names::Plain,
                ..default.clone()
            };
            wanted.push((name.clone(), Some(name.as_str()), settings, vec![Arc::clone(backend)]));
        }
        let old = self.parts.router.endpoints();
        let mut endpoints = BTreeMap::new();
        for (name, backend, settings, members) in wanted {
            // The same endpoint goes on under its name: sessions and streams hold on to it.
            let endpoint = match old.get(&name).filter(|e| e.backend.as_deref() == backend) {
                Some(endpoint) => {
                    endpoint.update(settings, members);
                    Arc::clone(endpoint)
                }
                None => Endpoint::new(
                    &name,
                    backend,
                    settings,
                    members,
                    self.parts.router.policies().changes(),
                ),
            };
            endpoints.insert(name, endpoint);
        }
        // Shown before they are asked for.
        join_all(endpoints.values().map(|e| e.fresh_view())).await;
        self.parts.router.set_endpoints(endpoints);
    }
}
