//! What is dropped, in which order, and that whoever comes back sees the rest once and in order.

use std::time::Duration;

use super::*;
use proptest::prelude::*;

fn ring(events: usize, bytes: usize) -> Ring {
    Ring::new(Room { events, bytes })
}

fn push(ring: &mut Ring, rank: Rank, size: usize) -> bool {
    ring.push(rank, Instant::now(), |_| vec![0; size].into())
}

/// The numbers that a reader sees who has everything up to `position`.
fn from(ring: &mut Ring, mut position: u64, most: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while let Some((number, _)) = ring.after(position).filter(|_| seen.len() < most) {
        ring.hand_over(number);
        seen.push(number);
        position = number;
    }
    seen
}

#[test]
fn progress_goes_first_then_what_was_read_then_news_and_requests_never() {
    use Rank::{Firm, News, Passing};
    let mut ring = ring(4, 1000);
    for rank in [News, Passing, Firm, Passing] {
        assert!(push(&mut ring, rank, 1));
    }
    assert!(push(&mut ring, Passing, 1));
    assert_eq!(from(&mut ring, 0, 1), [1], "2 was dropped, and 1 is read");
    assert!(push(&mut ring, Firm, 1) && push(&mut ring, Firm, 1));
    assert_eq!(from(&mut ring, 0, 0), [] as [u64; 0]);
    assert!(push(&mut ring, Firm, 1), "1 was read and makes room");
    assert!(!push(&mut ring, Passing, 1) && !push(&mut ring, News, 1) && !push(&mut ring, Firm, 1));
    assert_eq!(from(&mut ring, 0, 9), [3, 6, 7, 8]);
    assert!(push(&mut ring, Passing, 1), "all were read");
    ring.end(|number| number.to_string().into());
    assert!(!push(&mut ring, Firm, 1) && ring.is_over());
    assert_eq!(ring.after(9), Some((10, "10".into())));
    assert_eq!(ring.after(10), None);
}

#[test]
fn bytes_are_bounded_too_and_the_response_is_kept_whatever_its_size() {
    let mut ring = ring(100, 10);
    assert!(push(&mut ring, Rank::Passing, 50), "alone it may be of any size");
    assert!(push(&mut ring, Rank::Passing, 4) && push(&mut ring, Rank::News, 6));
    assert_eq!((ring.len(), ring.size()), (2, 10));
    assert!(push(&mut ring, Rank::News, 4));
    assert_eq!((ring.len(), ring.size()), (2, 10), "progress went");
    ring.end(|_| vec![0; 1000].into());
    assert_eq!((ring.len(), ring.size()), (2, 1010));
    assert_eq!(from(&mut ring, 0, 9), [3, 4, 5]);
    ring.clear();
    assert_eq!((ring.size(), ring.said()), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_long_ago_is_forgotten_and_nothing_else() {
    let mut ring = ring(9, 1000);
    push(&mut ring, Rank::News, 1);
    push(&mut ring, Rank::News, 1);
    assert_eq!(from(&mut ring, 0, 1), [1]);
    tokio::time::advance(Duration::from_secs(60)).await;
    push(&mut ring, Rank::News, 1);
    ring.forget(Instant::now());
    assert_eq!(from(&mut ring, 0, 9), [2, 3]);
    ring.forget(Instant::now());
    assert_eq!(from(&mut ring, 0, 9), [3]);
}

#[derive(Clone, Debug)]
enum Step {
    Say(Rank, usize),
    /// A reader takes so many.
    Read(usize),
    /// The connection breaks, and so many of the last ones that it was given never arrived.
    Cut(usize),
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let rank = prop_oneof![Just(Rank::Passing), Just(Rank::News), Just(Rank::Firm)];
    prop_oneof![
        6 => (rank, 1_usize..40).prop_map(|(rank, size)| Step::Say(rank, size)),
        3 => (0_usize..6).prop_map(Step::Read),
        2 => (0_usize..6).prop_map(Step::Cut),
        1 => Just(Step::End),
    ]
}

proptest! {
    #[test]
    fn every_bound_holds_and_whoever_resumes_misses_only_what_may_be_dropped(
        events in 1_usize..12, bytes in 1_usize..200, steps in proptest::collection::vec(step(), 1..80)
    ) {
        let mut ring = ring(events, bytes);
        let now = Instant::now();
        // What the agent has, what it must have at the end, and what was given to a connection that broke.
        let (mut has, mut must, mut risked) = (Vec::<u64>::new(), Vec::new(), Vec::new());
        let read = |ring: &mut Ring, has: &mut Vec<u64>, most: usize| {
            let position = has.last().copied().unwrap_or(0);
            let seen = from(ring, position, most);
            has.extend(seen);
        };
        for step in steps {
            match step {
                Step::Say(rank, size) => {
                    let said = ring.push(rank, now, |_| vec![0; size].into());
                    if said && rank == Rank::Firm {
                        must.push(ring.said());
                    }
                }
                Step::Read(most) => read(&mut ring, &mut has, most),
                Step::Cut(lost) => risked.extend(has.split_off(has.len().saturating_sub(lost))),
                Step::End => {
                    ring.end(|_| "end".into());
                    if must.last() != Some(&ring.said()) {
                        must.push(ring.said());
                    }
                }
            }
            prop_assert!(ring.len() <= events);
            let size = ring.size() - if ring.is_over() { 3 } else { 0 };
            prop_assert!(size <= bytes || ring.len() == 1, "{} bytes in {}", size, ring.len());
        }
        read(&mut ring, &mut has, usize::MAX);
        prop_assert!(has.windows(2).all(|two| two[0] < two[1]), "{:?}", has);
        for number in must {
            let last = ring.is_over() && number == ring.said();
            prop_assert!(has.contains(&number) || (risked.contains(&number) && !last), "{} of {:?}", number, has);
        }
    }
}
