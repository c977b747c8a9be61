//! What the router gives into an agent's hands and must know again: request states and cursors.
//!
//! Sealed by XChaCha20-Poly1305 under a key of the router's own, and bound to what they were given for: an agent can
//! neither read nor change them, nor use them for anything else. They hold a date, after which they are refused.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

const NONCE_BYTES: usize = 24;
const DATE_BYTES: usize = 8;
/// Long before anything is sealed, so that what was made by another version is refused as such.
const VERSION: u8 = 1;

/// Seals and opens.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    /// Makes the nonces of what must have the same seal each time.
    naming: [u8; 32],
}

/// Why something is not opened. Which of the two it is does not matter to an honest agent, and a dishonest one
/// learns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// Not sealed by this router, changed on the way, or for something else.
    #[error("it was not given out by this router for this purpose")]
    Foreign,
    /// Too old.
    #[error("it has expired")]
    Expired,
}

impl Sealer {
    /// Seals under this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let naming = Sha256::new().chain_update(b"pointsman names").chain_update(key);
        Self {
            cipher: XChaCha20Poly1305::new(&Key::from(*key)),
            naming: naming.finalize().into(),
        }
    }

    /// Seals `text` for good, and always alike: its nonce is made of the text itself, so that no two texts share one.
    pub fn name(&self, purpose: &[u8], text: &[u8]) -> String {
        let hash = Sha256::new()
            .chain_update(self.naming)
            .chain_update(purpose.len().to_be_bytes())
            .chain_update(purpose)
            .chain_update(text);
        let hash: [u8; 32] = hash.finalize().into();
        let mut nonce = [0_u8; NONCE_BYTES];
        nonce.copy_from_slice(&hash[..NONCE_BYTES]);
        self.write(nonce, u64::MAX, purpose, text).unwrap_or_default()
    }

    /// Seals `text`, to be opened for the same `purpose` alone and not later than `life` from now. `None` where the
    /// system has no randomness.
    pub fn seal(&self, purpose: &[u8], text: &[u8], life: Duration) -> Option<String> {
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let until = seconds(SystemTime::now() + life);
        self.write(nonce, until, purpose, text)
    }

    fn write(&self, nonce: [u8; NONCE_BYTES], until: u64, purpose: &[u8], text: &[u8]) -> Option<String> {
        let mut inside = Vec::with_capacity(DATE_BYTES + text.len());
        inside.extend_from_slice(&until.to_be_bytes());
        inside.extend_from_slice(text);
        let payload = Payload {
            msg: &inside,
            aad: purpose,
        };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        let mut out = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(out))
    }

    /// Opens what was sealed for that purpose.
    pub fn open(&self, purpose: &[u8], sealed: &str) -> Result<Vec<u8>, NotOpened> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| NotOpened::Foreign)?;
        let (head, rest) = bytes.split_at_checked(1 + NONCE_BYTES).ok_or(NotOpened::Foreign)?;
        if head.first() != Some(&VERSION) {
            return Err(NotOpened::Foreign);
        }
        let payload = Payload {
            msg: rest,
            aad: purpose,
        };
        let nonce = XNonce::try_from(&head[1..]).map_err(|_| NotOpened::Foreign)?;
        let inside = self.cipher.decrypt(&nonce, payload).map_err(|_| NotOpened::Foreign)?;
        let (date, text) = inside.split_first_chunk::<DATE_BYTES>().ok_or(NotOpened::Foreign)?;
        if seconds(SystemTime::now()) > u64::from_be_bytes(*date) {
            return Err(NotOpened::Expired);
        }
        Ok(text.to_vec())
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_was_sealed_opens_for_its_purpose_alone() {
        let sealer = Sealer::new(&[7; KEY_BYTES]);
        let sealed = sealer.seal(b"mine", b"state", HOUR).unwrap();
        assert_eq!(sealer.open(b"mine", &sealed).unwrap(), b"state");
        assert_eq!(sealer.open(b"yours", &sealed), Err(NotOpened::Foreign));
        assert_eq!(
            Sealer::new(&[8; KEY_BYTES]).open(b"mine", &sealed),
            Err(NotOpened::Foreign)
        );
        assert_eq!(
            Sealer::new(&[7; KEY_BYTES]).open(b"mine", &sealed).unwrap(),
            b"state",
            "the same key, another process"
        );
        assert_ne!(
            sealer.seal(b"mine", b"state", HOUR).unwrap(),
            sealed,
            "no two are alike"
        );
    }

    #[test]
    fn a_name_is_always_the_same_and_of_its_purpose_alone() {
        let sealer = Sealer::new(&[7; KEY_BYTES]);
        let name = sealer.name(b"mine", b"task");
        assert_eq!(sealer.name(b"mine", b"task"), name);
        assert_ne!(sealer.name(b"mine", b"other"), name);
        assert_ne!(Sealer::new(&[8; KEY_BYTES]).name(b"mine", b"task"), name);
        assert_eq!(sealer.open(b"mine", &name).unwrap(), b"task");
        assert_eq!(sealer.open(b"yours", &name), Err(NotOpened::Foreign));
    }

    #[test]
    fn any_change_is_noticed() {
        let sealer = Sealer::new(&[7; KEY_BYTES]);
        let sealed = sealer.seal(b"", b"state", HOUR).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(sealer.open(b"", &changed), Err(NotOpened::Foreign), "{at}");
        }
        for wrong in ["", "AQ", "%", &sealed[..sealed.len() - 1]] {
            assert_eq!(sealer.open(b"", wrong), Err(NotOpened::Foreign));
        }
    }

    #[test]
    fn what_is_too_old_is_refused() {
        let sealer = Sealer::new(&[7; KEY_BYTES]);
        let now = sealer.seal(b"", b"state", Duration::ZERO).unwrap();
        // The clock counts whole seconds: this one is not over, or it has just ended.
        assert!(matches!(sealer.open(b"", &now), Ok(_) | Err(NotOpened::Expired)));
        let past = SystemTime::now() - HOUR;
        let mut inside = seconds(past).to_be_bytes().to_vec();
        inside.extend_from_slice(b"state");
        let nonce = [3; NONCE_BYTES];
        let payload = Payload { msg: &inside, aad: b"" };
        let sealed = sealer.cipher.encrypt(&XNonce::from(nonce), payload).unwrap();
        let whole = [&[VERSION][..], &nonce, &sealed].concat();
        let old = URL_SAFE_NO_PAD.encode(whole);
        assert_eq!(sealer.open(b"", &old), Err(NotOpened::Expired));
    }
}
