//! Sessions that make room, end by themselves, and cancel nothing of others.

use super::*;
use crate::policy::NoPolicy;
use crate::router::Policies;
use crate::session::stream::Start;

fn store(capacity: usize) -> Arc<Store> {
    Store::new(config::Sessions {
        capacity,
        bytes: 64 * 1024,
        idle: Duration::from_secs(60),
        max_requests: 2,
        parked: 2,
        answer_wait: Duration::from_secs(60),
        ..config::Sessions::default()
    })
}

fn open(store: &Store) -> Option<(String, Arc<Session>)> {
    open_as(store, None, 0)
}

fn open_as(store: &Store, name: Option<&str>, bytes: usize) -> Option<(String, Arc<Session>)> {
    let policies = Policies::new(Arc::new(NoPolicy)).changes();
    let endpoint = Endpoint::new("", None, config::Endpoint::default(), Vec::new(), policies);
    let principal = name.map(|name| Arc::new(Principal::new("ci", name.to_owned(), Vec::new(), Default::default())));
    let mut introduction = Introduction::default();
    let value = "x".repeat(bytes).parse().unwrap();
    introduction.headers.insert(http::header::USER_AGENT, value);
    let topics = Topic::ALL.into();
    store.open(Version::V20250618, &endpoint, topics, introduction, principal)
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_one_makes_room_and_the_unused_are_forgotten() {
    let store = store(2);
    let (a, _) = open(&store).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let (b, _) = open(&store).unwrap();
    assert!(store.get(&a).is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    let (c, session) = open(&store).unwrap();
    assert!(
        store.get(&b).is_none_or(|_| store.get(&a).is_none()),
        "one of the two had to go"
    );
    let busy = session.begin(&RequestId::from_raw("1").unwrap(), 2).unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(store.get(&c).is_some(), "a running request keeps it");
    drop(busy);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(store.get(&c).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_id_in_use_is_refused_and_a_cancel_meets_only_its_own_session() {
    let store = store(9);
    let ((_, a), (_, b)) = (open(&store).unwrap(), open(&store).unwrap());
    let (one, same, two) = (
        RequestId::from_raw("\"a\"").unwrap(),
        RequestId::from_raw("\"\\u0061\"").unwrap(),
        RequestId::from_raw("2").unwrap(),
    );
    let mut in_a = a.begin(&one, 2).unwrap();
    let mut in_b = b.begin(&one, 2).unwrap();
    let refused = |id: &RequestId| a.begin(id, 2).err();
    assert_eq!(refused(&same), Some(NotBegun::IdInUse), "written otherwise");
    let _second = a.begin(&two, 2).unwrap();
    assert_eq!(refused(&two), Some(NotBegun::IdInUse), "full or not");
    let third = refused(&RequestId::from_raw("3").unwrap()).unwrap();
    assert_eq!(third, NotBegun::TooMany(2));
    assert!(third.to_string().contains("sessions.max-requests = 2"), "{third}");
    a.cancel(&same);
    assert!(in_a.cancelled.try_recv().is_ok() && in_b.cancelled.try_recv().is_err());
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_stream() {
    let store = store(9);
    let (id, session) = open(&store).unwrap();
    let mut stream = session.streams.read_own(Start::Unread);
    assert!(store.end(&id) && !store.end(&id));
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_and_whoever_has_most_makes_room() {
    let store = store(1000);
    let (first, _) = open_as(&store, Some("ann"), 8 * 1024).unwrap();
    let mut bobs = Vec::new();
    for _ in 0..40 {
        tokio::time::advance(Duration::from_millis(1)).await;
        bobs.push(open_as(&store, Some("bob"), 8 * 1024).unwrap().0);
    }
    assert_eq!(store.len(), 7, "of 9 KiB each");
    assert!(
        store.get(&first).is_some(),
        "she has one, and it is older than all of his"
    );
    assert!(store.get(&bobs[33]).is_none() && store.get(&bobs[34]).is_some());
    // One that does not fit at all ends nobody's.
    assert!(open_as(&store, Some("cat"), 64 * 1024).is_none());
    assert_eq!(store.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_unused_end_without_being_asked_for() {
    let store = store(9);
    let (_, session) = open(&store).unwrap();
    session.streams.serve(session.streams.open().read(Start::Unread));
    let busy = session.begin(&RequestId::from_raw("1").unwrap(), 2).unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(store.len(), 1, "a running request keeps it");
    drop(busy);
    let ended = Instant::now();
    while store.len() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((60..=121).contains(&ended.elapsed().as_secs()), "{:?}", ended.elapsed());
    assert_eq!(session.streams.len(), 0, "and all that belongs to it");
}
