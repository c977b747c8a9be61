//! Callers in any order.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Callers that come, go, give up, return and are refused in any order: in the end the gate is empty and the
    /// next call passes.
    #[test]
    fn no_place_is_lost(ops in proptest::collection::vec((0_u8..11, 0_u64..3, 0_usize..16), 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let gate = open(2);
            let (mut held, mut permits) = (Vec::<Held>::new(), Vec::<Permit>::new());
            for (op, n, at) in ops {
                let some_held = (!held.is_empty()).then(|| at % held.len().max(1));
                let some_permit = (!permits.is_empty()).then(|| at % permits.len().max(1));
                match (op, some_held, some_permit) {
                    (0..=2, ..) => match gate.enter(&agent(n), at) {
                        Ok(Entry::Pass(permit)) => permits.push(permit),
                        Ok(Entry::Hold(one)) => held.push(one),
                        Err(_) => {}
                    },
                    (3, Some(at), _) => {
                        let mut one = held.remove(at);
                        match turn(&mut one) {
                            Some(Ok(())) => permits.push(one.go()),
                            Some(Err(_)) => {}
                            None => held.push(one),
                        }
                    }
                    (4, Some(at), _) => drop(held.remove(at)),
                    (5, Some(at), _) => held[at].willing(),
                    (6, _, Some(at)) => drop(permits.remove(at)),
                    (7, _, Some(at)) => permits[at].entered(),
                    (8, _, Some(at)) => held.extend(permits.remove(at).hold_again(n == 0)),
                    (9, _, Some(at)) => {
                        let one = &permits[at];
                        let place = one.place.as_ref().unwrap();
                        gate.targets_changed(at % 3, &[(place.agent.clone(), place.ticket, place.bytes)]);
                        if n == 0 {
                            permits.remove(at);
                        }
                    }
                    (10, ..) => match n {
                        0 => gate.refuse(&unavailable()),
                        1 => gate.fail_held(&unavailable()),
                        _ => gate.targets_changed(at % 4, &[]),
                    },
                    _ => {}
                }
                let (_, _, used) = gate.load();
                assert!(used <= permits.len() + held.len());
            }
            drop((held, permits));
            assert!(idle(&gate));
            assert!(gate.lock().waiting.is_empty());
            gate.targets_changed(1, &[]);
            drop(pass(&gate, 1));
        });
    }
}
