//! Which sessions make room for another one, pure: those that were idle for longest, first of whoever has most.

use std::cmp::Reverse;
use std::collections::HashMap;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::call::Introduction;
use crate::wire::RawJson;

/// What a session takes besides what its agent said, about.
const BARE: usize = 1024;
/// What a header takes besides its text, about.
const HEADER: usize = 64;

/// A session as far as its room goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) id: &'a str,
    /// The key of its principal. All who were not asked are one: nothing tells them apart for longer than a connection.
    pub(super) owner: Option<&'a str>,
    /// Since when it is idle; `None` where it is not.
    pub(super) idle: Option<Instant>,
    pub(super) size: usize,
}

/// What one owner has.
#[derive(Default)]
struct Share<'a> {
    count: usize,
    size: usize,
    /// Those that may go, the longest idle one last.
    idle: Vec<(Instant, Place<'a>)>,
}

/// Which of `all` go, so that `new` fits within so many sessions and bytes; `None` where that cannot be.
pub(super) fn leaving<'a>(all: &[Place<'a>], new: &Place<'a>, (most, bytes): (usize, usize)) -> Option<Vec<&'a str>> {
    let mut shares: HashMap<Option<&str>, Share<'a>> = HashMap::new();
    for place in all.iter().chain([new]) {
        let share = shares.entry(place.owner).or_default();
        share.count += 1;
        share.size += place.size;
        if let Some(since) = place.idle.filter(|_| place.id != new.id) {
            share.idle.push((since, *place));
        }
    }
    for share in shares.values_mut() {
        share.idle.sort_unstable_by_key(|(since, _)| Reverse(*since));
    }
    let (mut count, mut size) = (
        all.len() + 1,
        all.iter().chain([new]).map(|place| place.size).sum::<usize>(),
    );
    let mut gone = Vec::new();
    while count > most || size > bytes {
        let too_large = size > bytes;
        let having = shares.values_mut().filter(|share| !share.idle.is_empty());
        let largest = having.max_by_key(|share| {
            let weight = if too_large { share.size } else { share.count };
            (weight, share.idle.last().map(|(since, _)| Reverse(*since)))
        })?;
        let (_, place) = largest.idle.pop()?;
        largest.count -= 1;
        largest.size -= place.size;
        count -= 1;
        size -= place.size;
        gone.push(place.id);
    }
    Some(gone)
}

/// Bytes that are kept of an introduction, about.
pub(super) fn size(said: &Introduction) -> usize {
    let length = |text: &Option<RawJson>| text.as_ref().map_or(0, |text| text.as_str().len());
    // Client and capabilities are said again to modern servers, and that text is kept too.
    BARE + of_headers(&said.headers) + length(&said.meta) + 2 * (length(&said.client) + length(&said.capabilities))
}

/// Bytes of headers that are kept.
pub(super) fn of_headers(headers: &HeaderMap) -> usize {
    let one = |(name, value): (&http::HeaderName, &HeaderValue)| name.as_str().len() + value.len() + HEADER;
    headers.iter().map(one).sum()
}

/// The same headers without the buffer of the connection, which they would keep.
pub(super) fn owned(headers: &HeaderMap) -> HeaderMap {
    let one = |(name, value): (&http::HeaderName, &HeaderValue)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        Some((name.clone(), value))
    };
    headers.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_has_most_makes_room_the_longest_idle_first() {
        let start = Instant::now();
        let place = |id: &'static str, owner, idle: Option<u64>, size| Place {
            id,
            owner,
            idle: idle.map(|at| start + Duration::from_secs(at)),
            size,
        };
        let (ann, bob, nobody) = (Some("ann"), Some("bob"), None);
        let all = [
            place("b1", bob, Some(1), 10),
            place("a1", ann, None, 10),
            place("a3", ann, Some(3), 10),
            place("a2", ann, Some(2), 10),
            place("n1", nobody, Some(0), 60),
        ];
        let new = |owner| place("new", owner, Some(9), 10);
        let gone = |owner, bounds| leaving(&all, &new(owner), bounds);
        assert_eq!(gone(bob, (6, 110)), Some(vec![]), "they fit");
        assert_eq!(gone(bob, (5, 999)), Some(vec!["a2"]), "whoever has most");
        assert_eq!(gone(ann, (4, 999)), Some(vec!["a2", "a3"]));
        assert_eq!(
            gone(bob, (9, 100)),
            Some(vec!["n1"]),
            "whoever has most of what is short"
        );
        assert_eq!(gone(bob, (9, 40)), Some(vec!["n1", "a2"]));
        assert_eq!(
            gone(bob, (3, 999)),
            Some(vec!["a2", "b1", "a3"]),
            "alike: the longest idle"
        );
        assert_eq!(gone(bob, (1, 999)), None, "one of them is busy");
        assert_eq!(gone(bob, (9, 9)), None);
    }
}
