//! The folders that a legacy agent works in: asked for when a policy first wants to know them, and known until the agent
//! says that they changed.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::warn;

use super::store::{Session, lock};
use crate::backend::Ask;
use crate::call;
use crate::router::Listener;
use crate::wire::{Object, RawJson, method};

/// Bytes that are kept of an agent at most. They count into the size of its session, there or not.
pub(super) const MOST: usize = 4 << 10;

/// How long an agent that could not say is not asked again, and one that did not answer is not waited for.
const RETRY: Duration = Duration::from_secs(10);

/// What became of a question; `None` is none yet, and what went wrong the inner one.
type Answer = Option<Option<RawJson>>;

/// The roots of one agent.
#[derive(Default)]
pub(super) struct Roots {
    asked: Mutex<Option<Asked>>,
    /// When it was last waited for in vain.
    in_vain: Mutex<Option<Instant>>,
}

/// An object of the list. Nothing else than that it is one is looked at.
#[derive(Deserialize)]
struct Root {
    #[serde(rename = "uri")]
    _uri: String,
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
            tokio::select! {
                said = said => {
                    let said = said.ok().and_then(Result::ok);
                    answer.send_replace(Some(said.as_ref().and_then(listed)));
                }
                // Others are asked for by now, and the agent is told.
                () = answer.closed() => {}
            }
        });
        new
    }

    /// The answer, if it is there after `patience`.
    async fn wait(&self, asked: &mut Asked, patience: Duration) -> Option<RawJson> {
        // However often it says that they changed.
        let waits = !patience.is_zero() && lock(&self.in_vain).is_none_or(|then| then.elapsed() >= RETRY);
        // From when it was asked: one who does not answer keeps nobody waiting twice.
        let until = asked.since + if waits { patience } else { Duration::ZERO };
        let Ok(answer) = tokio::time::timeout_at(until, asked.answer.wait_for(Option::is_some)).await else {
            if waits {
                *lock(&self.in_vain) = Some(Instant::now());
            }
            return None;
        };
        answer.ok()?.clone().flatten()
    }
}

/// The list in an answer, if it is one.
fn listed(answer: &RawJson) -> Option<RawJson> {
    let object = Object::parse(answer.as_str()).ok()?;
    let list = object.get("roots")?;
    if list.len() > MOST {
        warn!(
            "the roots of an agent are not taken: {} bytes, {MOST} are allowed",
            list.len()
        );
        return None;
    }
    // Also where it is empty: that is an answer.
    serde_json::from_str::<Vec<Root>>(list).ok()?;
    Some(RawJson::from(list.to_owned()))
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
            let roots = self.session.roots.as_ref()?;
            let mut asked = roots.asked(&*self.listener);
            roots.wait(&mut asked, patience).await
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

    const PATIENCE: Duration = Duration::from_millis(500);

    async fn known(roots: &Roots, mut asked: Asked) -> Option<String> {
        let said = roots.wait(&mut asked, PATIENCE).await;
        said.map(|roots| roots.as_str().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_is_asked_once_until_it_says_that_they_changed() {
        let (roots, agent) = (Roots::default(), Fake::default());
        let first = roots.asked(&agent);
        let second = roots.asked(&agent);
        agent.answer(Ok(r#"{"roots":[{"uri": "file:///a"}],"more":1}"#));
        for asked in [first, second, roots.asked(&agent)] {
            assert_eq!(known(&roots, asked).await.as_deref(), Some(r#"[{"uri": "file:///a"}]"#));
        }
        assert!(lock(&agent.0).is_empty());
        roots.changed();
        let after = roots.asked(&agent);
        agent.answer(Ok(r#"{"roots":[]}"#));
        assert_eq!(known(&roots, after).await.as_deref(), Some("[]"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_say_is_asked_again_after_a_while() {
        let (roots, agent) = (Roots::default(), Fake::default());
        let large = format!("{{\"roots\":[{{\"uri\":\"{}\"}}]}}", "x".repeat(MOST));
        let answers = [
            "{}",
            "1",
            r#"{"roots":{}}"#,
            r#"{"roots":[1]}"#,
            r#"{"roots":[{"name":"a"}]}"#,
            r#"{"roots":[{"uri":5}]}"#,
            r#"{"roots":[{"uri":"a"},{"uri":"b","uri":"c"}]}"#,
            &large,
        ];
        for wrong in [Err("no")].into_iter().chain(answers.map(Ok)) {
            let asked = roots.asked(&agent);
            agent.answer(wrong);
            assert_eq!(known(&roots, asked).await, None, "{wrong:?}");
            roots.asked(&agent);
            assert!(lock(&agent.0).is_empty(), "{wrong:?}");
            tokio::time::advance(RETRY).await;
        }
        roots.asked(&agent);
        agent.answer(Ok(r#"{"roots":[]}"#));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_answer_is_waited_for_once_whatever_it_says_has_changed() {
        let (roots, agent) = (Roots::default(), Fake::default());
        let begin = Instant::now();
        for _ in 0..3 {
            let asked = roots.asked(&agent);
            assert_eq!(known(&roots, asked).await, None);
        }
        assert_eq!(lock(&agent.0).len(), 1);
        roots.changed();
        let asked = roots.asked(&agent);
        assert_eq!(known(&roots, asked).await, None);
        assert_eq!(begin.elapsed(), PATIENCE);
        // The first question is of no use any more.
        let mut asks = std::mem::take(&mut *lock(&agent.0));
        asks[0].reply.closed().await;
        // The second one is, and later so is waiting.
        let asked = roots.asked(&agent);
        asks.remove(1)
            .reply
            .send(Ok(RawJson::from(r#"{"roots":[]}"#.to_owned())))
            .unwrap();
        tokio::time::advance(RETRY).await;
        assert_eq!(known(&roots, asked).await.as_deref(), Some("[]"));
        roots.changed();
        let asked = roots.asked(&agent);
        let begin = Instant::now();
        assert_eq!(known(&roots, asked).await, None);
        assert_eq!(begin.elapsed(), PATIENCE);
    }
}
