//! Notifications on their way to one stream: bounded in number and in bytes. A reader that is too slow misses
//! some, never an answer, and never fills the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Bytes that wait for one reader at most; a single notification may be larger.
const MAX_BYTES: usize = 1 << 20;

/// Where notifications are put.
#[derive(Clone)]
pub(super) struct NoteSender {
    sender: mpsc::Sender<Bytes>,
    queued: Arc<AtomicUsize>,
}

/// Where they come out.
pub(super) struct Notes {
    receiver: mpsc::Receiver<Bytes>,
    queued: Arc<AtomicUsize>,
}

/// Room for `capacity` notifications, at least one.
pub(super) fn channel(capacity: usize) -> (NoteSender, Notes) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let queued = Arc::new(AtomicUsize::new(0));
    let notes = Notes {
        receiver,
        queued: Arc::clone(&queued),
    };
    (NoteSender { sender, queued }, notes)
}

impl NoteSender {
    /// Puts one in, if there is room.
    pub(super) fn send(&self, note: Bytes) -> bool {
        let size = note.len();
        let before = self.queued.fetch_add(size, Ordering::Relaxed);
        let fits = before == 0 || before + size <= MAX_BYTES;
        let sent = fits && self.sender.try_send(note).is_ok();
        if !sent {
            self.queued.fetch_sub(size, Ordering::Relaxed);
        }
        sent
    }
}

impl Notes {
    /// The next one; `None` when the other end is gone. Cancel safe.
    pub(super) async fn recv(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next one, if it is there already.
    pub(super) fn try_recv(&mut self) -> Option<Bytes> {
        let note = self.receiver.try_recv().ok()?;
        self.queued.fetch_sub(note.len(), Ordering::Relaxed);
        Some(note)
    }

    /// The same for those who poll.
    pub(super) fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let note = ready!(self.receiver.poll_recv(context));
        if let Some(note) = &note {
            self.queued.fetch_sub(note.len(), Ordering::Relaxed);
        }
        Poll::Ready(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_a_bound_of_number_and_one_of_bytes() {
        let (sender, mut notes) = channel(2);
        let note = Bytes::from_static(b"note");
        assert!(sender.send(note.clone()) && sender.send(note.clone()) && !sender.send(note.clone()));
        assert_eq!(notes.recv().await, Some(note.clone()));
        assert!(sender.send(note.clone()));

        let (sender, mut notes) = channel(9);
        let large = Bytes::from(vec![0; MAX_BYTES + 1]);
        assert!(sender.send(large.clone()), "alone it may be of any size");
        assert!(!sender.send(note.clone()) && !sender.send(large.clone()));
        assert_eq!(notes.recv().await.map(|n| n.len()), Some(MAX_BYTES + 1));
        assert!(sender.send(note.clone()) && !sender.send(large) && sender.send(note));
    }
}
