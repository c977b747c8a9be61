//! TLS at the front: a certificate that can change while connections go on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::config;

/// What new connections are served with. Those that are open keep what they began with.
pub struct Tls {
    files: config::Tls,
    current: ArcSwap<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// Of what the files held.
    digest: [u8; 32],
}

/// No protocol but HTTP/1.1 is spoken.
const PROTOCOL: &[u8] = b"http/1.1";

impl Tls {
    /// Reads certificate and key. An error says what is wrong with them.
    pub fn load(files: &config::Tls) -> Result<Arc<Self>, String> {
        let current = ArcSwap::from_pointee(read(files, None)?.ok_or("there is nothing to read")?);
        Ok(Arc::new(Self {
            files: files.clone(),
            current,
        }))
    }

    /// Reads them again. What cannot be used changes nothing.
    pub async fn renew(self: &Arc<Self>) {
        let tls = Arc::clone(self);
        let known = self.current.load().digest;
        let read = tokio::task::spawn_blocking(move || read(&tls.files, Some(known))).await;
        match read {
            Ok(Ok(Some(new))) => {
                self.current.store(Arc::new(new));
                info!("new certificate: {}", self.files.cert.display());
            }
            Ok(Ok(None)) => {}
            Ok(Err(why)) => warn!("the certificate stays as it is: {why}"),
            Err(panic) => warn!("the certificate stays as it is: {panic}"),
        }
    }

    /// Shakes hands with a client, within this time.
    pub(super) async fn accept(&self, stream: TcpStream, within: Duration) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.load().config));
        timeout(within, acceptor.accept(stream)).await?
    }
}

/// What the files hold; `None` where that is `known`.
fn read(files: &config::Tls, known: Option<[u8; 32]>) -> Result<Option<Current>, String> {
    let bytes = |path: &Path| std::fs::read(path).map_err(|e| format!("{} cannot be read: {e}", path.display()));
    let (cert, key) = (bytes(&files.cert)?, bytes(&files.key)?);
    let digest = Sha256::new()
        .chain_update(Sha256::digest(&cert))
        .chain_update(&key)
        .finalize()
        .into();
    if known == Some(digest) {
        return Ok(None);
    }
    let wrong = |path: &Path, why: &dyn std::fmt::Display| format!("{} {why}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert).collect();
    let chain = chain.map_err(|e| wrong(&files.cert, &format!("is no PEM file: {e}")))?;
    if chain.is_empty() {
        return Err(wrong(&files.cert, &"holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| wrong(&files.key, &format!("holds no key: {e}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // TLS 1.2 and 1.3: there are no others in rustls.
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be set up: {e}"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| wrong(&files.cert, &format!("and {} do not fit: {e}", files.key.display())))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Some(Current {
        config: config.into(),
        digest,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made
    }

    #[tokio::test]
    async fn a_bad_file_keeps_the_certificate_that_there_was() {
        let folder = tempfile::tempdir().unwrap();
        let files = config::Tls {
            cert: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        assert!(Tls::load(&files).err().unwrap().contains("cannot be read"));
        write(folder.path(), "one");
        let tls = Tls::load(&files).unwrap();
        let first = tls.current.load().digest;
        tls.renew().await;
        assert_eq!(tls.current.load().digest, first, "nothing changed");
        let key = std::fs::read(&files.key).unwrap();
        for (path, text) in [(&files.cert, "nonsense"), (&files.key, "nonsense")] {
            let good = std::fs::read(path).unwrap();
            std::fs::write(path, text).unwrap();
            tls.renew().await;
            assert_eq!(tls.current.load().digest, first);
            std::fs::write(path, good).unwrap();
        }
        // Half of a change: the new certificate with the old key.
        write(folder.path(), "two");
        let new = std::fs::read(&files.key).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        tls.renew().await;
        assert_eq!(tls.current.load().digest, first);
        std::fs::write(&files.key, new).unwrap();
        tls.renew().await;
        assert_ne!(tls.current.load().digest, first);
    }
}
