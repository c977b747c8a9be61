//! Requests to agents: answered, withdrawn, given up, refused.

use super::super::ring::Room;
use super::super::stream::{Reader, Start};
use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    answer: oneshot::Receiver<Outcome>,
    progress: mpsc::Receiver<RawJson>,
}

fn ask(method: &str, params: &str) -> (Ask, Server) {
    let (reply, answer) = oneshot::channel();
    let (sender, progress) = mpsc::channel(2);
    let ask = Ask {
        method: method.to_owned(),
        params: Some(params.to_owned().into()),
        reply,
        progress: sender,
    };
    (ask, Server { answer, progress })
}

fn a_stream(events: usize) -> (Arc<Stream>, Reader) {
    let stream = Stream::new((1, 1), Room { events, bytes: 1 << 20 }, true);
    let reader = stream.read(Start::Unread);
    (stream, reader)
}

async fn heard(notes: &mut Reader) -> serde_json::Value {
    let event = notes.next().await.unwrap();
    let text = std::str::from_utf8(&event).unwrap();
    serde_json::from_str(text.split_once("data: ").unwrap().1.trim()).unwrap()
}

fn id(text: &str) -> RequestId {
    RequestId::from_raw(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_answer_finds_its_way_back_and_tokens_are_replaced_both_ways() {
    let asking = Arc::new(Asking::default());
    let (stream, mut notes) = a_stream(8);
    let (one, mut first) = ask(method::SAMPLE, r#"{"x": 1.0,"_meta":{"progressToken":0,"k":2}}"#);
    let (two, second) = ask(method::ROOTS_LIST, r#"{"_meta":{"progressToken":0}}"#);
    asking.ask(one, Some(stream.clone()), PATIENCE);
    asking.ask(two, Some(stream), PATIENCE);
    assert_eq!(
        heard(&mut notes).await,
        serde_json::json!({
            "jsonrpc": "2.0", "id": "ask-1", "method": "sampling/createMessage",
            "params": { "x": 1.0, "_meta": { "progressToken": "ask-1", "k": 2 } },
        })
    );
    assert_eq!(heard(&mut notes).await["params"]["_meta"]["progressToken"], "ask-2");
    asking.progressed(&r#"{"progressToken":"ask-1","progress":1}"#.to_owned().into());
    assert!(first.progress.recv().await.is_some());
    let result = RawJson::from(r#"{"roots":[ ]}"#.to_owned());
    asking.answered(&id("\"ask-2\""), Ok(result.clone()));
    asking.answered(&id("\"ask-9\""), Ok(result.clone()));
    assert_eq!(second.answer.await.unwrap(), Ok(result.clone()));
    assert!(first.answer.try_recv().is_err(), "the other one still waits");
    asking.answered(&id("\"\\u0061sk-1\""), Err(result.clone()));
    assert_eq!(first.answer.await.unwrap(), Err(result));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_withdrawn_or_not_answered_is_cancelled_at_the_agent() {
    let asking = Arc::new(Asking::default());
    let (stream, mut notes) = a_stream(8);
    let (one, server) = ask(method::SAMPLE, "{}");
    asking.ask(one, Some(stream.clone()), PATIENCE);
    heard(&mut notes).await;
    drop(server);
    let cancelled = heard(&mut notes).await;
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&"notifications/cancelled".into(), &"ask-1".into())
    );
    let (two, server) = ask(method::SAMPLE, "{}");
    asking.ask(two, Some(stream), PATIENCE);
    heard(&mut notes).await;
    let answer = server.answer.await.unwrap();
    assert!(answer.unwrap_err().as_str().contains("in time"));
    assert_eq!(heard(&mut notes).await["method"], "notifications/cancelled");
    assert!(!asking.is_waiting());
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_be_asked_is_not_and_the_server_is_told() {
    let asking = Arc::new(Asking::default());
    let (one, server) = ask(method::SAMPLE, "{}");
    asking.ask(one, None, PATIENCE);
    assert!(
        server
            .answer
            .await
            .unwrap()
            .unwrap_err()
            .as_str()
            .contains("no open stream")
    );
    let (stream, notes) = a_stream(8);
    drop(notes);
    let (two, server) = ask(method::SAMPLE, "{}");
    asking.ask(two, Some(stream), PATIENCE);
    assert!(
        server
            .answer
            .await
            .unwrap()
            .unwrap_err()
            .as_str()
            .contains("does not read")
    );
    let (stream, _notes) = a_stream(MAX_WAITING + 1);
    let mut servers = Vec::new();
    for _ in 0..=MAX_WAITING {
        let (one, server) = ask(method::SAMPLE, "{}");
        asking.ask(one, Some(stream.clone()), PATIENCE);
        servers.push(server);
    }
    let last = servers.pop().unwrap().answer.await.unwrap();
    assert!(last.unwrap_err().as_str().contains("too many"));
    asking.end();
    let first = servers.swap_remove(0).answer.await.unwrap();
    assert!(first.unwrap_err().as_str().contains("session ended"));
}

#[test]
fn clients_are_asked_what_they_declared() {
    for (capabilities, method, params, fits) in [
        ("{}", method::SAMPLE, "{}", false),
        (r#"{"sampling":{}}"#, method::SAMPLE, "{}", true),
        (r#"{"sampling":{}}"#, method::ROOTS_LIST, "{}", false),
        (r#"{"roots":{"listChanged":true}}"#, method::ROOTS_LIST, "{}", true),
        (r#"{"elicitation":{}}"#, method::ELICIT, "{}", true),
        (r#"{"elicitation":{}}"#, method::ELICIT, r#"{"mode":"form"}"#, true),
        (r#"{"elicitation":{}}"#, method::ELICIT, r#"{"mode":"url"}"#, false),
        (
            r#"{"elicitation":{"url":{}}}"#,
            method::ELICIT,
            r#"{"mode":"url"}"#,
            true,
        ),
        (r#"{"elicitation":{"url":{}}}"#, method::ELICIT, "{}", false),
        (r#"{"elicitation":{"form":{},"url":{}}}"#, method::ELICIT, "{}", true),
        ("{}", "vendor/thing", "{}", true),
    ] {
        let (ask, _server) = ask(method, params);
        assert_eq!(
            can_be_asked(Some(capabilities), &ask).is_ok(),
            fits,
            "{capabilities} {method} {params}"
        );
    }
}
