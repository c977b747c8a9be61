//! Generations on their way in: one of what was loaded, and one that takes a young build back.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{info, warn};

use super::{Reloader, misfit_words};
use crate::config;
use crate::plugin::{Absent, Builds, Generation};
use crate::policy::{Event, Policy};

impl Reloader {
    /// A build was switched off after faults in a row: if it is young, the one before is put back in its place.
    pub(super) fn put_back(&mut self) {
        let (mut builds, mut taken) = (self.builds.clone(), Vec::new());
        for (name, build) in self.builds.loaded.iter().filter(|(_, build)| build.has_tripped()) {
            if let Some(before) = self.probation.tripped(name, Instant::now()) {
                builds.loaded.insert(name.clone(), Arc::clone(&before));
                taken.push((name.clone(), Arc::clone(build), before));
            }
        }
        if taken.is_empty() {
            return;
        }
        let pipelines = self.pipelines.clone();
        match self.host.generation_of(self.number + 1, &pipelines, builds.clone()) {
            Ok(generation) => self.activate(generation, builds, pipelines),
            Err(misfits) => {
                let words = misfit_words(&misfits, &BTreeMap::new()).join("\n");
                warn!("a young build fails, and the one before does not fit the pipeline any more: {words}");
                return;
            }
        }
        let mut rejected = self.show(|s| s.rejected.clone());
        for (name, build, before) in taken {
            let why = format!(
                "plugin {name}: taken back after faults in a row, and the build before serves until the file changes; \
                 the latest fault: {}; its SHA-256 is {}",
                build.last_error().unwrap_or_default(),
                build.digest()
            );
            warn!(plugin = name, "{why}");
            rejected.insert(name.clone(), why.clone());
            self.probation.bar(&name, build, before, why);
        }
        self.show(|s| s.rejected.clone_from(&rejected));
        let policies = self.parts.router.policies().current();
        if policies.observes() {
            policies.tell(Event::reload(self.number, &rejected), None);
        }
    }

    /// Makes a generation the one in force.
    pub(super) fn activate(&mut self, generation: Arc<Generation>, builds: Builds, pipelines: config::Pipelines) {
        self.number = generation.generation();
        for (name, absent) in &builds.absent {
            let which = match absent.is_open() {
                true => "it is passed by",
                false => "calls and lists that would ask it fail",
            };
            warn!(plugin = name, "the router goes on without it: {which}");
        }
        let word = |absent: &Absent| if absent.is_open() { "open" } else { "closed" };
        let absent = builds.absent.iter().map(|(name, one)| (name.clone(), word(one)));
        self.show(|s| s.absent = absent.collect());
        let now = Instant::now();
        for (name, old) in &self.builds.loaded {
            if builds.loaded.get(name).is_some_and(|new| !Arc::ptr_eq(old, new)) {
                self.probation.replaced(name, Arc::clone(old), old.is_well(), now);
            }
        }
        self.probation.keep(|name, instead| {
            let serves = builds.loaded.get(name);
            serves.is_some_and(|serves| instead.is_none_or(|instead| Arc::ptr_eq(serves, instead)))
        });
        self.builds = builds;
        self.pipelines = pipelines;
        self.parts
            .router
            .policies()
            .swap(Arc::clone(&generation) as Arc<dyn Policy>);
        let number = self.number;
        // Before the count: status must not keep the generation before alive.
        self.shown().generation = Some(Arc::clone(&generation));
        self.generations.retain(|old| old.strong_count() > 0);
        self.generations.push(Arc::downgrade(&generation));
        let surplus = self
            .generations
            .len()
            .saturating_sub(self.config.policies.generations.max(1));
        for old in self.generations.drain(..surplus) {
            if let Some(old) = old.upgrade() {
                warn!(
                    generation = old.generation(),
                    "retired with calls still running: too many generations are alive"
                );
                old.retire();
            }
        }
        info!(generation = number, "policies active");
        let alive = self.generations.clone();
        let mut shown = self.shown();
        shown.status.generation = number;
        shown.alive = alive;
    }
}
