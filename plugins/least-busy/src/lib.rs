//! The default select policy: the target with the fewest calls in flight; equals take turns.

wit_bindgen::generate!({ path: "../../wit", world: "select-plugin" });

use exports::pointsman::policy::{lifecycle, select};
use pointsman::policy::types::{Call, Selection, Targets};

struct LeastBusy;

impl lifecycle::Guest for LeastBusy {
    fn init(config: String) -> Result<(), String> {
        // It has nothing to configure, so that anything but `{}` is a mistake.
        let empty = config
            .bytes()
            .filter(|b| !b.is_ascii_whitespace())
            .eq(b"{}".iter().copied());
        if empty {
            Ok(())
        } else {
            Err("least-busy takes no configuration".into())
        }
    }

    fn shutdown() {}
}

impl select::Guest for LeastBusy {
    fn select(call: &Call, targets: &Targets) -> Result<Selection, String> {
        let loads = targets.loads();
        let Some(least) = loads.iter().min() else {
            return Ok(Selection::Any);
        };
        let equals: Vec<u32> = (0u32..)
            .zip(&loads)
            .filter(|(_, load)| *load == least)
            .map(|(position, _)| position)
            .collect();
        let turn = match equals.len() {
            1 => 0,
            // Call ids count up, so that they take turns without a state that instances would have to share.
            n => (call.id() % n as u64) as usize,
        };
        Ok(Selection::Pick(equals[turn]))
    }
}

export!(LeastBusy);
