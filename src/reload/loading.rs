//! Loads of plugins under way, each in a task of its own: the newest wish for a plugin counts, and older ones end.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use tokio::task::{AbortHandle, Id, JoinSet};
use tracing::warn;

use crate::config::{Plugin, Source};
use crate::plugin::{Host, LoadError, Loaded};
use crate::watch::Look;

/// What a load brought: a build, or why there is none.
type Outcome = Result<Arc<Loaded>, String>;

/// The newest wish for one plugin.
struct Wish {
    settings: Plugin,
    /// What its file looked like before it was read.
    look: Option<Look>,
    task: AbortHandle,
    outcome: Option<Outcome>,
}

/// All loads since the last time that none was under way.
#[derive(Default)]
pub(super) struct Loads {
    wishes: BTreeMap<String, Wish>,
    tasks: JoinSet<Result<Arc<Loaded>, LoadError>>,
}

impl Loads {
    /// Begins to load a plugin, instead of whatever is under way for it.
    pub(super) fn begin(&mut self, host: &Arc<Host>, name: &str, settings: &Plugin) {
        let look = look(settings);
        let (host, label, plugin) = (Arc::clone(host), name.to_owned(), settings.clone());
        let task = self.tasks.spawn(async move { host.load(&label, &plugin).await });
        let wish = Wish {
            settings: settings.clone(),
            look,
            task,
            outcome: None,
        };
        if let Some(older) = self.wishes.insert(name.to_owned(), wish) {
            older.task.abort();
        }
    }

    /// Ends the loads of plugins that are not wanted any more.
    pub(super) fn retain(&mut self, wanted: &BTreeMap<String, Plugin>) {
        self.wishes.retain(|name, wish| {
            let stays = wanted.contains_key(name);
            if !stays {
                wish.task.abort();
            }
            stays
        });
    }

    /// Whether a plugin is being loaded, or was among these, with such settings.
    pub(super) fn is_of(&self, name: &str, settings: &Plugin) -> Option<bool> {
        self.wishes.get(name).map(|wish| wish.settings == *settings)
    }

    /// Whether the file of a plugin looks as it did when its load began.
    pub(super) fn looks_same(&self, name: &str, settings: &Plugin) -> bool {
        self.wishes.get(name).is_some_and(|wish| wish.look == look(settings))
    }

    /// What the load of a plugin brought, if there was one and if it is over.
    pub(super) fn outcome(&self, name: &str) -> Option<Option<&Outcome>> {
        self.wishes.get(name).map(|wish| wish.outcome.as_ref())
    }

    /// Whether any outcome is missing.
    pub(super) fn are_under_way(&self) -> bool {
        self.wishes.values().any(|wish| wish.outcome.is_none())
    }

    /// The plugins of which it is.
    pub(super) fn under_way(&self) -> Vec<String> {
        let missing = self.wishes.iter().filter(|(_, wish)| wish.outcome.is_none());
        missing.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets what they brought.
    pub(super) fn clear(&mut self) {
        self.wishes.clear();
    }

    /// Waits until one that still counts is over; forever where there is none.
    pub(super) async fn next(&mut self) {
        loop {
            let (id, outcome) = match self.tasks.join_next_with_id().await {
                Some(Ok((id, outcome))) => (id, outcome.map_err(|e| e.to_string())),
                Some(Err(error)) => (error.id(), Err(format!("loading it ended by a bug: {error}"))),
                None => return pending().await,
            };
            if self.note(id, outcome) {
                return;
            }
        }
    }

    /// Notes an outcome; false where nobody wants it any more.
    fn note(&mut self, id: Id, outcome: Outcome) -> bool {
        let Some((name, wish)) = self.wishes.iter_mut().find(|(_, wish)| wish.task.id() == id) else {
            return false;
        };
        if let Err(why) = &outcome {
            warn!(plugin = name, "refused: {why}");
        }
        wish.outcome = Some(outcome);
        true
    }
}

fn look(settings: &Plugin) -> Option<Look> {
    match &settings.source {
        Source::File(path) => Some(Look::at(path)),
        Source::Embedded(_) | Source::Pulled(_) => None,
    }
}
