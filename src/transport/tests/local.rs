//! The admin socket, from both ends and from neither.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::transport::local::{LocalListener, ask};

async fn answer(question: Value) -> Value {
    match question["do"].as_str() {
        Some("fill") => json!("x".repeat(question["bytes"].as_u64().unwrap() as usize)),
        _ => json!({ "asked": question }),
    }
}

async fn start() -> (TempDir, PathBuf, JoinHandle<()>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pointsman/7400.sock");
    let listener = LocalListener::bind(&path).await.unwrap();
    assert_eq!(listener.path(), path);
    (directory, path, tokio::spawn(listener.serve(answer)))
}

#[tokio::test]
async fn questions_are_answered() {
    let (_directory, path, _serving) = start().await;
    assert_eq!(
        ask(&path, json!({"do": "status"})).await.unwrap(),
        json!({"asked": {"do": "status"}})
    );
    let large = ask(&path, json!({"do": "fill", "bytes": 8_000_000})).await.unwrap();
    assert_eq!(large.as_str().unwrap().len(), 8_000_000);
    let error = ask(&path, json!({"do": "fill", "bytes": 17_000_000}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn several_questions_and_bad_lines() {
    let (_directory, path, _serving) = start().await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"1\n2\n{\n3\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[..2], [json!({"asked": 1}), json!({"asked": 2})]);
    assert!(lines[2]["error"].as_str().unwrap().starts_with("not JSON"));
    assert_eq!(lines.len(), 3, "a bad line is the last one");

    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(&[b' '; 64 * 1024]).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("longer than 64 KiB"), "{text}");
}

#[tokio::test]
async fn a_live_socket_is_not_replaced_a_dead_one_is() {
    let (_directory, path, serving) = start().await;
    assert_eq!(
        LocalListener::bind(&path).await.unwrap_err().kind(),
        ErrorKind::AddrInUse
    );
    assert!(ask(&path, json!(1)).await.is_ok());
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert!(!path.exists(), "removed when dropped");

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left over, as by a killed process");
    let listener = LocalListener::bind(&path).await.unwrap();

    // Somebody replaced ours: theirs is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    drop(listener);
    assert_eq!(
        LocalListener::bind(&path).await.unwrap_err().kind(),
        ErrorKind::AddrInUse
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn of_many_that_start_at_once_one_listens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { LocalListener::bind(path).await })
        })
        .collect();
    let mut listening = Vec::new();
    for start in starts {
        listening.extend(start.await.unwrap());
    }
    assert_eq!(listening.len(), 1);
}

#[tokio::test]
async fn silent_clients_make_room_after_ten_seconds() {
    let (_directory, path, _serving) = start().await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"1\n").await.unwrap();
        stream.read_u8().await.unwrap();
        silent.push(stream);
    }
    // All sixteen places are taken: the next one waits until the clock has moved on.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(ask(&path, json!(2)).await.unwrap(), json!({"asked": 2}));
    assert!(began.elapsed() >= Duration::from_secs(9));
}
