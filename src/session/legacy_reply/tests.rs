//! JSON or a stream, what a stream begins with, and connections that end before it.

use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::super::first_word::FirstWord;
use super::super::ring::Rank;
use super::super::streams::Resumed;
use super::*;
use crate::call::Introduction;
use crate::catalog::Endpoint;
use crate::policy::NoPolicy;
use crate::router::Policies;
use crate::session::store::Store;

const HERE: Reading = Reading {
    streams: true,
    local: false,
};

fn session(version: Version) -> Arc<Session> {
    let store = Store::new(config::Sessions::default());
    let policies = Policies::new(Arc::new(NoPolicy)).changes();
    let endpoint = Endpoint::new("", None, config::Endpoint::default(), Vec::new(), policies);
    store
        .open(version, &endpoint, Vec::new(), Introduction::default(), None)
        .unwrap()
        .1
}

/// A response that comes when it is sent.
fn later() -> (oneshot::Sender<&'static str>, Response) {
    let (sender, receiver) = oneshot::channel::<&'static str>();
    let response = async move { receiver.await.unwrap().to_owned().into() };
    (sender, Box::pin(response))
}

async fn events(replying: Replying) -> crate::transport::Events {
    match replying.await {
        HttpReply::Stream { events, .. } => events,
        _ => panic!("no stream"),
    }
}

async fn text(events: crate::transport::Events) -> String {
    let all: Vec<Bytes> = events.collect().await;
    String::from_utf8(all.concat()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_soon_and_alone_is_json() {
    let session = session(Version::V20251125);
    let listen = config::Listen::default();
    let (_word, told) = FirstWord::new(&session.streams);
    let quiet = Box::pin(std::future::ready("{}".to_owned().into()));
    let reply = reply(quiet, Some(told), &session, HERE, &listen).await;
    assert!(matches!(reply, HttpReply::Json { body, .. } if body == "{}"));
    assert_eq!(session.streams.len(), 0, "no stream is kept for it");
}

#[tokio::test(start_paused = true)]
async fn with_no_time_at_all_every_answer_comes_on_a_stream() {
    let listen = config::Listen {
        stream_after: Duration::ZERO,
        ..config::Listen::default()
    };
    let quiet = || Box::pin(std::future::ready("{}".to_owned().into()));
    for told in [false, true] {
        for (version, first) in [
            (Version::V20251125, "id: 1.1.0\nretry: 1000\ndata: \n\n"),
            (Version::V20250618, ""),
        ] {
            let session = session(version);
            let (_word, ear) = FirstWord::new(&session.streams);
            let told = told.then_some(ear);
            let events = events(reply(quiet(), told, &session, HERE, &listen)).await;
            let rest = "id: 1.1.1\nevent: message\ndata: {}\n\n";
            assert_eq!(text(events).await, format!("{first}{rest}"));
        }
    }
    // Nor does it wait for one that takes its time: the stream is there at once.
    let quick = session(Version::V20251125);
    let (answer, response) = later();
    let begin = tokio::time::Instant::now();
    let events = events(reply(response, None, &quick, HERE, &listen)).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    answer.send("{}").unwrap();
    assert!(text(events).await.ends_with("data: {}\n\n"));
    // Who reads no streams gets none.
    let deaf = Reading { streams: false, ..HERE };
    let reply = reply(quiet(), None, &quick, deaf, &listen).await;
    assert!(matches!(reply, HttpReply::Json { body, .. } if body == "{}"));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_in_the_moment_of_the_answer_goes_before_it() {
    let listen = config::Listen::default();
    for (version, first) in [
        (Version::V20251125, "id: 1.1.0\nretry: 1000\ndata: \n\n"),
        (Version::V20250618, ""),
    ] {
        let session = session(version);
        let (word, told) = FirstWord::new(&session.streams);
        let response = Box::pin(async move {
            for said in ["one", "two"] {
                word.stream().unwrap().say(Rank::Passing, said);
            }
            "{}".to_owned().into()
        });
        let events = events(reply(response, Some(told), &session, HERE, &listen)).await;
        let rest = "id: 1.1.1\nevent: message\ndata: one\n\nid: 1.1.2\nevent: message\ndata: two\n\n\
                    id: 1.1.3\nevent: message\ndata: {}\n\n";
        assert_eq!(text(events).await, format!("{first}{rest}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_comes_on_a_stream_that_can_be_left() {
    let session = session(Version::V20251125);
    let listen = config::Listen::default();
    let (answer, response) = later();
    let mut events = events(reply(response, None, &session, HERE, &listen)).await;
    assert_eq!(events.next().await.unwrap(), "id: 1.1.0\nretry: 1000\ndata: \n\n");
    drop(events);
    answer.send("{}").unwrap();
    let Resumed::Call(mut reader) = session.streams.resume("1.1.0") else {
        panic!("it is lost")
    };
    assert_eq!(reader.next().await.unwrap(), "id: 1.1.1\nevent: message\ndata: {}\n\n");
    assert_eq!(reader.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn connections_of_those_who_can_come_back_end_after_a_while_if_that_is_wanted() {
    let listen = config::Listen {
        poll_after: Some(Duration::from_secs(5)),
        ..config::Listen::default()
    };
    let primer = "id: 1.1.0\nretry: 1000\ndata: \n\n";
    let local = Reading { local: true, ..HERE };
    for (version, reading, polls) in [
        (Version::V20251125, HERE, true),
        (Version::V20251125, local, false),
        (Version::V20250618, HERE, false),
    ] {
        let session = session(version);
        let (answer, response) = later();
        let begin = tokio::time::Instant::now();
        let events = events(reply(response, None, &session, reading, &listen)).await;
        if !polls {
            let late = tokio::time::timeout(Duration::from_secs(60), text(events)).await;
            assert!(late.is_err(), "{version}: {late:?}");
            continue;
        }
        assert_eq!(text(events).await, primer);
        assert_eq!(begin.elapsed(), listen.stream_after + Duration::from_secs(5));
        // It polls, hears nothing but where it is, and polls again.
        let times = Times::of(&session, reading.local, &listen);
        let mut answer = Some(answer);
        for round in 0..2 {
            let Resumed::Call(reader) = session.streams.resume("1.1.0") else {
                panic!("it is lost")
            };
            let HttpReply::Stream { events, .. } = connection(reader, &times) else {
                panic!("no stream")
            };
            let expected = match round {
                0 => primer.to_owned(),
                _ => format!("{primer}id: 1.1.1\nevent: message\ndata: {{}}\n\n"),
            };
            assert_eq!(text(events).await, expected);
            if let Some(answer) = answer.take() {
                answer.send("{}").unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_the_reply_cancels_nothing_and_is_not_waited_for() {
    let session = session(Version::V20251125);
    let listen = config::Listen::default();
    let (word, told) = FirstWord::new(&session.streams);
    let stream = word.stream().unwrap();
    let (done, ended) = oneshot::channel();
    let (answer, response) = later();
    let response: Response = Box::pin(async move {
        let body = response.await;
        done.send(()).unwrap();
        body
    });
    drop(reply(response, Some(told), &session, HERE, &listen));
    assert!(!stream.is_open() && session.streams.len() == 0);
    answer.send("{}").unwrap();
    ended.await.unwrap();
}
