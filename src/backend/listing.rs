//! Which lists of a target are being fetched, and what follows from an answer.

use tokio::time::Instant;
use tracing::warn;

use super::actor::Actor;
use super::fetch::{Fetch, FetchStep};
use super::lists::Item;
use crate::wire::{Era, Kind, Topic};

/// The fetches of one target.
#[derive(Debug, Default)]
pub(super) struct Listing {
    slots: [Slot; 4],
    begun: u64,
}

/// The fetch of one list.
#[derive(Debug, Default)]
struct Slot {
    fetch: Option<Fetch>,
    due: Option<Instant>,
    /// The server said that the list changed: agents are told even if it looks the same.
    announced: bool,
    /// It said so after the present fetch began.
    again: bool,
}

impl Listing {
    /// Forgets all fetches: their target is gone.
    pub(super) fn clear(&mut self) {
        self.slots = Default::default();
    }

    /// When the next one is overdue.
    pub(super) fn due(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.due).min()
    }

    /// The kind whose list was asked for with this id.
    pub(super) fn asked(&self, id: &str) -> Option<Kind> {
        let asked = |kind: &Kind| {
            let fetch = &self.slots[kind.position()].fetch;
            fetch.as_ref().is_some_and(|f| f.id() == id)
        };
        Kind::ALL.into_iter().find(asked)
    }

    /// The list changed while the handshake still goes on: the page that was answered already may be stale.
    pub(super) fn stale(&mut self, topic: Topic) {
        for kind in topic.kinds() {
            self.slots[kind.position()].again = true;
        }
    }
}

impl Actor {
    /// After the handshake, which brought the tools: asks for everything else that the target has.
    pub(super) fn begin_lists(&mut self) {
        let Some(facts) = &self.facts else { return };
        let has = Kind::ALL.map(|kind| facts.has(kind.capability()));
        for kind in Kind::ALL {
            let again = std::mem::take(&mut self.listing.slots[kind.position()].again);
            match (kind, has[kind.position()]) {
                (Kind::Tools, _) => {
                    if again {
                        self.refresh(Kind::Tools, true);
                    }
                }
                (_, true) => self.refresh(kind, again),
                (_, false) => self.shared.lists.publish(kind, Vec::new(), self.incarnation, false),
            }
        }
    }

    /// Fetches a list, once more if it changes meanwhile.
    pub(super) fn refresh(&mut self, kind: Kind, announced: bool) {
        let Some(era) = self.facts.as_ref().map(|f| f.era) else {
            return;
        };
        let slot = &mut self.listing.slots[kind.position()];
        if slot.fetch.is_some() {
            slot.again = true;
            return;
        }
        // Far above the ids of the handshake, and none twice: a late answer must not be taken for another's.
        self.listing.begun += 1;
        let (fetch, line) = Fetch::begin(kind, era, self.listing.begun * 1_000_000);
        slot.fetch = Some(fetch);
        slot.announced = announced;
        slot.due = Some(Instant::now() + self.settings.start_timeout);
        self.send_own(&line);
    }

    /// The answer to a fetch.
    pub(super) fn on_list(&mut self, kind: Kind, outcome: Result<&str, &str>) {
        let slot = &mut self.listing.slots[kind.position()];
        let Some(fetch) = &mut slot.fetch else { return };
        match fetch.on_result(outcome) {
            FetchStep::Send(line) => self.send_own(&line),
            FetchStep::Done(items) => {
                let announced = slot.announced;
                let items = self.usable(items);
                self.shared.lists.publish(kind, items, self.incarnation, announced);
                self.next_fetch(kind);
            }
            FetchStep::Failed(why) => self.end_fetch(kind, &why),
        }
    }

    /// The items without those that a modern client must not use. The router is one, towards a modern target.
    pub(super) fn usable(&self, mut items: Vec<Item>) -> Vec<Item> {
        if self.facts.as_ref().is_some_and(|f| f.era == Era::Modern) {
            items.retain(|item| match item.mirrored {
                Ok(_) => true,
                Err(why) => {
                    warn!(backend = %self.shared.name, tool = %item.key, "left out: {why}");
                    false
                }
            });
        }
        items
    }

    /// Ends the fetches that were never answered.
    pub(super) fn end_overdue_fetches(&mut self, now: Instant) {
        for kind in Kind::ALL {
            let slot = &self.listing.slots[kind.position()];
            if slot.due.is_some_and(|due| due <= now) {
                if let Some(id) = slot.fetch.as_ref().map(|fetch| fetch.id().to_owned()) {
                    self.withdraw(&id, "overdue");
                }
                self.end_fetch(kind, "no answer came");
            }
        }
    }

    /// The list could not be had: the old one stays, until it changes again; without one it counts as empty.
    fn end_fetch(&mut self, kind: Kind, why: &str) {
        warn!(backend = %self.shared.name, "a list could not be fetched: {why}");
        if self.shared.lists.of(kind).borrow().is_none() {
            self.shared.lists.publish(kind, Vec::new(), self.incarnation, false);
        }
        self.next_fetch(kind);
    }

    /// One fetch is over. The list may have changed meanwhile, which may be the very reason why a cursor was
    /// refused.
    fn next_fetch(&mut self, kind: Kind) {
        let slot = std::mem::take(&mut self.listing.slots[kind.position()]);
        if slot.again {
            self.refresh(kind, true);
        }
    }
}
