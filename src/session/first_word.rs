//! The event stream of a legacy call, opened with the first word that is said on it: in most calls none is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::stream::{Reader, Start, Stream};
use super::streams::Streams;

/// The place where something may be said in the course of a call.
pub(super) struct FirstWord {
    streams: Arc<Streams>,
    state: Mutex<State>,
}

enum State {
    /// Nothing was said. Who waits for the first word is woken by it.
    Silent(Option<Waker>),
    /// The stream, and its reader until that is taken.
    Said(Arc<Stream>, Option<Reader>),
    /// Nobody is there to hear it.
    Left,
}

/// Hears what is said there.
pub(super) struct Told(Arc<FirstWord>);

impl FirstWord {
    /// For a call of the session whose streams these are.
    pub(super) fn new(streams: &Arc<Streams>) -> (Arc<Self>, Told) {
        let word = Arc::new(Self {
            streams: Arc::clone(streams),
            state: Mutex::new(State::Silent(None)),
        });
        (Arc::clone(&word), Told(word))
    }

    /// The stream to speak on; `None` where nobody is there to hear it.
    pub(super) fn stream(&self) -> Option<Arc<Stream>> {
        let mut state = self.lock();
        match &mut *state {
            State::Left => None,
            State::Said(stream, _) => Some(Arc::clone(stream)),
            State::Silent(waker) => {
                let waker = waker.take();
                let stream = self.streams.open();
                *state = State::Said(Arc::clone(&stream), Some(stream.read(Start::Unread)));
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
                Some(stream)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Whether something was said.
    pub(super) fn has_more(&self) -> bool {
        matches!(&*self.0.lock(), State::Said(_, Some(reader)) if reader.has_more())
    }

    /// Ready when something was said.
    pub(super) fn poll_more(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.0.lock() {
            State::Said(_, Some(reader)) => reader.poll_more(cx),
            State::Silent(Some(waker)) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            State::Silent(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }

    /// The reader of its stream, which is there from now on whether something is said or not.
    pub(super) fn into_reader(self) -> Reader {
        let mut state = self.0.lock();
        if let State::Said(_, reader) = &mut *state
            && let Some(reader) = reader.take()
        {
            return reader;
        }
        let stream = self.0.streams.open();
        let reader = stream.read(Start::Unread);
        *state = State::Said(stream, None);
        reader
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        match &mut *state {
            State::Silent(_) => *state = State::Left,
            // Whose reader was taken is somebody else's to end.
            State::Said(_, reader) => drop(reader.take()),
            State::Left => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::ring::Rank;
    use super::*;
    use crate::config;

    fn more(told: &Told) -> Option<()> {
        std::future::poll_fn(|cx| told.poll_more(cx)).now_or_never()
    }

    #[tokio::test]
    async fn the_first_word_opens_the_stream_and_wakes_who_waits() {
        let streams = Streams::new(1, &config::Sessions::default());
        let (word, told) = FirstWord::new(&streams);
        assert!(!told.has_more() && more(&told).is_none());
        let waiting = tokio::spawn(async move {
            std::future::poll_fn(|cx| told.poll_more(cx)).await;
            told
        });
        tokio::task::yield_now().await;
        assert!(word.stream().unwrap().say(Rank::Passing, "one"));
        let told = waiting.await.unwrap();
        assert!(told.has_more() && more(&told).is_some());
        let mut reader = told.into_reader();
        assert_eq!(reader.next().await.unwrap(), "id: 1.1.1\nevent: message\ndata: one\n\n");
        assert!(word.stream().unwrap().say(Rank::Passing, "two"), "the reader goes on");
        assert!(reader.next().await.is_some());
    }

    #[tokio::test]
    async fn nothing_is_said_to_who_left() {
        let streams = Streams::new(1, &config::Sessions::default());
        let (word, told) = FirstWord::new(&streams);
        drop(told);
        assert!(word.stream().is_none());
        let (word, told) = FirstWord::new(&streams);
        let stream = word.stream().unwrap();
        drop(told);
        assert!(!stream.say(Rank::Passing, "one"));
    }

    #[tokio::test]
    async fn a_stream_that_is_served_in_silence_takes_what_is_said_later() {
        let streams = Streams::new(1, &config::Sessions::default());
        let (word, told) = FirstWord::new(&streams);
        let mut reader = told.into_reader();
        assert!(word.stream().unwrap().say(Rank::Passing, "one"));
        assert!(reader.next().await.is_some());
    }
}
