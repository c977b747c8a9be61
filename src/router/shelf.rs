//! The traces that are kept: bounded by count and by bytes, the oldest go first. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use wildmatch::WildMatch;

use super::trace::Trace;

/// Which of the kept traces are wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// So many at most: the newest, or with `after` the ones that follow it.
    pub last: usize,
    /// The router's number of the call.
    pub call: Option<u64>,
    /// Only calls that came to nothing by a policy.
    pub denied: bool,
    /// Only calls that this plugin decided; with `all`, that it was asked about.
    pub plugin: Option<String>,
    /// Only calls of things whose name fits.
    pub tool: Option<WildMatch>,
    /// Also calls that no plugin decided anything about.
    pub all: bool,
    /// Only traces with a higher number.
    pub after: Option<u64>,
}

impl Query {
    fn wants(&self, trace: &Trace) -> bool {
        self.call.is_none_or(|call| call == trace.call)
            && (!self.denied || trace.is_denied())
            && (self.plugin.as_ref()).is_none_or(|plugin| trace.is_of(plugin, self.all))
            && (self.tool.as_ref()).is_none_or(|tool| trace.name.as_ref().is_some_and(|name| tool.matches(name)))
    }
}

/// What was found, the oldest first.
#[derive(Debug)]
pub struct Found {
    /// The number of each, and the trace.
    pub traces: Vec<(u64, Arc<Trace>)>,
    /// Everything up to this number was looked at.
    pub number: u64,
    /// Traces after the wanted number had to go before they were asked for.
    pub missed: bool,
    /// How many there would be without a limit.
    pub fitting: usize,
    /// How many are kept.
    pub kept: usize,
}

/// The newest of one kind.
#[derive(Debug, Default)]
struct Row {
    traces: VecDeque<(u64, Arc<Trace>)>,
    bytes: usize,
    /// The number of the newest one that had to go.
    gone: u64,
}

impl Row {
    fn put(&mut self, number: u64, trace: Arc<Trace>, calls: usize, bytes: usize) {
        self.bytes += trace.size();
        self.traces.push_back((number, trace));
        while self.traces.len() > calls || self.bytes > bytes {
            let Some((number, trace)) = self.traces.pop_front() else {
                break;
            };
            self.bytes -= trace.size();
            self.gone = number;
        }
    }
}

/// Both kinds: what everybody wants to see is not pushed out by what is kept while somebody watches.
#[derive(Debug)]
pub(super) struct Shelf {
    decided: Row,
    others: Row,
    number: u64,
    calls: usize,
    bytes: usize,
}

impl Shelf {
    /// Room for so many calls, and so many bytes, of each kind.
    pub(super) fn new(calls: usize, bytes: usize) -> Self {
        Self {
            decided: Row::default(),
            others: Row::default(),
            number: 0,
            calls,
            bytes,
        }
    }

    pub(super) fn put(&mut self, trace: Trace) {
        self.number += 1;
        let row = match trace.is_decided() {
            true => &mut self.decided,
            false => &mut self.others,
        };
        row.put(self.number, Arc::new(trace), self.calls, self.bytes);
    }

    /// What `query` wants, as long as it is not more than `most` bytes.
    pub(super) fn find(&self, query: &Query, most: usize) -> Found {
        // Whoever names a call wants it, whatever was decided about it.
        let others = (query.all || query.call.is_some()).then_some(&self.others);
        let rows = [Some(&self.decided), others].into_iter().flatten();
        let after = query.after.unwrap_or_default();
        let mut wanted: Vec<&(u64, Arc<Trace>)> = rows
            .clone()
            .flat_map(|row| &row.traces)
            .filter(|(number, trace)| *number > after && query.wants(trace))
            .collect();
        wanted.sort_unstable_by_key(|(number, _)| *number);
        if query.after.is_none() {
            wanted.reverse();
        }
        let mut bytes = 0;
        let all = wanted.len();
        let mut traces: Vec<(u64, Arc<Trace>)> = wanted
            .into_iter()
            .take(query.last)
            .take_while(|(_, trace)| {
                bytes += trace.size();
                bytes <= most
            })
            .cloned()
            .collect();
        let number = match (query.after, traces.last()) {
            (Some(_), Some((number, _))) if traces.len() < all => *number,
            _ => self.number,
        };
        if query.after.is_none() {
            traces.reverse();
        }
        Found {
            traces,
            number,
            missed: query
                .after
                .is_some_and(|after| rows.clone().any(|row| row.gone > after)),
            fitting: all,
            kept: rows.map(|row| row.traces.len()).sum(),
        }
    }

    /// The numbers of all calls that are here, in order.
    pub(super) fn calls(&self) -> Vec<u64> {
        let all = [&self.decided, &self.others].into_iter().flat_map(|row| &row.traces);
        let mut calls: Vec<u64> = all.map(|(_, trace)| trace.call).collect();
        calls.sort_unstable();
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::tests::sample;
    use super::*;

    fn calls(found: &Found) -> Vec<u64> {
        found.traces.iter().map(|(_, trace)| trace.call).collect()
    }

    fn last(n: usize) -> Query {
        Query {
            last: n,
            ..Query::default()
        }
    }

    const MUCH: usize = 1 << 30;

    #[test]
    fn the_oldest_go_first_by_count() {
        let mut shelf = Shelf::new(3, MUCH);
        for call in 1..=5 {
            shelf.put(sample(call, "deny"));
        }
        let found = shelf.find(&last(10), MUCH);
        assert_eq!((calls(&found), found.kept, found.number), (vec![3, 4, 5], 3, 5));
        let found = shelf.find(&last(2), MUCH);
        assert_eq!((calls(&found), found.fitting), (vec![4, 5], 3));
    }

    #[test]
    fn the_oldest_go_first_by_bytes_and_what_is_too_large_is_not_kept() {
        let size = sample(1, "deny").size();
        let mut shelf = Shelf::new(100, size * 5 / 2);
        for call in 1..=4 {
            shelf.put(sample(call, "deny"));
        }
        assert_eq!(calls(&shelf.find(&last(10), MUCH)), [3, 4]);
        assert!(shelf.decided.bytes <= size * 5 / 2);
        let mut small = Shelf::new(100, size - 1);
        small.put(sample(1, "deny"));
        assert_eq!((small.find(&last(1), MUCH).kept, small.decided.bytes), (0, 0));
        let mut none = Shelf::new(0, MUCH);
        none.put(sample(1, "deny"));
        assert_eq!(none.find(&last(1), MUCH).kept, 0);
        // An answer has an end as well.
        assert_eq!(calls(&shelf.find(&last(10), size)), [4]);
    }

    #[test]
    fn calls_that_nobody_decided_push_out_none_of_the_others() {
        let mut shelf = Shelf::new(2, MUCH);
        shelf.put(sample(1, "deny"));
        for call in 2..=9 {
            shelf.put(sample(call, "next"));
        }
        assert_eq!(calls(&shelf.find(&last(10), MUCH)), [1]);
        let all = Query { all: true, ..last(10) };
        assert_eq!(calls(&shelf.find(&all, MUCH)), [1, 8, 9]);
        assert_eq!(shelf.calls(), [1, 8, 9]);
        let call = Some(8);
        assert_eq!(calls(&shelf.find(&Query { call, ..last(10) }, MUCH)), [8]);
    }

    #[test]
    fn every_condition_counts() {
        let mut shelf = Shelf::new(100, MUCH);
        for (call, word) in [(1, "deny"), (2, "redirect"), (3, "next"), (4, "closed"), (5, "open")] {
            shelf.put(sample(call, word));
        }
        let found = |query: Query| calls(&shelf.find(&query, MUCH));
        let any = || Query { all: true, ..last(10) };
        assert_eq!(found(any()), [1, 2, 3, 4, 5]);
        let call = Some(2);
        assert_eq!(found(Query { call, ..any() }), [2]);
        assert_eq!(found(Query { denied: true, ..any() }), [1, 4]);
        // `guard` decides, `first` is asked before it.
        let plugin = |name: &str| Some(name.to_owned());
        assert_eq!(
            found(Query {
                plugin: plugin("first"),
                ..any()
            }),
            [1, 2, 3, 4, 5]
        );
        assert_eq!(
            found(Query {
                plugin: plugin("first"),
                ..last(10)
            }),
            [0; 0]
        );
        assert_eq!(
            found(Query {
                plugin: plugin("guard"),
                ..last(10)
            }),
            [1, 2, 4, 5]
        );
        let tool = |pattern: &str| Query {
            tool: Some(WildMatch::new(pattern)),
            ..any()
        };
        assert_eq!((found(tool("db__*")).len(), found(tool("git__*")).len()), (5, 0));
    }

    #[test]
    fn who_follows_sees_each_once_and_is_told_what_was_missed() {
        let mut shelf = Shelf::new(3, MUCH);
        let following = |shelf: &Shelf, number, n| {
            let after = Some(number);
            shelf.find(&Query { after, ..last(n) }, MUCH)
        };
        (1..=2).for_each(|call| shelf.put(sample(call, "deny")));
        let found = following(&shelf, 0, 1);
        assert_eq!((calls(&found), found.number, found.missed), (vec![1], 1, false));
        let found = following(&shelf, found.number, 10);
        assert_eq!((calls(&found), found.number, found.missed), (vec![2], 2, false));
        (3..=6).for_each(|call| shelf.put(sample(call, "deny")));
        let found = following(&shelf, found.number, 10);
        assert_eq!((calls(&found), found.number, found.missed), (vec![4, 5, 6], 6, true));
        let found = following(&shelf, found.number, 10);
        assert_eq!((calls(&found), found.missed), (vec![], false));
    }
}
