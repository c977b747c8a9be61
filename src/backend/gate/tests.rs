//! The gate with callers: who passes, who waits, who is refused, and that no place is ever lost.

mod random;

use futures_util::FutureExt;

use super::*;
use crate::error::Bound;

fn agent(n: u64) -> AgentKey {
    AgentKey::Session(n)
}

fn open(slots: usize) -> Gate {
    let gate = Gate::new(&config::Gate::default());
    gate.targets_changed(slots, &[]);
    gate
}

fn bounded(limits: config::Gate) -> Gate {
    Gate::new(&limits)
}

fn pass(gate: &Gate, n: u64) -> Permit {
    match gate.enter(&agent(n), 10) {
        Ok(Entry::Pass(permit)) => permit,
        Ok(Entry::Hold(_)) => panic!("it was held"),
        Err(e) => panic!("it was refused: {e:?}"),
    }
}

fn hold(gate: &Gate, n: u64) -> Held {
    match gate.enter(&agent(n), 10) {
        Ok(Entry::Hold(held)) => held,
        Ok(Entry::Pass(_)) => panic!("it passed"),
        Err(e) => panic!("it was refused: {e:?}"),
    }
}

fn refusal(gate: &Gate, n: u64, bytes: usize) -> Reason {
    match gate.enter(&agent(n), bytes) {
        Ok(_) => panic!("it was let in"),
        Err(e) => e.reason,
    }
}

/// What a waiting call hears now, if anything.
fn turn(held: &mut Held) -> Option<Result<(), CallError>> {
    held.turn().now_or_never()
}

fn goes(held: &mut Held) -> bool {
    matches!(turn(held), Some(Ok(())))
}

fn waits(held: &mut Held) -> bool {
    turn(held).is_none()
}

fn idle(gate: &Gate) -> bool {
    gate.load() == (0, 0, 0)
}

fn unavailable() -> CallError {
    CallError::from(Reason::Unavailable("it is gone".into()))
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_holds_and_an_open_one_lets_pass() {
    let gate = open(0);
    let mut held = hold(&gate, 1);
    assert!(waits(&mut held));
    assert_eq!(gate.load(), (1, 10, 0));
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(held.waited(), Duration::from_secs(3));
    assert_eq!(held.until() - Instant::now(), Duration::from_secs(27));
    gate.targets_changed(2, &[]);
    assert!(goes(&mut held));
    let permit = held.go();
    assert_eq!(permit.waited(), Duration::from_secs(3));
    let second = pass(&gate, 2);
    assert_eq!(gate.load(), (0, 0, 2));
    let mut third = hold(&gate, 3);
    drop(second);
    assert!(goes(&mut third), "a freed slot wakes the next");
    drop((permit, third.go()));
    assert!(idle(&gate));
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_unsent_after_its_time_does_not_pass_again() {
    let gate = open(2);
    let (late, written) = (pass(&gate, 1), pass(&gate, 2));
    tokio::time::advance(Duration::from_secs(30)).await;
    let Err(error) = late.hold_again(false) else {
        panic!("it is held")
    };
    assert_eq!(
        (error.reason, error.waited),
        (Reason::HoldDeadline, Duration::from_secs(30))
    );
    // Once it was written, its waiting begins anew.
    let Ok(mut held) = written.hold_again(true) else {
        panic!("it is refused")
    };
    held.willing();
    assert!(goes(&mut held));
    drop(held.go());
    assert!(idle(&gate));
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_time_is_up_leaves_and_wakes_nobody_wrongly() {
    let gate = open(0);
    let mut late = hold(&gate, 1);
    let mut next = hold(&gate, 1);
    let waited = tokio::time::timeout_at(late.until(), late.turn()).await;
    assert!(waited.is_err());
    drop(late);
    assert_eq!(gate.load(), (1, 10, 0));
    gate.targets_changed(1, &[]);
    assert!(goes(&mut next));
    drop(next);
    assert!(idle(&gate));
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_agent_go_one_after_the_other_and_agents_take_turns() {
    let gate = open(0);
    let (mut a1, mut a2, mut b1) = (hold(&gate, 1), hold(&gate, 1), hold(&gate, 2));
    assert_eq!((a1.position().0, a2.position().0, b1.position().0), (1, 2, 1));
    gate.targets_changed(10, &[]);
    assert!(goes(&mut a1) && goes(&mut b1) && waits(&mut a2));
    let mut permit = a1.go();
    let mut c = pass_or_hold(&gate, 3);
    assert!(c.is_none(), "others do not wait for the order of one agent");
    assert!(waits(&mut hold(&gate, 1)), "nothing of the same agent overtakes");
    permit.entered();
    assert!(goes(&mut a2), "the first is in its target");
    permit.entered();
    drop((permit, a2, b1, c.take()));
    assert!(idle(&gate));
}

/// `None` where it passed; the permit is dropped.
fn pass_or_hold(gate: &Gate, n: u64) -> Option<Held> {
    match gate.enter(&agent(n), 10) {
        Ok(Entry::Hold(mut held)) => waits(&mut held).then_some(held),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_let_go_gives_its_slot_back_when_its_caller_has_gone() {
    for heard in [false, true] {
        let gate = open(1);
        let first = pass(&gate, 1);
        let mut going = hold(&gate, 2);
        let mut next = hold(&gate, 2);
        drop(first);
        if heard {
            assert!(goes(&mut going));
        }
        assert!(waits(&mut next));
        drop(going);
        assert!(goes(&mut next), "heard: {heard}");
        drop(next.go());
        assert!(idle(&gate), "heard: {heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusing_fails_the_held_at_once_and_the_coming_until_it_is_open_again() {
    let gate = open(1);
    let permit = pass(&gate, 1);
    let (mut a, mut b) = (hold(&gate, 1), hold(&gate, 2));
    gate.refuse(&unavailable());
    assert!(matches!(turn(&mut a), Some(Err(e)) if e == unavailable()));
    assert!(matches!(turn(&mut b), Some(Err(e)) if e == unavailable()));
    assert_eq!(refusal(&gate, 3, 1), unavailable().reason);
    // The refused have not come by yet, and do not take the slot of anybody.
    drop(permit);
    gate.targets_changed(1, &[]);
    let permit = pass(&gate, 4);
    drop((a, b));
    assert_eq!(gate.load(), (0, 0, 1));
    drop(permit);
    gate.refuse(&unavailable());
    gate.targets_changed(0, &[]);
    assert_eq!(refusal(&gate, 3, 1), unavailable().reason);
    gate.reopen();
    let mut held = hold(&gate, 3);
    gate.targets_changed(1, &[]);
    assert!(goes(&mut held));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_can_be_failed_without_refusing_what_comes() {
    let gate = open(0);
    let (mut a, mut b) = (hold(&gate, 1), hold(&gate, 1));
    gate.fail_held(&CallError::from(Reason::StateLost));
    assert!(matches!(turn(&mut a), Some(Err(e)) if e.reason == Reason::StateLost));
    gate.targets_changed(5, &[]);
    assert!(matches!(turn(&mut b), Some(Err(e)) if e.reason == Reason::StateLost));
    let permit = pass(&gate, 1);
    assert!(permit.failed().is_none());
    drop((a, b));
    gate.fail_held(&CallError::from(Reason::StateLost));
    assert!(permit.failed().is_some(), "past the gate, but before the loss");
    assert!(pass(&gate, 1).failed().is_none());
    drop(permit);
    assert!(idle(&gate));
}

#[tokio::test(start_paused = true)]
async fn returned_calls_keep_their_place_and_nothing_overtakes_them() {
    let gate = open(3);
    let (first, second) = (pass(&gate, 1), pass(&gate, 1));
    let other = pass(&gate, 2);
    let (one, two) = (first.ticket(), second.ticket());
    let mut third = hold(&gate, 1);
    // Their target dies with both; another one has room.
    gate.targets_changed(3, &[(agent(1), two, 10), (agent(1), one, 10)]);
    assert_eq!(gate.load(), (3, 30, 1));
    let mut fourth = hold(&gate, 1);
    assert!(waits(&mut third) && waits(&mut fourth));
    let mut second = second.hold_again(false).unwrap();
    second.willing();
    assert!(waits(&mut second), "the first one's caller has not come by yet");
    let mut first = first.hold_again(false).unwrap();
    assert!(waits(&mut first));
    first.willing();
    assert!(goes(&mut first) && waits(&mut second));
    first.go().entered();
    assert!(goes(&mut second) && waits(&mut third));
    second.go().entered();
    assert!(goes(&mut third));
    drop((third, fourth, other));
    assert!(idle(&gate));
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_put_back_by_its_caller_alone() {
    let gate = open(1);
    let permit = pass(&gate, 1);
    let mut next = hold(&gate, 1);
    let mut again = permit.hold_again(false).unwrap();
    assert!(waits(&mut next) && waits(&mut again));
    assert_eq!(gate.load(), (2, 20, 0));
    again.willing();
    assert!(goes(&mut again) && waits(&mut next));
    drop(again.go());
    assert!(goes(&mut next));
}

#[tokio::test(start_paused = true)]
async fn a_replayed_call_waits_anew_and_one_that_was_not_sent_does_not() {
    let gate = open(2);
    let (sent, unsent) = (pass(&gate, 1), pass(&gate, 2));
    tokio::time::advance(Duration::from_secs(20)).await;
    let sent = sent.hold_again(true).unwrap();
    let unsent = unsent.hold_again(false).unwrap();
    assert_eq!(sent.until() - Instant::now(), Duration::from_secs(30));
    assert_eq!(unsent.until() - Instant::now(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_has_gone_is_not_put_back_by_its_target() {
    let gate = open(2);
    let (mine, other) = (pass(&gate, 1), pass(&gate, 2));
    let place = (agent(1), mine.ticket(), mine.bytes());
    drop(mine);
    // The target dies before it hears that the call is not wanted any more.
    gate.targets_changed(0, &[place]);
    assert_eq!(gate.load(), (0, 0, 1));
    let mut next = hold(&gate, 1);
    gate.targets_changed(2, &[]);
    assert!(goes(&mut next), "its agent's lane is free");
    drop((next, other));
    assert!(idle(&gate));
}

#[tokio::test(start_paused = true)]
async fn a_returned_call_whose_caller_goes_leaves_its_place() {
    let gate = open(1);
    let permit = pass(&gate, 1);
    gate.targets_changed(0, &[(agent(1), permit.ticket(), 10)]);
    let mut next = hold(&gate, 1);
    drop(permit);
    assert_eq!(gate.load(), (1, 10, 0));
    gate.targets_changed(1, &[]);
    assert!(goes(&mut next));
    drop(next);
    assert!(idle(&gate));
}

#[tokio::test(start_paused = true)]
async fn a_returned_call_meets_the_refusal() {
    let gate = open(1);
    let permit = pass(&gate, 1);
    gate.targets_changed(0, &[(agent(1), permit.ticket(), 10)]);
    gate.refuse(&unavailable());
    assert_eq!(permit.hold_again(false).unwrap_err(), unavailable());
    assert!(idle(&gate));
}

#[tokio::test(start_paused = true)]
async fn each_bound_is_kept_and_named() {
    let limits = config::Gate {
        capacity: 3,
        bytes: 100,
        agent_capacity: 2,
        agent_bytes: 60,
        ..config::Gate::default()
    };
    let gate = bounded(limits.clone());
    let full = |n, bytes| match refusal(&gate, n, bytes) {
        Reason::QueueFull(bound) => bound,
        other => panic!("{other:?}"),
    };
    assert_eq!(full(1, 61), Bound::AgentBytes);
    assert_eq!(full(1, 101), Bound::Bytes);
    let one = hold(&gate, 1);
    assert_eq!(full(1, 51), Bound::AgentBytes);
    let two = hold(&gate, 1);
    assert_eq!(full(1, 1), Bound::AgentCount);
    assert_eq!(full(2, 81), Bound::Bytes);
    let three = hold(&gate, 2);
    assert_eq!(full(3, 1), Bound::Count);
    let looser = config::Gate {
        capacity: 4,
        ..limits.clone()
    };
    gate.set_limits(&looser);
    let four = hold(&gate, 3);
    // Smaller bounds leave what is held already, and every place that is left counts.
    gate.set_limits(&limits);
    drop(three);
    assert_eq!(full(4, 1), Bound::Count);
    drop((one, two, four));
    assert!(idle(&gate));
    gate.targets_changed(1, &[]);
    assert!(
        matches!(gate.enter(&agent(1), 1_000_000), Ok(Entry::Pass(_))),
        "bounds are for what is held"
    );
}

#[tokio::test(start_paused = true)]
async fn a_returned_call_meets_no_bound() {
    let gate = bounded(config::Gate {
        capacity: 1,
        ..config::Gate::default()
    });
    gate.targets_changed(2, &[]);
    let (a, b) = (pass(&gate, 1), pass(&gate, 2));
    let (a, b) = (a.hold_again(false).unwrap(), b.hold_again(false).unwrap());
    assert_eq!(gate.load(), (2, 20, 0));
    drop((a, b));
}

#[tokio::test(start_paused = true)]
async fn the_position_tells_the_pace() {
    let gate = open(1);
    let mut permit = pass(&gate, 0);
    let mut waiting: Vec<Held> = (1..=5).map(|n| hold(&gate, n)).collect();
    assert_eq!(waiting[4].position(), (4, None), "no pace before two have left");
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(2)).await;
        drop(permit);
        let mut first = waiting.remove(0);
        assert!(goes(&mut first));
        permit = first.go();
    }
    assert_eq!(waiting[1].position(), (1, Some(Duration::from_secs(2))));
}

#[test]
fn the_slot_of_a_call_that_a_policy_holds_goes_to_others() {
    let gate = open(1);
    let (first, mut second) = (pass(&gate, 1), hold(&gate, 2));
    let mut first = first.hold_again(false).unwrap();
    assert!(goes(&mut second), "before the first is willing again");
    first.willing();
    assert!(waits(&mut first));
    drop(second.go());
    assert!(goes(&mut first));
}
