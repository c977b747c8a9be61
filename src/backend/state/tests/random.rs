//! The life of a target under any sequence of events.

use proptest::prelude::*;

use super::*;

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => Just(Event::Start),
        3 => Just(Event::Ready),
        1 => Just(spawn_failed(false)),
        1 => Just(spawn_failed(true)),
        1 => Just(broken()),
        3 => Just(exited()),
        1 => Just(unreachable()),
        1 => Just(Event::Drained),
        3 => Just(Event::Tick),
        1 => Just(Event::Restart),
        1 => Just(Event::Stop),
        1 => Just(Event::Kill),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_events_confuses_it(
        events in proptest::collection::vec((event(), prop_oneof![Just(0), 0_u64..40_000]), 0..60),
        jitter in 0.0..1.0,
    ) {
        let (mut life, rules, mut now) = (Life::default(), rules(), Instant::now());
        let (mut running, mut open) = (false, false);
        for (event, pause) in events {
            // A timer never stays behind: the loop around it fires it first.
            let due = life.due();
            now = due.map_or(now + MS(pause), |due| due.min(now + MS(pause)));
            if due.is_some_and(|due| due <= now) && event != Event::Tick {
                check(&mut life, Event::Tick, now, jitter, &rules, (&mut running, &mut open));
            }
            check(&mut life, event, now, jitter, &rules, (&mut running, &mut open));
        }
    }
}

/// One step, and what must hold after each.
fn check(
    life: &mut Life,
    event: Event,
    now: Instant,
    jitter: f64,
    rules: &config::Backend,
    (running, open): (&mut bool, &mut bool),
) {
    // The end of a process, and a spawn that fails, come only where there is one.
    if matches!(event, Event::Exited { .. } | Event::Unreachable { .. }) && !*running {
        return;
    }
    if matches!(event, Event::SpawnFailed { .. }) && !(*running && matches!(life.state(), State::Starting { .. })) {
        return;
    }
    for effect in life.step(event, now, jitter, rules) {
        match effect {
            Effect::Spawn => {
                assert!(!*running, "two processes at once");
                *running = true;
            }
            Effect::Settle { .. } => {
                *running = false;
                *open = false;
            }
            Effect::Open => *open = true,
            Effect::Close => *open = false,
            _ => {}
        }
    }
    assert_eq!(*open, life.takes_calls(), "the gate is open to it while it takes calls");
    match life.state() {
        State::Stopped | State::Failed { .. } => assert!(!*running && life.due().is_none()),
        State::Backoff { .. } | State::CrashLoop { .. } => assert!(!*running),
        State::Ready { .. } => assert!(*running && life.due().is_none()),
        State::Starting { .. } | State::Stopping { .. } => assert!(*running),
    }
    assert!(
        life.due().is_none_or(|due| due > now),
        "a timer in the past: {:?}",
        life.state()
    );
}
