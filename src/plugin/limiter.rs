//! What one instance may hold: bytes of linear memory over all its memories, and elements of tables.

use wasmtime::{ResourceLimiter, bail};

/// Table elements of one instance at most: eight bytes each.
const ELEMENTS: usize = 100_000;

/// Counts what an instance holds, and refuses more than it may.
pub(super) struct Limiter {
    memory: usize,
    held: usize,
    elements: usize,
}

impl Limiter {
    /// Allows `memory` bytes.
    pub(super) fn new(memory: usize) -> Self {
        Self {
            memory,
            held: 0,
            elements: 0,
        }
    }

    /// Bytes of linear memory held now; they never become fewer.
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let held = self.held.saturating_add(desired.saturating_sub(current));
        if held > self.memory {
            // A trap, not a polite refusal: allocators only turn that into a panic without a reason.
            bail!("wanted {held} bytes of memory, {} are allowed", self.memory);
        }
        self.held = held;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired.saturating_sub(current));
        if elements > ELEMENTS {
            bail!("wanted {elements} table elements, {ELEMENTS} are allowed");
        }
        self.elements = elements;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_share_one_limit() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(limiter.memory_growing(40, 41, None).is_err());
        assert!(limiter.memory_growing(40, 40, None).unwrap());
    }

    #[test]
    fn tables_are_bounded() {
        let mut limiter = Limiter::new(0);
        assert!(limiter.table_growing(0, ELEMENTS, None).unwrap());
        assert!(limiter.table_growing(ELEMENTS, ELEMENTS + 1, None).is_err());
    }
}
