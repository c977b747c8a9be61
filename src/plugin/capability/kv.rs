//! `kv`: a store for each namespace, shared by all instances of the plugins that have it, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::bindings::pointsman::policy::kv;
use super::super::host::State;
use super::{Capability, lacking};
use crate::config::KvGrant;

/// Bytes of a key at most.
const MAX_KEY: usize = 256;
/// What a value counts beside its bytes and those of its key: about what the table needs for it.
const OVERHEAD: usize = 64;
/// The longest time to live: a value without one.
const FOR_GOOD: Duration = Duration::from_hours(24 * 365 * 100);

/// All stores, by namespace. They live as long as the router.
#[derive(Default)]
pub(super) struct Stores(Mutex<HashMap<String, Arc<Store>>>);

impl Stores {
    pub(super) fn open(&self, namespace: &str) -> Arc<Store> {
        let mut stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(stores.entry(namespace.to_owned()).or_default())
    }

    /// Whoever opens one from now on finds it empty.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// One store.
#[derive(Default)]
pub(super) struct Store(Mutex<Table>);

#[derive(Default)]
struct Table {
    values: HashMap<String, Value>,
    bytes: usize,
}

struct Value {
    bytes: Vec<u8>,
    until: Option<Instant>,
}

impl Value {
    fn is_there(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + OVERHEAD
}

impl Table {
    fn get(&self, key: &str, now: Instant) -> Option<&Value> {
        self.values.get(key).filter(|value| value.is_there(now))
    }

    fn remove(&mut self, key: &str) -> Option<Value> {
        let value = self.values.remove(key)?;
        self.bytes -= cost(key, &value.bytes);
        Some(value)
    }

    /// Puts a value, if there is room for it within `grant`.
    fn put(&mut self, key: String, value: Value, grant: &KvGrant, now: Instant) -> Result<(), String> {
        if key.len() > MAX_KEY {
            return Err(format!("the key has {} bytes, {MAX_KEY} are allowed", key.len()));
        }
        let new = cost(&key, &value.bytes);
        if new > grant.bytes {
            return Err(format!("no room: {} bytes are allowed in all", grant.bytes));
        }
        if !self.has_room(&key, new, grant) {
            let expired: Vec<String> = self
                .values
                .iter()
                .filter(|(_, v)| !v.is_there(now))
                .map(|(k, _)| k.clone())
                .collect();
            for key in expired {
                self.remove(&key);
            }
            if !self.has_room(&key, new, grant) {
                return Err(format!(
                    "no room: {} keys and {} bytes are allowed",
                    grant.keys, grant.bytes
                ));
            }
        }
        self.remove(&key);
        self.bytes += new;
        self.values.insert(key, value);
        Ok(())
    }

    fn has_room(&self, key: &str, new: usize, grant: &KvGrant) -> bool {
        let old = self.values.get(key).map(|value| cost(key, &value.bytes));
        let keys = self.values.len() + usize::from(old.is_none());
        keys <= grant.keys && self.bytes - old.unwrap_or(0) + new <= grant.bytes
    }
}

impl Store {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &str, now: Instant) -> Option<Vec<u8>> {
        self.table().get(key, now).map(|value| value.bytes.clone())
    }

    fn remove(&self, key: &str, now: Instant) -> bool {
        self.table().remove(key).is_some_and(|value| value.is_there(now))
    }

    fn set(&self, key: String, bytes: Vec<u8>, ttl: Option<u64>, grant: &KvGrant, now: Instant) -> Result<(), String> {
        let until = until(ttl, now);
        self.table().put(key, Value { bytes, until }, grant, now)
    }

    fn compare_and_set(
        &self,
        key: String,
        known: Option<&[u8]>,
        (bytes, ttl): (Vec<u8>, Option<u64>),
        grant: &KvGrant,
        now: Instant,
    ) -> Result<bool, String> {
        let mut table = self.table();
        if table.get(&key, now).map(|value| &*value.bytes) != known {
            return Ok(false);
        }
        let until = until(ttl, now);
        table.put(key, Value { bytes, until }, grant, now).map(|()| true)
    }

    fn increment(&self, key: String, by: i64, ttl: Option<u64>, grant: &KvGrant, now: Instant) -> Result<i64, String> {
        let mut table = self.table();
        let (number, until) = match table.get(&key, now) {
            None => (0, until(ttl, now)),
            Some(value) => {
                let number = std::str::from_utf8(&value.bytes)
                    .ok()
                    .and_then(|text| text.parse::<i64>().ok());
                (number.ok_or("the value is no number")?, value.until)
            }
        };
        let sum = number.checked_add(by).ok_or("the sum has more than 64 bits")?;
        let bytes = sum.to_string().into_bytes();
        table.put(key, Value { bytes, until }, grant, now).map(|()| sum)
    }
}

fn until(ttl: Option<u64>, now: Instant) -> Option<Instant> {
    ttl.map(|ms| now + Duration::from_millis(ms).min(FOR_GOOD))
}

impl State {
    fn store(&self) -> wasmtime::Result<&(Arc<Store>, KvGrant)> {
        match &self.powers.kv {
            Some(store) => Ok(store),
            None => lacking(Capability::Kv),
        }
    }
}

impl kv::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.store()?.0.get(&key, self.powers.instant()))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u64>) -> wasmtime::Result<Result<(), String>> {
        let (store, grant) = self.store()?;
        Ok(store.set(key, value, ttl, grant, self.powers.instant()))
    }

    fn remove(&mut self, key: String) -> wasmtime::Result<bool> {
        Ok(self.store()?.0.remove(&key, self.powers.instant()))
    }

    fn compare_and_set(
        &mut self,
        key: String,
        known: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl: Option<u64>,
    ) -> wasmtime::Result<Result<bool, String>> {
        let (store, grant) = self.store()?;
        Ok(store.compare_and_set(key, known.as_deref(), (value, ttl), grant, self.powers.instant()))
    }

    fn increment(&mut self, key: String, by: i64, ttl: Option<u64>) -> wasmtime::Result<Result<i64, String>> {
        let (store, grant) = self.store()?;
        Ok(store.increment(key, by, ttl, grant, self.powers.instant()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(keys: usize, bytes: usize) -> KvGrant {
        KvGrant {
            namespace: None,
            keys,
            bytes,
        }
    }

    fn key(n: usize) -> String {
        format!("k{n}")
    }

    #[test]
    fn values_stay_until_they_expire() {
        let (store, grant, now) = (Store::default(), grant(9, 9999), Instant::now());
        let later = |ms| now + Duration::from_millis(ms);
        store.set(key(1), b"a".to_vec(), None, &grant, now).unwrap();
        store.set(key(2), b"b".to_vec(), Some(10), &grant, now).unwrap();
        assert_eq!(store.get("k2", later(9)).as_deref(), Some(&b"b"[..]));
        assert_eq!(store.get("k2", later(10)), None);
        assert!(!store.remove("k2", later(10)) && store.remove("k1", later(10)));
        assert_eq!(store.table().bytes, 0);
        store.set(key(3), Vec::new(), Some(u64::MAX), &grant, now).unwrap();
        assert!(store.get("k3", later(1_000_000)).is_some());
    }

    #[test]
    fn what_has_no_room_is_refused_and_throws_nothing_out() {
        let (store, now) = (Store::default(), Instant::now());
        let two = grant(2, 9999);
        for n in 0..2 {
            store.set(key(n), vec![0], Some(5), &two, now).unwrap();
        }
        assert!(store.set(key(2), vec![0], None, &two, now).is_err());
        store.set(key(1), vec![1], None, &two, now).unwrap();
        // What has expired makes room.
        let later = now + Duration::from_millis(5);
        store.set(key(2), vec![0], None, &two, later).unwrap();
        assert_eq!(store.get("k1", later), Some(vec![1]));
        let tight = grant(9, OVERHEAD * 3);
        assert!(store.set(key(4), vec![0; OVERHEAD], None, &tight, later).is_err());
        assert!(
            store
                .set(key(4), vec![0; 9999], None, &tight, later)
                .unwrap_err()
                .contains("in all")
        );
        assert!(
            store
                .set("k".repeat(257), vec![], None, &two, later)
                .unwrap_err()
                .contains("256")
        );
        assert_eq!(store.table().bytes, 2 * (OVERHEAD + 3));
    }

    #[test]
    fn only_what_is_known_is_replaced() {
        let (store, grant, now) = (Store::default(), grant(9, 9999), Instant::now());
        let swap = |known: Option<&[u8]>, value: &[u8]| {
            store
                .compare_and_set(key(1), known, (value.to_vec(), None), &grant, now)
                .unwrap()
        };
        assert!(!swap(Some(b"a"), b"b"));
        assert!(swap(None, b"a") && !swap(None, b"b") && swap(Some(b"a"), b"b"));
        assert_eq!(store.get("k1", now).as_deref(), Some(&b"b"[..]));
    }

    #[test]
    fn numbers_add_up_and_keep_their_date() {
        let (store, grant, now) = (Store::default(), grant(9, 9999), Instant::now());
        let add = |by, at| store.increment(key(1), by, Some(10), &grant, now + Duration::from_millis(at));
        assert_eq!((add(2, 0), add(-5, 9)), (Ok(2), Ok(-3)));
        assert_eq!(add(1, 10), Ok(1), "it has expired, whatever was added since");
        assert!(add(i64::MAX, 10).unwrap_err().contains("64 bits"));
        store.set(key(1), b"x".to_vec(), None, &grant, now).unwrap();
        assert!(add(1, 0).unwrap_err().contains("no number"));
    }
}
