//! The life of a target as tables: what happens, where it leads, what is done.

mod random;
mod table;

use super::*;
use crate::config::{Backoff, CrashLoop, Stop};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn rules() -> config::Backend {
    config::Backend {
        start_timeout: MS(30_000),
        stable_after: MS(10_000),
        backoff: Backoff {
            min: MS(100),
            base: MS(200),
            max: MS(30_000),
        },
        crash_loop: CrashLoop {
            deaths: 2,
            within: MS(60_000),
            probe: MS(30_000),
            probe_max: MS(100_000),
        },
        stop: Stop {
            drain: MS(10_000),
            eof: MS(5_000),
            term: MS(4_000),
        },
        ..config::Backend::default()
    }
}

struct Story {
    life: Life,
    rules: config::Backend,
    begin: Instant,
    now: Instant,
    told: String,
}

impl Story {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            life: Life::default(),
            rules: rules(),
            begin: now,
            now,
            told: String::new(),
        }
    }

    fn ms(&self, at: Instant) -> u128 {
        at.duration_since(self.begin).as_millis()
    }

    /// The event happens now; a line is told about it.
    fn on(&mut self, event: Event) -> &mut Self {
        let name = format!("{event:?}");
        let name = name.split([' ', '{']).next().unwrap_or_default().to_owned();
        let effects = self.life.step(event, self.now, 1.0, &self.rules);
        let state = self.state();
        let now = self.ms(self.now);
        let effects: Vec<String> = effects.iter().map(effect).collect();
        self.told += &format!("{now} {name}: {state} [{}]\n", effects.join(" "));
        self
    }

    /// Time passes up to the next timer, which fires.
    fn tick(&mut self) -> &mut Self {
        let due = self.life.due().expect("a timer");
        assert!(due > self.now, "a timer in the past");
        self.now = due;
        self.on(Event::Tick)
    }

    fn pause(&mut self, ms: u64) -> &mut Self {
        self.now += MS(ms);
        self
    }

    fn state(&self) -> String {
        let state = self.life.state();
        let word = state.as_str();
        match state {
            State::Starting { until } | State::Backoff { until } | State::CrashLoop { until, .. } => {
                format!("{word} until {}", self.ms(*until))
            }
            State::Stopping { rung, until, again } => {
                let then = if *again { "start" } else { "stop" };
                format!("{word} {rung:?} until {} then {then}", self.ms(*until))
            }
            State::Ready { .. } | State::Stopped | State::Failed { .. } => word.to_owned(),
        }
    }

    fn told(&mut self) -> String {
        std::mem::take(&mut self.told)
    }
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Settle { why } => format!("Settle({why})"),
        Effect::GiveUp { why } => format!("GiveUp({why})"),
        other => format!("{other:?}"),
    }
}

fn unreachable() -> Event {
    Event::Unreachable { why: "away".into() }
}

fn exited() -> Event {
    Event::Exited { why: "died".into() }
}

fn broken() -> Event {
    Event::Broken { why: "broke".into() }
}

fn spawn_failed(permanent: bool) -> Event {
    Event::SpawnFailed {
        why: "no fork".into(),
        permanent,
    }
}

/// A target in each of its states, by the way it gets there.
fn in_state(name: &str) -> Story {
    let mut story = Story::new();
    match name {
        "stopped" => &mut story,
        "starting" => story.on(Event::Start),
        "ready" => story.on(Event::Start).on(Event::Ready),
        "ready, broken" => story.on(Event::Start).on(Event::Ready).on(broken()),
        "starting, broken" => story.on(Event::Start).on(broken()),
        "backoff" => story.on(Event::Start).on(exited()),
        "crash loop" => story
            .on(Event::Start)
            .on(exited())
            .tick()
            .on(exited())
            .tick()
            .on(exited()),
        "failed" => story.on(Event::Start).on(spawn_failed(true)),
        "draining" => story.on(Event::Start).on(Event::Ready).on(Event::Stop),
        "restarting" => story.on(Event::Start).on(Event::Ready).on(Event::Restart),
        "eof" => story.on(Event::Start).on(Event::Stop),
        "killing" => story.on(Event::Start).on(Event::Kill),
        other => panic!("{other}"),
    };
    story.begin = story.now;
    story.told();
    story
}

const STATES: [&str; 12] = [
    "stopped",
    "starting",
    "starting, broken",
    "ready",
    "ready, broken",
    "backoff",
    "crash loop",
    "failed",
    "draining",
    "restarting",
    "eof",
    "killing",
];

#[tokio::test(start_paused = true)]
async fn the_stop_ladder_with_its_times() {
    let mut story = in_state("ready");
    story.on(Event::Stop).tick().tick().tick().tick().pause(7).on(exited());
    insta::assert_snapshot!(story.told(), @"
    0 Stop: stopping Drain until 10000 then stop [Close]
    10000 Tick: stopping Eof until 15000 then stop [Close CloseStdin]
    15000 Tick: stopping Term until 19000 then stop [Terminate]
    19000 Tick: stopping Kill until 20000 then stop [Close Kill]
    20000 Tick: stopping Kill until 21000 then stop [Close Kill]
    20007 Exited: stopped [Settle(died)]
    ");
    assert_eq!(story.life.due(), None);
    let mut story = in_state("ready");
    story
        .on(Event::Restart)
        .pause(1000)
        .on(Event::Drained)
        .tick()
        .pause(1)
        .on(exited())
        .on(Event::Ready);
    insta::assert_snapshot!(story.told(), @"
    0 Restart: stopping Drain until 10000 then start [Close]
    1000 Drained: stopping Eof until 6000 then start [Close CloseStdin]
    6000 Tick: stopping Term until 10000 then start [Terminate]
    6001 Exited: starting until 36001 [Settle(died) Spawn]
    6001 Ready: ready [Open]
    ");
    assert_eq!(story.life.restarted(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kill_cuts_every_wait() {
    for state in STATES {
        let mut story = in_state(state);
        story.on(Event::Kill);
        if story.life.state() != &State::Stopped {
            assert!(story.told().ends_with("[Close Kill]\n"), "{state}");
            assert_eq!(
                story.life.due(),
                Some(story.now + MS(1000)),
                "the kill is repeated: {state}"
            );
            story.tick().on(exited());
        }
        assert_eq!(
            (story.life.state(), story.life.due()),
            (&State::Stopped, None),
            "{state}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_too_long_is_killed_and_counts_as_a_death() {
    let mut story = in_state("starting");
    story.tick().on(Event::Ready).tick().on(exited());
    insta::assert_snapshot!(story.told(), @"
    30000 Tick: starting until 31000 [Kill]
    30000 Ready: starting until 31000 []
    31000 Tick: starting until 32000 [Kill]
    31000 Exited: backoff until 31200 [Settle(it was not ready within 30.0 s)]
    ");
}

#[tokio::test(start_paused = true)]
async fn what_broke_takes_no_calls() {
    let mut story = in_state("ready");
    assert!(story.life.takes_calls());
    story.on(broken());
    assert!(!story.life.takes_calls());
    story.on(exited()).tick().on(Event::Ready);
    assert!(story.life.takes_calls(), "the next incarnation is whole");
}

#[tokio::test(start_paused = true)]
async fn young_deaths_loop_and_one_probe_at_a_time_is_tried() {
    let mut story = Story::new();
    story
        .on(Event::Start)
        .on(exited())
        .tick()
        .on(spawn_failed(false))
        .tick()
        .on(Event::Ready)
        .on(exited());
    insta::assert_snapshot!(story.told(), @"
    0 Start: starting until 30000 [Spawn]
    0 Exited: backoff until 200 [Settle(died)]
    200 Tick: starting until 30200 [Spawn]
    200 SpawnFailed: backoff until 600 [Settle(no fork)]
    600 Tick: starting until 30600 [Spawn]
    600 Ready: ready [Open]
    600 Exited: crash-loop until 30600 [Settle(died) GiveUp(died)]
    ");
    // Probes: each that dies doubles the pause, up to its bound.
    story.tick().on(exited()).tick().on(exited()).tick().on(exited());
    insta::assert_snapshot!(story.told(), @"
    30600 Tick: starting until 60600 [Spawn]
    30600 Exited: crash-loop until 90600 [Settle(died) GiveUp(died)]
    90600 Tick: starting until 120600 [Spawn]
    90600 Exited: crash-loop until 190600 [Settle(died) GiveUp(died)]
    190600 Tick: starting until 220600 [Spawn]
    190600 Exited: crash-loop until 290600 [Settle(died) GiveUp(died)]
    ");
    // One that is ready but dies young is no cure; one that is stable is.
    story.tick().on(Event::Ready).pause(9_999).on(exited());
    story.tick().on(Event::Ready).pause(10_000).on(exited());
    story.on(Event::Ready).pause(1).on(exited());
    insta::assert_snapshot!(story.told(), @"
    290600 Tick: starting until 320600 [Spawn]
    290600 Ready: ready [Open]
    300599 Exited: crash-loop until 400599 [Settle(died) GiveUp(died)]
    400599 Tick: starting until 430599 [Spawn]
    400599 Ready: ready [Open]
    410599 Exited: starting until 440599 [Settle(died) Spawn]
    410599 Ready: ready [Open]
    410600 Exited: backoff until 410800 [Settle(died)]
    ");
}

#[tokio::test(start_paused = true)]
async fn stable_deaths_never_loop_and_start_again_at_once() {
    let mut story = in_state("ready");
    for _ in 0..100 {
        story.pause(10_000).on(exited());
        assert!(matches!(story.life.state(), State::Starting { .. }));
        story.on(Event::Ready);
    }
    assert_eq!(story.life.restarted(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_the_deaths() {
    let mut story = in_state("crash loop");
    story.on(Event::Restart).on(exited()).tick().on(exited());
    assert!(matches!(story.life.state(), State::Backoff { .. }), "{}", story.told());
    story.tick().on(exited());
    assert!(
        matches!(story.life.state(), State::CrashLoop { .. }),
        "{}",
        story.told()
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_at_once_is_never_repeated_at_once() {
    let mut story = Story::new();
    story.rules.backoff = Backoff {
        min: MS(0),
        base: MS(0),
        max: MS(0),
    };
    story.rules.crash_loop.deaths = u32::MAX;
    story.on(Event::Start);
    for _ in 0..1000 {
        story.on(spawn_failed(false)).tick();
    }
}
