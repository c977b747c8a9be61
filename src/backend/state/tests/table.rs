//! Every state with every event.

use super::*;

#[tokio::test(start_paused = true)]
async fn every_event_in_every_state() {
    let events = [
        Event::Start,
        Event::Ready,
        spawn_failed(false),
        spawn_failed(true),
        broken(),
        exited(),
        unreachable(),
        Event::Drained,
        Event::Tick,
        Event::Restart,
        Event::Stop,
        Event::Kill,
    ];
    let mut table = String::new();
    for state in STATES {
        table += &format!("{state}:\n");
        for event in &events {
            let mut story = in_state(state);
            let before = story.state();
            let line = story.on(event.clone()).told();
            let line = line.trim_start_matches("0 ");
            // What is not in the table changes nothing.
            if !line.ends_with(&format!(": {before} []\n")) {
                table += &format!("  {line}");
            }
        }
    }
    insta::assert_snapshot!(table, @"
    stopped:
      Start: starting until 30000 [Spawn]
      Restart: starting until 30000 [Spawn]
    starting:
      Ready: ready [Open]
      SpawnFailed: backoff until 200 [Settle(no fork)]
      SpawnFailed: failed [Settle(no fork) GiveUp(no fork)]
      Broken: starting until 30000 [Close Kill]
      Exited: backoff until 200 [Settle(died)]
      Unreachable: backoff until 200 [Settle(away)]
      Restart: stopping Eof until 5000 then start [Close CloseStdin]
      Stop: stopping Eof until 5000 then stop [Close CloseStdin]
      Kill: stopping Kill until 1000 then stop [Close Kill]
    starting, broken:
      SpawnFailed: backoff until 200 [Settle(broke)]
      SpawnFailed: failed [Settle(no fork) GiveUp(no fork)]
      Broken: starting until 30000 [Close Kill]
      Exited: backoff until 200 [Settle(broke)]
      Unreachable: backoff until 200 [Settle(broke)]
      Restart: stopping Eof until 5000 then start [Close CloseStdin]
      Stop: stopping Eof until 5000 then stop [Close CloseStdin]
      Kill: stopping Kill until 1000 then stop [Close Kill]
    ready:
      Broken: ready [Close Kill]
      Exited: backoff until 200 [Settle(died)]
      Unreachable: backoff until 200 [Settle(away)]
      Restart: stopping Drain until 10000 then start [Close]
      Stop: stopping Drain until 10000 then stop [Close]
      Kill: stopping Kill until 1000 then stop [Close Kill]
    ready, broken:
      Broken: ready [Close Kill]
      Exited: backoff until 200 [Settle(broke)]
      Unreachable: backoff until 200 [Settle(broke)]
      Restart: stopping Drain until 10000 then start [Close]
      Stop: stopping Drain until 10000 then stop [Close]
      Kill: stopping Kill until 1000 then stop [Close Kill]
    backoff:
      Restart: starting until 30000 [Spawn]
      Stop: stopped []
      Kill: stopped []
    crash loop:
      Restart: starting until 30000 [Spawn]
      Stop: stopped []
      Kill: stopped []
    failed:
      Restart: starting until 30000 [Spawn]
      Stop: stopped []
      Kill: stopped []
    draining:
      Exited: stopped [Settle(died)]
      Unreachable: stopped [Settle(away)]
      Drained: stopping Eof until 5000 then stop [Close CloseStdin]
      Restart: stopping Drain until 10000 then start []
      Kill: stopping Kill until 1000 then stop [Close Kill]
    restarting:
      Exited: starting until 30000 [Settle(died) Spawn]
      Unreachable: starting until 30000 [Settle(away) Spawn]
      Drained: stopping Eof until 5000 then start [Close CloseStdin]
      Stop: stopping Drain until 10000 then stop []
      Kill: stopping Kill until 1000 then stop [Close Kill]
    eof:
      Exited: stopped [Settle(died)]
      Unreachable: stopped [Settle(away)]
      Restart: stopping Eof until 5000 then start []
      Kill: stopping Kill until 1000 then stop [Close Kill]
    killing:
      Exited: stopped [Settle(died)]
      Unreachable: stopped [Settle(away)]
      Restart: stopping Kill until 1000 then start []
      Kill: stopping Kill until 1000 then stop [Close Kill]
    ");
}
