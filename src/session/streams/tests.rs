//! Streams that are left and resumed, and the bounds of what is kept for that.

use std::time::Duration;

use futures_util::FutureExt;

use super::super::ring::Rank;
use super::super::stream::Connection;
use super::*;

const KEEP: Duration = Duration::from_secs(60);

fn streams(change: impl FnOnce(&mut config::Sessions)) -> Arc<Streams> {
    let mut limits = config::Sessions {
        stream_events: 8,
        stream_bytes: 1024,
        streams: 3,
        stream_keep: KEEP,
        ..config::Sessions::default()
    };
    change(&mut limits);
    Streams::new(7, &limits)
}

/// A call that is answered with a stream, and its connection.
fn call(streams: &Arc<Streams>) -> (Arc<Stream>, Reader) {
    let stream = streams.open();
    let reader = streams.serve(stream.read(Start::Unread));
    (stream, reader)
}

/// The id and the data of what is there.
fn heard(reader: &mut Reader) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(Some(event)) = reader.next().now_or_never() {
        let event = String::from_utf8(event.to_vec()).unwrap();
        all.push(
            event
                .trim()
                .replace("\nevent: message\ndata: ", " ")
                .replace("id: ", ""),
        );
    }
    all
}

fn resumed(streams: &Arc<Streams>, id: &str) -> Option<Reader> {
    match streams.resume(id) {
        Resumed::Call(reader) => Some(reader),
        Resumed::Own(start) => Some(streams.read_own(start)),
        Resumed::Over | Resumed::Unknown => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_where_its_reader_was_and_says_nothing_of_others() {
    let streams = streams(|_| ());
    let (one, mut reader) = call(&streams);
    let (two, _other) = call(&streams);
    for word in ["a", "b", "c"] {
        assert!(one.say(Rank::Passing, word) && two.say(Rank::Passing, "x"));
    }
    assert_eq!(heard(&mut reader), ["7.1.1 a", "7.1.2 b", "7.1.3 c"]);
    drop(reader);
    assert!(one.say(Rank::Passing, "d"));
    let mut again = resumed(&streams, "7.1.1").unwrap();
    assert_eq!(heard(&mut again), ["7.1.2 b", "7.1.3 c", "7.1.4 d"]);
    // A third takes the place of the second, which ends.
    let mut third = resumed(&streams, "7.1.4").unwrap();
    assert_eq!(again.next().now_or_never(), Some(None));
    drop(again);
    streams.end(&one, "end");
    assert_eq!(heard(&mut third), ["7.1.5 end"]);
    assert_eq!(third.next().now_or_never(), Some(None));
    drop(third);
    assert!(!one.say(Rank::Passing, "late"));
    assert_eq!(heard(&mut resumed(&streams, "7.1.4").unwrap()), ["7.1.5 end"]);
    assert!(matches!(streams.resume("7.1.5"), Resumed::Over));
}

#[tokio::test(start_paused = true)]
async fn ids_of_nowhere_lead_nowhere() {
    let streams = streams(|_| ());
    let (one, _reader) = call(&streams);
    one.say(Rank::Passing, "a");
    for id in [
        "",
        "x",
        "7",
        "7.1",
        "7.1.",
        "7.1.2",
        "7.2.0",
        "8.1.1",
        "7.0.1",
        "7.1.1.1",
        "7.1.-1",
        "7.1.99999999999999999999",
    ] {
        assert!(matches!(streams.resume(id), Resumed::Unknown), "{id}");
    }
    for id in ["7.1.0", "7.1.1", "7.0.0"] {
        assert!(resumed(&streams, id).is_some(), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_overruns_the_ring_is_lost_and_never_the_response() {
    let streams = streams(|_| ());
    let (stream, reader) = call(&streams);
    drop(reader);
    assert!(stream.say(Rank::Firm, "ask"));
    for n in 0..100 {
        assert!(stream.say(Rank::Passing, &n.to_string()));
    }
    streams.end(&stream, &"r".repeat(4000));
    let all = heard(&mut resumed(&streams, "7.1.0").unwrap());
    assert_eq!(all.len(), 9);
    assert_eq!(
        (all[0].as_str(), all[1].as_str(), all[8].len()),
        ("7.1.1 ask", "7.1.95 93", 4008)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_so_long_and_then_it_is_gone() {
    let streams = streams(|_| ());
    let (stream, reader) = call(&streams);
    let own = streams.read_own(Start::Unread);
    assert!(streams.own().say(Rank::News, "n"));
    tokio::time::sleep(2 * KEEP).await;
    assert!(stream.is_open() && streams.own().is_open(), "they are being read");
    drop((reader, own));
    tokio::time::sleep(KEEP - Duration::from_secs(1)).await;
    assert!(streams.own().say(Rank::News, "m"), "it may still be read");
    drop(resumed(&streams, "7.1.0").unwrap());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!streams.own().is_open() && !streams.own().say(Rank::News, "o"));
    assert!(stream.is_open(), "it was left later");
    tokio::time::sleep(KEEP).await;
    assert!(!stream.is_open() && streams.len() == 0);
    assert!(matches!(streams.resume("7.1.0"), Resumed::Unknown));
    // The session's own goes on whenever it is wanted, with what is said from then on.
    let mut own = resumed(&streams, "7.0.0").unwrap();
    assert!(streams.own().say(Rank::News, "p"));
    assert_eq!(heard(&mut own), ["7.0.3 p"]);
}

#[tokio::test(start_paused = true)]
async fn too_many_streams_go_and_those_first_that_were_read() {
    let streams = streams(|_| ());
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(call(&streams).0);
    }
    let (read, mut reader) = call(&streams);
    streams.end(&read, "end");
    assert_eq!(heard(&mut reader).len(), 1);
    drop(reader);
    assert!(!read.is_open(), "it made room for those that nobody has read");
    assert!(waiting.iter().all(|stream| stream.is_open()));
    tokio::time::advance(Duration::from_secs(1)).await;
    let (last, _) = call(&streams);
    assert!(!waiting[0].is_open() && last.is_open() && streams.len() == 3);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_all_that_wait_are_bounded() {
    let streams = streams(|limits| limits.streams = 2);
    let (small, _) = call(&streams);
    let (large, _) = call(&streams);
    small.say(Rank::Firm, "ask");
    streams.end(&large, &"r".repeat(3000));
    assert!(
        !small.is_open() && large.is_open(),
        "the one left first goes, the last may be of any size"
    );
    let mut reader = resumed(&streams, "7.2.0").unwrap();
    assert_eq!(heard(&mut reader).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_long_ago_is_forgotten_while_the_stream_is_open() {
    use futures_util::StreamExt;
    let streams = streams(|_| ());
    let (stream, reader) = call(&streams);
    let mut connection = Connection::new(None, reader, Duration::from_secs(15), None);
    stream.say(Rank::News, "a");
    assert!(connection.next().await.is_some());
    assert!(stream.condition().unwrap().size > 0);
    let begin = Instant::now();
    while stream.condition().unwrap().size > 0 {
        assert_eq!(connection.next().await.unwrap(), ": working\n\n");
    }
    assert!((KEEP..=KEEP + Duration::from_secs(15)).contains(&begin.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_is_the_end_of_its_streams() {
    let streams = streams(|_| ());
    let (stream, mut reader) = call(&streams);
    let mut own = streams.read_own(Start::Unread);
    stream.say(Rank::News, "a");
    streams.end_all();
    assert_eq!(reader.next().await, None);
    assert_eq!(own.next().await, None);
    assert!(!stream.say(Rank::Firm, "b") && !streams.own().is_open());
    assert!(matches!(streams.resume("7.1.0"), Resumed::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_was_told_of_ends_with_its_reader() {
    let streams = streams(|_| ());
    let stream = streams.open();
    let reader = stream.read(Start::Unread);
    assert!(stream.say(Rank::Passing, "a") && reader.has_more());
    drop(reader);
    assert!(!stream.is_open() && !stream.say(Rank::Firm, "b"));
}
