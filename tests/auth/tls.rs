//! HTTPS at the front: handshakes, certificates that change, and those that must not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::generate_simple_self_signed;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Router, in_time, until_async};

/// Puts a new certificate and its key there, each in one step.
fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    for (name, text) in [
        ("key.pem", made.signing_key.serialize_pem()),
        ("cert.pem", made.cert.pem()),
    ] {
        std::fs::write(folder.join("aside"), text).unwrap();
        std::fs::rename(folder.join("aside"), folder.join(name)).unwrap();
    }
    made.cert.der().clone()
}

type Secured = TlsStream<TcpStream>;

async fn connect(
    router: &Router,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Secured> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(&router.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    in_time(
        "a handshake",
        TlsConnector::from(Arc::new(config)).connect(name, stream),
    )
    .await
}

/// One request over a connection that stays open: the head of the reply.
async fn get(stream: &mut Secured, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 8192];
    let read = in_time("a reply", stream.read(&mut bytes)).await.unwrap();
    String::from_utf8(bytes[..read].to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_changes_and_connections_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let first = renew(folder.path());
    let config = "[listen]\nauth = \"ci\"\nheader-timeout = \"500ms\"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n\
                  [auth.ci.tokens.a]\ntoken = \"0123456789abcdef\"\n[backends.demo]\ncommand = \"@program\"\n\
                  args = [\"demo-server\"]\n";
    let router = Router::start_in(folder, config).await;
    let both = rustls::ALL_VERSIONS;
    for version in both {
        let mut stream = connect(&router, &first, &[version]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(get(&mut stream, "/healthz").await.starts_with("HTTP/1.1 200"));
        println!("{:?}", stream.get_ref().1.protocol_version().unwrap());
    }
    let mut kept = connect(&router, &first, both).await.unwrap();
    let refused = get(&mut kept, "/status").await;
    let metadata = "resource_metadata=\"https://localhost/.well-known/oauth-protected-resource/mcp\"";
    assert!(
        refused.starts_with("HTTP/1.1 401") && refused.contains(metadata),
        "{refused}"
    );

    let second = renew(router.path());
    until_async("the new certificate", async || {
        connect(&router, &second, both).await.ok()
    })
    .await;
    assert!(
        connect(&router, &first, both).await.is_err(),
        "the old one is not shown any more"
    );

    // No certificate at all: nothing changes, and that is said.
    std::fs::write(router.path().join("cert.pem"), "nonsense").unwrap();
    until_async("a warning", async || {
        router.log().contains("the certificate stays as it is").then_some(())
    })
    .await;
    let mut stream = connect(&router, &second, both).await.unwrap();
    assert!(get(&mut stream, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert_eq!(router.status()["needs_restart"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_shake_hands_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    renew(folder.path());
    let config = "[listen]\nheader-timeout = \"300ms\"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n\
                  [backends.demo]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n";
    let router = Router::start_in(folder, config).await;
    let mut plain = TcpStream::connect(&router.address).await.unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut said = Vec::new();
    let _ = in_time("the end", plain.read_to_end(&mut said)).await;
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    let mut silent = TcpStream::connect(&router.address).await.unwrap();
    let began = std::time::Instant::now();
    assert_eq!(in_time("the end", silent.read(&mut [0; 16])).await.unwrap_or(0), 0);
    let waited = began.elapsed();
    assert!(
        (Duration::from_millis(200)..Duration::from_secs(20)).contains(&waited),
        "{waited:?}"
    );
}
