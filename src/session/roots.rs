//! The folders that a legacy agent works in: asked for when a policy first wants to know them, and known until the agent
//! says that they changed.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::store::{Session, lock};
use crate::backend::Ask;
use crate::call;
use crate::router::Listener;
use crate::wire::{Object, RawJson, method};

/// Bytes that are kept of an agent at most.
const MOST: usize = 64 << 10;

/// How long an agent that could not say is not asked again.
const RETRY: Duration = Duration::from_secs(10);

/// What became of a question; `None` is none yet, and what went wrong the inner one.
type Answer = Option<Option<RawJson>>;

/// The roots of one agent.
#[derive(Default)]
pub(super) struct Roots {
    asked: Mutex<Option<Asked>>,
}

/// A question that was put.
#[derive(Clone)]
struct Asked {
    since: Instant,
    answer: watch::Receiver<Answer>,
}

impl Asked {
    /// Whether it is of no use any more: it was refused, or answered with something else, and that is a while ago.
    fn is_stale(&self) -> bool {
        matches!(*self.answer.borrow(), Some(None)) && self.since.elapsed() >= RETRY
    }
}

impl Roots {
    /// They are others now: whoever wants to know asks again.
    pub(super) fn changed(&self) {
        *lock(&self.asked) = None;
    }

    /// The question that is out, or was answered; a new one by `listener` where there is none.
    fn asked(&self, listener: &dyn Listener) -> Asked {
        let mut asked = lock(&self.asked);
        if let Some(asked) = asked.as_ref().filter(|asked| !asked.is_stale()) {
            return asked.clone();
        }
        let (answer, answered) = watch::channel(None);
        let new = Asked {
            since: Instant::now(),
            answer: answered,
        };
        *asked = Some(new.clone());
        drop(asked);
        let (reply, said) = oneshot::channel();
        let (progress, _) = mpsc::channel(1);
        listener.ask(Ask {
            method: method::ROOTS_LIST.to_owned(),
            params: None,
            reply,
            progress,
        });
        // Whoever wanted to know may be gone by then: the answer is for the session.
        tokio::spawn(async move {
            let said = said.await.ok().and_then(Result::ok);
            answer.send_replace(Some(said.as_ref().and_then(listed)));
        });
        new
    }
}

/// The list in an answer, if it is one.
fn listed(answer: &RawJson) -> Option<RawJson> {
    let object = Object::parse(answer.as_str()).ok()?;
    let list = object.get("roots")?;
    // Also where it is empty: that is an answer.
    let is_good = list.starts_with('[') && list.len() <= MOST;
    is_good.then(|| RawJson::from(list.to_owned()))
}

/// The roots of a call's agent, who is asked on the stream of that call.
pub(super) struct CallRoots {
    session: Arc<Session>,
    listener: Arc<dyn Listener>,
}

impl CallRoots {
    /// Those of the agent of `session`, if it has any to tell of.
    pub(super) fn of(session: &Arc<Session>, listener: &Arc<dyn Listener>) -> Option<Arc<dyn call::Roots>> {
        session.roots.as_ref()?;
        Some(Arc::new(Self {
            session: Arc::clone(session),
            listener: Arc::clone(listener),
        }))
    }
}

impl fmt::Debug for CallRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "roots of {}", self.session.key())
    }
}

impl call::Roots for CallRoots {
    fn roots(&self, patience: Duration) -> call::RootsFuture<'_> {
        Box::pin(async move {
            let mut asked = self.session.roots.as_ref()?.asked(&*self.listener);
            // From when it was asked: one who does not answer keeps nobody waiting twice.
            let until = asked.since + patience;
            let answer = tokio::time::timeout_at(until, asked.answer.wait_for(Option::is_some)).await;
            answer.ok()?.ok()?.clone().flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Sink, refusal};

    /// An agent as far as it is asked.
    #[derive(Default)]
    struct Fake(Mutex<Vec<Ask>>);

    impl Sink for Fake {
        fn progress(&self, _: RawJson) {}
        fn log(&self, _: u8, _: RawJson) {}
        fn note(&self, _: &str, _: Option<&RawJson>) {}
        fn later(&self) -> Option<Arc<dyn Sink>> {
            None
        }
        fn ask(&self, ask: Ask) {
            lock(&self.0).push(ask);
        }
    }

    impl Listener for Fake {
        fn waiting(&self, _: &str, _: usize, _: Option<Duration>, _: &str) {}
    }

    impl Fake {
        /// Answers the one question that is out.
        fn answer(&self, with: Result<&str, &str>) {
            let mut asks = std::mem::take(&mut *lock(&self.0));
            assert_eq!(asks.len(), 1, "questions");
            let ask = asks.remove(0);
            let raw = |text: &str| RawJson::from(text.to_owned());
            ask.reply.send(with.map(raw).map_err(refusal)).unwrap();
        }
    }

    async fn known(asked: &Asked) -> Option<String> {
        let mut answer = asked.answer.clone();
        let said = answer.wait_for(Option::is_some).await.unwrap().clone().flatten();
        said.map(|roots| roots.as_str().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_is_asked_once_until_it_says_that_they_changed() {
        let (roots, agent) = (Roots::default(), Fake::default());
        let first = roots.asked(&agent);
        let second = roots.asked(&agent);
        agent.answer(Ok(r#"{"roots":[{"uri": "file:///a"}],"more":1}"#));
        for asked in [&first, &second, &roots.asked(&agent)] {
            assert_eq!(known(asked).await.as_deref(), Some(r#"[{"uri": "file:///a"}]"#));
        }
        assert!(lock(&agent.0).is_empty());
        roots.changed();
        let after = roots.asked(&agent);
        agent.answer(Ok(r#"{"roots":[]}"#));
        assert_eq!(known(&after).await.as_deref(), Some("[]"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_say_is_asked_again_after_a_while() {
        let (roots, agent) = (Roots::default(), Fake::default());
        let large = format!("{{\"roots\":[\"{}\"]}}", "x".repeat(MOST));
        for wrong in [Err("no"), Ok("{}"), Ok(r#"{"roots":{}}"#), Ok("1"), Ok(&large)] {
            let asked = roots.asked(&agent);
            agent.answer(wrong);
            assert_eq!(known(&asked).await, None, "{wrong:?}");
            roots.asked(&agent);
            assert!(lock(&agent.0).is_empty(), "{wrong:?}");
            tokio::time::advance(RETRY).await;
        }
        roots.asked(&agent);
        agent.answer(Ok(r#"{"roots":[]}"#));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_answer_is_asked_once() {
        let (roots, agent) = (Roots::default(), Fake::default());
        roots.asked(&agent);
        tokio::time::advance(10 * RETRY).await;
        roots.asked(&agent);
        assert_eq!(lock(&agent.0).len(), 1);
    }
}
