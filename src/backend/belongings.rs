//! Things of which a target speaks later, by ids of its own and outside of any call: tasks, and what users do in their
//! browsers. Whose each of them is, and what its agent calls it.
//!
//! An agent knows tasks by other ids than their server does, so the ids in messages that belong to a task are replaced,
//! both ways.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::target::Sink;
use crate::wire::json::quote;
use crate::wire::meta::{self, Change};
use crate::wire::{Object, RawJson, method};

/// Things of one backend that are remembered at most: those beyond are told of no more.
const MOST: usize = 1024;

/// A kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A task of a legacy server (2025-11-25).
    Task,
    /// An elicitation in URL mode.
    Elicitation,
}

impl Thing {
    /// Whether this notification is about such a thing.
    pub(super) fn is_told_by(method: &str) -> bool {
        Self::told_by(method).is_some()
    }

    /// What a notification is about, and the member of its params that says which.
    fn told_by(method: &str) -> Option<(Self, &'static str)> {
        match method {
            method::TASK_STATUS => Some((Self::Task, method::TASK_ID)),
            method::ELICITED => Some((Self::Elicitation, method::ELICITATION_ID)),
            _ => None,
        }
    }
}

struct Belonging {
    thing: Thing,
    replica: u32,
    id: String,
    /// What its agent calls it.
    name: String,
    sink: Arc<dyn Sink>,
}

/// Those of one backend, newest last.
#[derive(Default)]
pub(super) struct Belongings {
    table: Mutex<VecDeque<Belonging>>,
    any: AtomicBool,
}

impl Belongings {
    /// What `id` is at a target belongs to the agent behind `sink`, who calls it `name`.
    pub(super) fn add(&self, replica: u32, thing: Thing, id: &str, name: &str, sink: Arc<dyn Sink>) {
        let mut table = self.table();
        table.retain(|known| !known.is(replica, thing, id));
        if table.len() >= MOST {
            table.pop_front();
        }
        table.push_back(Belonging {
            thing,
            replica,
            id: id.to_owned(),
            name: name.to_owned(),
            sink,
        });
        self.any.store(true, Ordering::Relaxed);
    }

    /// Tells the agent that a notification is for. False where it is about nothing that anybody has.
    pub(super) fn tell(&self, replica: u32, name: &str, params: Option<&RawJson>) -> bool {
        let Some((thing, member)) = Thing::told_by(name) else {
            return false;
        };
        let Some(mut object) = params.and_then(|p| Object::parse(p.as_str()).ok()) else {
            return false;
        };
        let Some(id) = object.get_str(member).map(Cow::into_owned) else {
            return false;
        };
        let mut table = self.table();
        let Some(at) = table.iter().position(|known| known.is(replica, thing, &id)) else {
            return false;
        };
        let (sink, named) = (Arc::clone(&table[at].sink), quote(&table[at].name));
        if thing == Thing::Elicitation {
            // That was all there is to say of it.
            table.remove(at);
        }
        drop(table);
        object.set(member, named);
        sink.note(name, Some(&object.to_text().into()));
        true
    }

    /// What a target said of a task of its, with the agent's name for that.
    pub(super) fn for_agent(&self, replica: u32, params: RawJson) -> RawJson {
        self.renamed(params, |known, id| {
            known.is(replica, Thing::Task, id).then_some(&*known.name)
        })
    }

    /// What an agent said of a task, with the target's id for that.
    pub(super) fn for_target(&self, replica: u32, said: RawJson) -> RawJson {
        let is = |known: &Belonging, name: &str| {
            known.thing == Thing::Task && known.replica == replica && known.name == name
        };
        self.renamed(said, |known, name| is(known, name).then_some(&*known.id))
    }

    fn renamed(&self, text: RawJson, find: impl for<'k> Fn(&'k Belonging, &str) -> Option<&'k str>) -> RawJson {
        let is_related = || memchr::memmem::find(text.as_str().as_bytes(), method::META_TASK.as_bytes()).is_some();
        if !self.any.load(Ordering::Relaxed) || !is_related() {
            return text;
        }
        let table = self.table();
        let other = |id: &str| table.iter().rev().find_map(|known| find(known, id)).map(str::to_owned);
        related(text.as_str(), other).map_or(text, RawJson::from)
    }

    /// A target is gone, and with it what it had.
    pub(super) fn forget(&self, replica: u32) {
        self.table().retain(|known| known.replica != replica);
    }

    fn table(&self) -> MutexGuard<'_, VecDeque<Belonging>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Belonging {
    fn is(&self, replica: u32, thing: Thing, id: &str) -> bool {
        self.thing == thing && self.replica == replica && self.id == id
    }
}

/// The text with another id of the task that it belongs to; `None` where it belongs to none that is known.
fn related(text: &str, other: impl Fn(&str) -> Option<String>) -> Option<String> {
    let object = Object::parse(text).ok()?;
    let meta = Object::parse(object.get("_meta")?).ok()?;
    let mut task = Object::parse(meta.get(method::META_TASK)?).ok()?;
    let id = other(&task.get_str(method::TASK_ID)?)?;
    task.set(method::TASK_ID, quote(&id));
    meta::changed(text, method::META_TASK, Change::Replace(&task.to_text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Ask;

    #[derive(Default)]
    struct Ear(Mutex<Vec<String>>);

    impl Sink for Ear {
        fn progress(&self, _: RawJson) {}
        fn log(&self, _: u8, _: RawJson) {}
        fn ask(&self, _: Ask) {}
        fn note(&self, method: &str, params: Option<&RawJson>) {
            let params = params.map_or("", RawJson::as_str);
            self.0.lock().unwrap().push(format!("{method} {params}"));
        }
        fn later(&self) -> Option<Arc<dyn Sink>> {
            None
        }
    }

    fn raw(text: &str) -> RawJson {
        RawJson::from(text.to_owned())
    }

    #[test]
    fn what_is_told_of_a_thing_reaches_whose_it_is_under_its_name() {
        let (all, ear) = (Belongings::default(), Arc::new(Ear::default()));
        all.add(0, Thing::Task, "t", "mine", Arc::clone(&ear) as _);
        all.add(0, Thing::Elicitation, "e", "e", Arc::clone(&ear) as _);
        let status = raw(r#"{"taskId":"t","status":"working"}"#);
        assert!(all.tell(0, method::TASK_STATUS, Some(&status)));
        assert!(!all.tell(1, method::TASK_STATUS, Some(&status)), "another replica's");
        let done = raw(r#"{"elicitationId":"e"}"#);
        assert!(all.tell(0, method::ELICITED, Some(&done)));
        assert!(!all.tell(0, method::ELICITED, Some(&done)), "once");
        assert!(!all.tell(0, method::TASK_STATUS, Some(&raw("{}"))) && !all.tell(0, "notifications/x", None));
        let told = [
            r#"notifications/tasks/status {"taskId":"mine","status":"working"}"#,
            r#"notifications/elicitation/complete {"elicitationId":"e"}"#,
        ];
        assert_eq!(*ear.0.lock().unwrap(), told);
        all.forget(0);
        assert!(!all.tell(0, method::TASK_STATUS, Some(&status)));
    }

    #[test]
    fn a_message_of_a_task_names_it_as_its_reader_does() {
        let (all, ear) = (Belongings::default(), Arc::new(Ear::default()));
        let of = |id: &str| {
            raw(&format!(
                r#"{{"a": 1,"_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{id}"}}}}}}"#
            ))
        };
        assert_eq!(all.for_agent(0, of("t")).as_str(), of("t").as_str(), "nobody has one");
        all.add(0, Thing::Task, "t", "mine", ear);
        let without = |text: RawJson| text.as_str().replace(": 1", ":1");
        assert_eq!(without(all.for_agent(0, of("t"))), without(of("mine")));
        assert_eq!(without(all.for_target(0, of("mine"))), without(of("t")));
        assert_eq!(all.for_agent(0, of("other")).as_str(), of("other").as_str());
        assert_eq!(all.for_agent(1, of("t")).as_str(), of("t").as_str());
    }

    #[test]
    fn there_are_not_more_than_there_may_be() {
        let (all, ear) = (Belongings::default(), Arc::new(Ear::default()));
        for n in 0..=MOST {
            all.add(0, Thing::Task, &n.to_string(), "x", Arc::clone(&ear) as _);
        }
        assert_eq!(all.table().len(), MOST);
        assert!(!all.tell(0, method::TASK_STATUS, Some(&raw(r#"{"taskId":"0"}"#))));
        assert!(all.tell(0, method::TASK_STATUS, Some(&raw(r#"{"taskId":"1"}"#))));
    }
}
