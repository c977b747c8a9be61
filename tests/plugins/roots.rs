//! Hooks that wait until an agent says in which folders it works. How agents are asked is told in `tests/bridge/roots.rs`.

use std::sync::Arc;
use std::time::Duration;

use pointsman::call::{Call, Roots, RootsFuture};
use pointsman::policy::{Policy, RouteChoice};
use pointsman::wire::RawJson;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::support::*;

/// An agent that answers when it is told to, however long that takes.
#[derive(Debug, Default)]
struct Slow {
    asked: Notify,
    answers: Notify,
}

impl Roots for Slow {
    fn roots(&self, _: Duration) -> RootsFuture<'_> {
        Box::pin(async {
            self.asked.notify_one();
            self.answers.notified().await;
            Some(RawJson::from("[]".to_owned()))
        })
    }
}

fn ordered(orders: Value, agent: Option<&Arc<Slow>>) -> Arc<Call> {
    Arc::new(Call {
        roots: agent.map(|agent| Arc::clone(agent) as Arc<dyn Roots>),
        ..parts(&json!({ "_meta": { "test": orders } }).to_string())
    })
}

#[tokio::test]
async fn a_hook_that_waits_for_an_agent_lets_others_compute() {
    let generation = generation(&host(), &[("p", reach(everything()))]).await.unwrap();
    // Both compute for longer than a tick, and with one thread one of them does at a time.
    let spin = json!({ "do": "spin", "by": 20 });
    let agent = Arc::new(Slow::default());
    let first = ordered(json!([spin, { "do": "roots" }]), Some(&agent));
    let waiting = generation.route(&first, candidates(&[]));
    let meanwhile = async {
        agent.asked.notified().await;
        let second = ordered(json!([spin]), None);
        let decided = generation.route(&second, candidates(&[])).await;
        agent.answers.notify_one();
        decided
    };
    let (first, second) = tokio::join!(waiting, meanwhile);
    let answer = |text: &str| Ok(RouteChoice::Answer(RawJson::from(text.to_owned())));
    assert_eq!(second, answer(r#"{"answers":["spun"]}"#));
    assert_eq!(first, answer(r#"{"answers":["spun","Some(\"[]\")"]}"#));
}
