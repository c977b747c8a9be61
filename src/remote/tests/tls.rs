//! HTTPS: whom the router believes.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::fake::{answer, event, message, modern_call, open, soon};
use crate::config::{self, Place};
use crate::remote::Event;

/// A server with a certificate of its own making for `localhost`: its port, and the certificate.
async fn server() -> (u16, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let (acceptor, listener) = (
        TlsAcceptor::from(Arc::new(tls)),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            let body = answer(1);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
            let _ = stream
                .write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes())
                .await;
            let _ = stream.flush().await;
        }
    });
    (port, cert.pem())
}

#[tokio::test]
async fn an_authority_of_ones_own_is_believed_where_it_is_named_and_nowhere_else() {
    let (port, pem) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    let mut settings = config::Remote::from(Place::Urls(vec![format!("https://localhost:{port}/mcp")]));
    settings.ca_file = Some(file.clone());
    let mut remote = open(&settings, 1000);
    remote.push(Some(1), modern_call(1));
    assert_eq!(event(&mut remote).await, message(&answer(1), Some(1)));

    // Another name than that in the certificate.
    settings.place = Place::Urls(vec![format!("https://127.0.0.1:{port}/mcp")]);
    // Another authority.
    let (_, other) = server().await;
    let foreign = folder.path().join("other.pem");
    std::fs::write(&foreign, other).unwrap();
    let mut elsewhere = settings.clone();
    elsewhere.place = Place::Urls(vec![format!("https://localhost:{port}/mcp")]);
    elsewhere.ca_file = Some(foreign);
    for settings in [settings, elsewhere] {
        let mut remote = open(&settings, 1000);
        remote.push(Some(1), modern_call(1));
        let Event::Down { why } = soon("the refusal", event(&mut remote)).await else {
            panic!()
        };
        assert!(why.contains("certificate"), "{why}");
        assert!(matches!(event(&mut remote).await, Event::Unsent { id: 1, .. }));
    }
}
