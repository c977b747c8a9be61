//! What plugins said about one call, in their order, and how long that took each. Pure, and never a word of params or
//! results: they may hold secrets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// The hook whose answers a new routing replaces.
const ROUTE: &str = "route";

/// Steps of one call that are kept; the ones in the middle go first. A call that is held asks again and again.
const MOST_STEPS: usize = 32;
/// Those at the beginning that stay.
const FIRST_STEPS: usize = 16;
/// Characters of words that are a policy's or an agent's.
const MOST_WORDS: usize = 500;

/// A backend that a plugin could have chosen, and the state that it was shown in.
pub type Seen = (Arc<str>, &'static str);

/// What one plugin said, or what became of asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing, to a question where that leaves all as it is.
    Next,
    /// Which backends may take the call.
    Narrow {
        /// These.
        to: Vec<Arc<str>>,
        /// Those that it chose among, where it left out one that offers the thing; else nothing was decided.
        among: Vec<Seen>,
    },
    /// This backend takes the call.
    Redirect {
        /// The backend.
        backend: String,
        /// What the thing is called there.
        name: Option<String>,
        /// What it could have gone to instead.
        among: Vec<Seen>,
    },
    /// Nobody takes the call; also a call in trouble that is to fail.
    Deny {
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// The plugin answered itself.
    Answer,
    /// Any target will do.
    Any,
    /// This target.
    Pick {
        /// Which of the replicas.
        replica: u32,
        /// The number of its spawn.
        incarnation: u64,
    },
    /// The call waits for so many milliseconds at most.
    Hold(u32),
    /// A call whose target died is written again.
    Replay,
    /// No edits.
    Unchanged,
    /// Edits to the params or to the result.
    Edited,
    /// It failed, or is switched off.
    Fault {
        /// What it did wrong, in one word.
        kind: &'static str,
        /// The same in several.
        message: String,
        /// It was passed by; else the call fails.
        open: bool,
    },
    /// The call is none that it is asked about.
    OutOfScope,
}

impl Said {
    /// Words of others at a length that can be kept.
    pub fn words(text: &str) -> String {
        match text.char_indices().nth(MOST_WORDS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }

    /// Whether it made a difference to where the call went, or to what became of it.
    pub fn is_decisive(&self) -> bool {
        match self {
            Self::Next | Self::Any | Self::Pick { .. } | Self::Unchanged | Self::OutOfScope => false,
            Self::Narrow { among, .. } => !among.is_empty(),
            Self::Redirect { .. }
            | Self::Deny { .. }
            | Self::Answer
            | Self::Hold(_)
            | Self::Replay
            | Self::Edited
            | Self::Fault { .. } => true,
        }
    }

    /// Whether the call came to nothing by it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Deny { .. } | Self::Fault { open: false, .. })
    }

    /// Bytes on the heap, about.
    fn size(&self) -> usize {
        let seen = |list: &[Seen]| size_of_val(list);
        match self {
            Self::Narrow { to, among } => size_of_val(&**to) + seen(among),
            Self::Redirect { backend, name, among } => {
                backend.len() + name.as_ref().map_or(0, String::len) + seen(among)
            }
            Self::Deny { code, message } => code.len() + message.len(),
            Self::Fault { message, .. } => message.len(),
            _ => 0,
        }
    }

    fn members(&self) -> Value {
        let seen = |list: &[Seen]| -> Vec<Value> {
            let one = |(backend, state): &Seen| json!({ "backend": &**backend, "state": state });
            list.iter().map(one).collect()
        };
        match self {
            Self::Next => json!({ "decision": "next" }),
            Self::Narrow { to, among } => {
                let to: Vec<&str> = to.iter().map(|backend| &**backend).collect();
                json!({ "decision": "narrow", "to": to, "among": seen(among) })
            }
            Self::Redirect { backend, name, among } => {
                json!({ "decision": "redirect", "backend": backend, "name": name, "among": seen(among) })
            }
            Self::Deny { code, message } => json!({ "decision": "deny", "code": code, "message": message }),
            Self::Answer => json!({ "decision": "answer" }),
            Self::Any => json!({ "decision": "any" }),
            Self::Pick { replica, incarnation } => {
                json!({ "decision": "pick", "replica": replica, "incarnation": incarnation })
            }
            Self::Hold(ms) => json!({ "decision": "hold", "ms": ms }),
            Self::Replay => json!({ "decision": "replay" }),
            Self::Unchanged => json!({ "decision": "unchanged" }),
            Self::Edited => json!({ "decision": "edited" }),
            Self::Fault { kind, message, open } => json!({
                "decision": "fault",
                "kind": kind,
                "message": message,
                "on_fault": if *open { "open" } else { "closed" },
            }),
            Self::OutOfScope => json!({ "decision": "out-of-scope" }),
        }
    }
}

/// One plugin, asked one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The generation that it was a part of.
    pub generation: u64,
    /// The name of the hook.
    pub hook: &'static str,
    /// The plugin's name in the configuration.
    pub plugin: Arc<str>,
    /// What came of it.
    pub said: Said,
    /// How long that took.
    pub took: Duration,
    /// The call was routed anew after this: it counts no more.
    pub superseded: bool,
}

impl Step {
    /// Whether it had a part in what became of the call.
    pub fn is_decisive(&self) -> bool {
        !self.superseded && self.said.is_decisive()
    }

    /// Whether the call failed by it.
    pub fn is_refusal(&self) -> bool {
        !self.superseded && self.said.is_refusal()
    }

    /// For programs, as one object.
    pub fn to_json(&self) -> Value {
        let mut step = Map::from_iter([
            ("hook".to_owned(), json!(self.hook)),
            ("plugin".to_owned(), json!(&*self.plugin)),
            ("generation".to_owned(), json!(self.generation)),
            (
                "took_us".to_owned(),
                json!(u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX)),
            ),
            ("decided".to_owned(), json!(self.is_decisive())),
        ]);
        if self.superseded {
            step.insert("superseded".to_owned(), true.into());
        }
        if let Value::Object(members) = self.said.members() {
            step.extend(members);
        }
        Value::Object(step)
    }
}

/// What is noted of a call on its way.
#[derive(Debug, Default)]
pub struct Notes {
    /// The first steps and the last ones.
    pub steps: Vec<Step>,
    /// How many there were between them.
    pub left_out: u32,
    /// How long the call waited.
    pub held: Duration,
}

impl Notes {
    /// Whether any plugin decided anything.
    pub fn are_decisive(&self) -> bool {
        self.steps.iter().any(Step::is_decisive)
    }

    /// Bytes on the heap, about.
    pub fn size(&self) -> usize {
        let words: usize = self.steps.iter().map(|step| step.said.size()).sum();
        self.steps.capacity() * size_of::<Step>() + words
    }
}

/// Where the notes of one call are taken. Nobody else asks about that call, so the lock is always free; a clone is
/// another call's.
#[derive(Debug, Default)]
pub struct Trail(Mutex<Notes>);

impl Clone for Trail {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Trail {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A plugin was asked.
    pub fn add(&self, step: Step) {
        let mut notes = self.notes();
        if notes.steps.len() == MOST_STEPS {
            notes.steps.remove(FIRST_STEPS);
            notes.left_out += 1;
        }
        notes.steps.push(step);
    }

    /// It is routed anew, for the policies changed while it waited: what was said of its route before counts no more.
    pub fn routed_anew(&self) {
        let mut notes = self.notes();
        for step in notes.steps.iter_mut().filter(|step| step.hook == ROUTE) {
            step.superseded = true;
        }
    }

    /// It waited for so long.
    pub fn waited(&self, time: Duration) {
        self.notes().held += time;
    }

    /// All of it; nothing is left.
    pub fn take(&self) -> Notes {
        std::mem::take(&mut self.notes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(plugin: &str, said: Said) -> Step {
        Step {
            generation: 1,
            hook: "select",
            plugin: plugin.into(),
            said,
            took: Duration::from_micros(3),
            superseded: false,
        }
    }

    #[test]
    fn what_was_said_of_a_route_counts_until_the_call_is_routed_anew() {
        let trail = Trail::default();
        let deny = || Said::Deny {
            code: "c".to_owned(),
            message: "m".to_owned(),
        };
        let of = |hook, said| Step {
            hook,
            ..step("p", said)
        };
        trail.add(of(ROUTE, deny()));
        trail.add(of("settle", Said::Replay));
        trail.routed_anew();
        trail.add(of(ROUTE, deny()));
        let counts: Vec<bool> = trail.take().steps.iter().map(Step::is_decisive).collect();
        assert_eq!(counts, [false, true, true]);
        let old = Step {
            superseded: true,
            ..of(ROUTE, deny())
        };
        assert!(!old.is_refusal() && old.to_json()["decided"] == false && old.to_json()["superseded"] == true);
    }

    #[test]
    fn of_many_steps_the_first_and_the_last_are_kept() {
        let trail = Trail::default();
        for n in 0..100 {
            trail.add(step(&n.to_string(), Said::Hold(5)));
        }
        let notes = trail.take();
        let names: Vec<&str> = notes.steps.iter().map(|step| &*step.plugin).collect();
        assert_eq!((names.len(), notes.left_out), (MOST_STEPS, 68));
        assert_eq!((names[0], names[15], names[16], names[31]), ("0", "15", "84", "99"));
        assert!(trail.take().steps.is_empty() && notes.size() >= MOST_STEPS * size_of::<Step>());
    }

    #[test]
    fn a_clone_is_of_another_call() {
        let trail = Trail::default();
        trail.add(step("p", Said::Next));
        assert!(trail.clone().take().steps.is_empty());
        assert_eq!(trail.take().steps.len(), 1);
    }

    #[test]
    fn a_choice_among_those_that_offer_it_decides_and_what_nobody_offered_does_not() {
        let narrow = |among: Vec<Seen>| Said::Narrow {
            to: vec!["a".into()],
            among,
        };
        assert!(!narrow(Vec::new()).is_decisive());
        assert!(narrow(vec![("a".into(), "ready"), ("b".into(), "ready")]).is_decisive());
        let fault = |open| Said::Fault {
            kind: "cpu",
            message: String::new(),
            open,
        };
        assert!(fault(true).is_decisive() && !fault(true).is_refusal() && fault(false).is_refusal());
    }

    #[test]
    fn words_of_others_have_an_end() {
        assert_eq!(Said::words("short"), "short");
        assert_eq!(Said::words(&"ä".repeat(600)).chars().count(), MOST_WORDS + 1);
    }

    #[test]
    fn a_step_is_one_object() {
        let deny = Said::Deny {
            code: "c".to_owned(),
            message: "m".to_owned(),
        };
        insta::assert_snapshot!(step("p", deny).to_json(), @r#"{"code":"c","decided":true,"decision":"deny","generation":1,"hook":"select","message":"m","plugin":"p","took_us":3}"#);
    }
}
