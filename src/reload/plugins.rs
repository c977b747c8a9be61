//! The plugins of the configuration: which of them are loaded anew, and what becomes of the policies when that is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tracing::warn;

use super::{PIPELINE, Reloader, misfit_words};
use crate::config;
use crate::plugin::{Absent, Builds, Loaded};
use crate::policy::Event;
use crate::watch::Hint;

/// The builds that make a generation, and the plugins that are not as they should be.
struct Hand {
    builds: Builds,
    rejected: BTreeMap<String, String>,
}

impl Reloader {
    /// Begins to load those plugins whose file may be one of `changed`, or which are set otherwise than what is loaded
    /// of them. A load that is under way goes on where it is of the same settings and the same file.
    pub(super) fn load_plugins(&mut self, changed: &Hint) {
        self.loads.retain(&self.config.plugins);
        let refused = self.show(|s| s.rejected.clone());
        for (name, settings) in &self.config.plugins {
            let may_have_changed = match &settings.source {
                config::Source::File(path) => changed.contains(path),
                config::Source::Embedded(_) | config::Source::Pulled(_) => false,
            };
            let is_needed = match self.loads.is_of(name, settings) {
                Some(same_settings) => !same_settings || (may_have_changed && !self.loads.looks_same(name, settings)),
                None => {
                    let loaded = self.builds.loaded.get(name).is_some_and(|build| build.is_of(settings));
                    // What was refused for want of something else, such as room on a disk, may be good by now.
                    may_have_changed || !loaded || refused.contains_key(name)
                }
            };
            if is_needed {
                self.loads.begin(&self.host, name, settings);
            }
        }
    }

    /// A load has ended: what it brought goes into force as soon as nothing that belongs to it is missing.
    pub(super) fn take_up(&mut self) {
        if let Some(hand) = self.hand() {
            self.bring(hand);
        }
        self.show(|s| s.loading = self.loads.under_way());
        if !self.loads.are_under_way() {
            self.loads.clear();
            self.report();
        }
    }

    /// Tells those who wait for the loads that there are none left.
    fn report(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return;
        }
        let endpoints = self.parts.router.endpoints();
        tokio::spawn(async move {
            // Whoever waits for the reload sees what it did.
            join_all(endpoints.values().map(|e| e.fresh_view())).await;
            for done in waiting {
                // Who went away does not want to know.
                let _ = done.send(());
            }
        });
    }

    /// What a generation would be made of now. While a plugin that is new or set differently is on its way there is
    /// none: it belongs to the configuration that wants it. For one of which only the file changed the build before
    /// stands in.
    fn hand(&self) -> Option<Hand> {
        let known = self.show(|s| s.rejected.clone());
        let (mut builds, mut rejected) = (Builds::default(), BTreeMap::new());
        for (name, settings) in &self.config.plugins {
            let last_good = self.builds.loaded.get(name);
            let mut absent = None;
            let build = match self.loads.outcome(name) {
                None => {
                    // It may have been taken back while others were loaded.
                    rejected.extend(known.get_key_value(name).map(|(n, why)| (n.clone(), why.clone())));
                    last_good
                }
                Some(None) => {
                    rejected.extend(known.get_key_value(name).map(|(n, why)| (n.clone(), why.clone())));
                    let stands_in = last_good.filter(|build| build.is_of(settings));
                    absent = self.builds.absent.get(name).filter(|one| one.is_of(settings)).cloned();
                    if stands_in.is_none() && absent.is_none() {
                        return None;
                    }
                    stands_in
                }
                Some(Some(Ok(build))) => {
                    let same = |barred: &Arc<Loaded>| barred.digest() == build.digest() && barred.is_of(settings);
                    match self.probation.bars(name, same) {
                        None => Some(build),
                        Some(why) => {
                            rejected.insert(name.clone(), why.to_owned());
                            last_good
                        }
                    }
                }
                Some(Some(Err(why))) => {
                    rejected.insert(name.clone(), why.clone());
                    absent = Absent::new(name, settings, why).map(Arc::new);
                    last_good
                }
            };
            match build {
                Some(build) => drop(builds.loaded.insert(name.clone(), Arc::clone(build))),
                None => builds.absent.extend(absent.map(|absent| (name.clone(), absent))),
            }
        }
        Some(Hand { builds, rejected })
    }

    /// Why the router cannot start with what was loaded, in words; `None` where it can.
    pub(super) fn unfit_to_start(&self) -> Option<String> {
        let Hand { builds, mut rejected } = self.hand()?;
        rejected.retain(|name, _| !builds.absent.contains_key(name));
        let misfits = self.host.generation_of(0, &self.config.pipelines(), builds);
        // There is nothing to go on with: reasons are told all at once.
        let words = misfit_words(&misfits.err().unwrap_or_default(), &rejected);
        if !words.is_empty() {
            rejected.insert(PIPELINE.to_owned(), words.join("\n"));
        }
        let reasons: Vec<_> = rejected.into_values().collect();
        (!reasons.is_empty()).then(|| reasons.join("\n"))
    }

    /// Makes a generation, if it is another one than that in force.
    fn bring(&mut self, hand: Hand) {
        let Hand { builds, mut rejected } = hand;
        let pipelines = self.config.pipelines();
        let (new, old) = (&builds.loaded, &self.builds.loaded);
        let same = new.len() == old.len()
            && new
                .iter()
                .all(|(n, l)| old.get(n).is_some_and(|old| Arc::ptr_eq(old, l)))
            && builds.absent == self.builds.absent;
        let mut changed = !rejected.is_empty();
        if self.number == 0 || !same || pipelines != self.pipelines {
            changed = true;
            match self.host.generation_of(self.number + 1, &pipelines, builds.clone()) {
                Ok(generation) => self.activate(generation, builds, pipelines),
                Err(misfits) => {
                    let mut words = misfit_words(&misfits, &rejected);
                    if words.is_empty() {
                        // A refused plugin is all of it, and even so the pipeline is not in force.
                        words = misfit_words(&misfits, &BTreeMap::new());
                    }
                    let words = words.join("\n");
                    warn!("the policies stay as they are: {words}");
                    rejected.insert(PIPELINE.to_owned(), words);
                }
            }
        }
        self.show(|s| s.rejected.clone_from(&rejected));
        let policies = self.parts.router.policies().current();
        if changed && policies.observes() {
            policies.tell(Event::reload(self.number, &rejected), None);
        }
    }
}
