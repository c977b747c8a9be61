//! Against a server on loopback that stands for the public internet under one name, and for itself under others.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Serves until the test ends. The path says what is answered; what was asked is the body.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = Vec::new();
                let mut chunk = [0; 4096];
                while !read.windows(4).any(|w| w == b"\r\n\r\n") {
                    match socket.read(&mut chunk).await {
                        Ok(n) if n > 0 => read.extend_from_slice(&chunk[..n]),
                        _ => return,
                    }
                }
                let text = String::from_utf8_lossy(&read).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default();
                let answer = match path.split_once("?to=") {
                    Some((status, to)) => format!(
                        "HTTP/1.1 {} X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n",
                        &status[1..]
                    ),
                    None if path == "/silent" => std::future::pending().await,
                    None if path == "/large" => {
                        format!("HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{}", "x".repeat(2000))
                    }
                    // A body that never ends, slowly.
                    None if path == "/slow" => {
                        let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx";
                        socket.write_all(head.as_bytes()).await.unwrap();
                        std::future::pending().await
                    }
                    None => format!(
                        "HTTP/1.1 200 OK\r\nx-seen: yes\r\ncontent-length: {}\r\n\r\n{text}",
                        text.len()
                    ),
                };
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

struct World {
    port: u16,
    outgoing: Outgoing,
}

impl World {
    /// `public.test` is allowed and public; `local.test` and the address itself are allowed and private.
    async fn new() -> Self {
        let address = server().await;
        let port = address.port();
        let grant = HttpGrant {
            allow: ["public.test", "other.test", "127.0.0.1", "localhost"]
                .map(|host| format!("http://{host}:{port}"))
                .into(),
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            max_body: 1000,
            timeout: Duration::from_secs(5),
            ..HttpGrant::default()
        };
        let public = ["public.test", "other.test"].map(|name| (name.to_owned(), address));
        let resolver = Resolver {
            private: false,
            public: public.into(),
        };
        let outgoing = Outgoing::with(resolver, &grant).unwrap();
        Self { port, outgoing }
    }

    fn request(&self, method: &str, host: &str, path: &str) -> wit::Request {
        wit::Request {
            method: method.to_owned(),
            url: format!("http://{host}:{}{path}", self.port),
            headers: Vec::new(),
            secrets: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        }
    }

    async fn get(&self, host: &str, path: &str) -> Result<String, String> {
        self.send(self.request("GET", host, path)).await
    }

    async fn send(&self, request: wit::Request) -> Result<String, String> {
        let mut secret = HeaderMap::new();
        secret.insert("authorization", HeaderValue::from_static("Bearer s3cret"));
        let answer = self.outgoing.send(request, secret).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }
}

fn refused(outcome: Result<String, String>, words: &str) {
    let why = outcome.unwrap_err();
    assert!(why.starts_with("refused: ") && why.contains(words), "{why}");
}

#[tokio::test]
async fn what_is_allowed_is_sent_with_its_secret() {
    let world = World::new().await;
    let mut request = world.request("POST", "public.test", "/a?b=c");
    request.headers = vec![("x-mine".to_owned(), "1".to_owned())];
    request.body = b"body".to_vec();
    let seen = world.send(request).await.unwrap();
    assert!(seen.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("x-mine: 1\r\n") && seen.contains("authorization: Bearer s3cret\r\n"),
        "{seen}"
    );
    assert!(seen.contains("content-length: 4\r\n"), "{seen}");
}

#[tokio::test]
async fn private_addresses_are_refused_by_what_a_name_stands_for() {
    let world = World::new().await;
    refused(
        world.get("127.0.0.1", "/").await,
        "127.0.0.1 is an address of a private network",
    );
    refused(world.get("localhost", "/").await, "localhost (");
    let mut granted = world.outgoing.grant.clone();
    granted.private = true;
    let outgoing = Outgoing::new(&granted).unwrap();
    let request = world.request("GET", "localhost", "/");
    assert_eq!(outgoing.send(request, HeaderMap::new()).await.unwrap().status, 200);
}

#[tokio::test]
async fn redirects_are_looked_at_like_first_requests() {
    let world = World::new().await;
    let port = world.port;
    refused(
        world
            .get("public.test", &format!("/302?to=http://127.0.0.1:{port}/"))
            .await,
        "private network",
    );
    refused(
        world
            .get("public.test", &format!("/302?to=http://localhost:{port}/"))
            .await,
        "private network",
    );
    refused(
        world.get("public.test", "/302?to=http://elsewhere.test/").await,
        "elsewhere.test:80 is not allowed",
    );
    let seen = world.get("public.test", "/307?to=/b").await.unwrap();
    assert!(seen.starts_with("GET /b ") && seen.contains("s3cret"), "{seen}");
    // To another origin without what is for the first one alone.
    let to = format!("/302?to=http://other.test:{port}/c");
    let seen = world.get("public.test", &to).await.unwrap();
    assert!(seen.starts_with("GET /c ") && !seen.contains("s3cret"), "{seen}");
    let circle = world
        .get("public.test", &format!("/302?to=http://public.test:{port}/302%3Fto=x"))
        .await;
    assert!(circle.is_ok(), "an escaped mark is no redirect: {circle:?}");
    let mut posted = world.request("POST", "public.test", "/303?to=/d");
    posted.body = b"once".to_vec();
    let seen = world.send(posted).await.unwrap();
    assert!(seen.starts_with("GET /d ") && !seen.contains("once"), "{seen}");
    let mut endless = String::from("/end");
    for _ in 0..=REDIRECTS {
        endless = format!("/302?to={endless}");
    }
    assert!(
        world
            .get("public.test", &endless)
            .await
            .unwrap_err()
            .starts_with("failed: more than 5")
    );
}

#[tokio::test]
async fn other_methods_origins_and_urls_are_refused() {
    let world = World::new().await;
    refused(
        world.send(world.request("DELETE", "public.test", "/")).await,
        "DELETE is not allowed",
    );
    refused(
        world.get("elsewhere.test", "/").await,
        "is not allowed; the grant has http://public.test",
    );
    for url in ["ftp://public.test/", "/relative", "http://user@public.test/", "http://"] {
        let mut request = world.request("GET", "x", "/");
        request.url = url.to_owned();
        assert!(world.send(request).await.unwrap_err().starts_with("invalid: "), "{url}");
    }
    for name in [
        "host",
        "Content-Length",
        "transfer-encoding",
        "proxy-authorization",
        "a b",
    ] {
        let mut request = world.request("GET", "public.test", "/");
        request.headers = vec![(name.to_owned(), "x".to_owned())];
        assert!(
            world.send(request).await.unwrap_err().starts_with("invalid: "),
            "{name}"
        );
    }
}

#[tokio::test]
async fn bodies_and_times_are_bounded() {
    let world = World::new().await;
    assert!(
        world
            .get("public.test", "/large")
            .await
            .unwrap_err()
            .starts_with("too-large: ")
    );
    let mut request = world.request("POST", "public.test", "/");
    request.body = vec![0; 1001];
    assert!(world.send(request).await.unwrap_err().starts_with("too-large: "));
    for path in ["/silent", "/slow"] {
        let mut request = world.request("GET", "public.test", path);
        request.timeout_ms = Some(50);
        assert_eq!(
            world.send(request).await.unwrap_err(),
            "timeout: no answer within 50 ms",
            "{path}"
        );
    }
    let mut request = world.request("GET", "public.test", "/");
    request.url = "http://public.test:1/".to_owned();
    refused(world.send(request).await, "public.test:1");
}
