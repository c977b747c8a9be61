//! Stubs for builds that import WASI though they need nothing of it, such as those of Rust's `wasm32-wasip2`. Granted by
//! `wasi = true`.
//!
//! There is the time, there is randomness, and what is printed goes to the router's log. The environment is empty, there
//! are no arguments and no folders; whoever ends the process, waits, or opens something ends the hook with a fault. Sockets
//! and HTTP of WASI are not among them: a component that imports those is refused.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime::{StoreContextMut, format_err};

use super::host::{State, whole};

/// The packages of WASI that there are stubs for.
const PACKAGES: [&str; 5] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
];
/// Their track.
const TRACK: &str = "0.2.";

/// Random bytes in one call at most.
const MOST_RANDOM: u64 = 4096;
/// Bytes of one write at most, as WASI lets a host say.
const MOST_WRITTEN: u64 = 4096;
/// Bytes that wait for the end of their line at most.
const LINE: usize = 1024;

/// Marks handles to standard output (1) and standard error (2).
enum Output {}
/// Marks handles to standard input, which has ended.
enum Input {}
/// Marks handles to what can be waited for: a stream, which is always ready.
enum Ready {}
/// Marks handles that no stub gives out.
enum Never {}
/// Those resources.
const NEVER: [&str; 5] = [
    "descriptor",
    "directory-entry-stream",
    "error",
    "terminal-input",
    "terminal-output",
];

/// What a guest has printed of a line that goes on.
#[derive(Debug, Default)]
pub(super) struct Printed([Vec<u8>; 2]);

#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[expect(dead_code, reason = "a log takes everything; the case is part of the type")]
    #[component(name = "last-operation-failed")]
    Failed(Resource<Never>),
    #[component(name = "closed")]
    Closed,
}

/// Whether there are stubs for an import.
pub(super) fn has_stub(import: &str) -> bool {
    let version = import.split_once('@').map(|(_, version)| version);
    PACKAGES.iter().any(|package| import.starts_with(package)) && version.is_some_and(|v| v.starts_with(TRACK))
}

/// A linker with stubs for what this component imports of WASI, and with nothing else that `linker` has not.
pub(super) fn with_stubs(linker: &Linker<State>, component: &Component) -> wasmtime::Result<Linker<State>> {
    let (mut linker, engine) = (linker.clone(), linker.engine().clone());
    linker.allow_shadowing(true);
    for (import, item) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(wanted) = item.ty else {
            continue;
        };
        if !has_stub(import) {
            continue;
        }
        let mut instance = linker.instance(import)?;
        // All of it ends the hook, but for what follows.
        for (name, item) in wanted.exports(&engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    let what = format!("{import} {name}");
                    instance.func_new(name, move |_, _, _, _| Err(format_err!("{what} has no stub")))?;
                }
                ComponentItem::Resource(_) => never(&mut instance, name)?,
                _ => {}
            }
        }
        resources(&mut instance)?;
        define(&mut instance, import.split('@').next().unwrap_or_default())?;
    }
    Ok(linker)
}

fn never(to: &mut LinkerInstance<'_, State>, name: &str) -> wasmtime::Result<()> {
    to.resource(name, ResourceType::host::<Never>(), |_, _| Ok(()))
}

type Caller<'a> = StoreContextMut<'a, State>;

/// The resources of all interfaces in each of them: those that use another one's must have the very same.
fn resources(to: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    to.resource("input-stream", ResourceType::host::<Input>(), |_, _| Ok(()))?;
    to.resource("output-stream", ResourceType::host::<Output>(), |_, _| Ok(()))?;
    to.resource("pollable", ResourceType::host::<Ready>(), |_, _| Ok(()))?;
    for name in NEVER {
        never(to, name)?;
    }
    Ok(())
}

fn define(to: &mut LinkerInstance<'_, State>, path: &str) -> wasmtime::Result<()> {
    match path {
        "wasi:cli/environment" => {
            to.func_wrap("get-environment", |_: Caller<'_>, (): ()| {
                Ok((Vec::<(String, String)>::new(),))
            })?;
            to.func_wrap("get-arguments", |_: Caller<'_>, (): ()| Ok((Vec::<String>::new(),)))?;
            to.func_wrap("initial-cwd", |_: Caller<'_>, (): ()| Ok((None::<String>,)))
        }
        "wasi:cli/exit" => to.func_wrap(
            "exit",
            |_: Caller<'_>, (_,): (Result<(), ()>,)| -> wasmtime::Result<()> {
                Err(format_err!("it ended its process, which it does not have"))
            },
        ),
        "wasi:cli/stdin" => to.func_wrap("get-stdin", |_: Caller<'_>, (): ()| {
            Ok((Resource::<Input>::new_own(0),))
        }),
        "wasi:cli/stdout" => to.func_wrap("get-stdout", |_: Caller<'_>, (): ()| {
            Ok((Resource::<Output>::new_own(1),))
        }),
        "wasi:cli/stderr" => to.func_wrap("get-stderr", |_: Caller<'_>, (): ()| {
            Ok((Resource::<Output>::new_own(2),))
        }),
        "wasi:cli/terminal-stdin" => no_terminal(to, "get-terminal-stdin"),
        "wasi:cli/terminal-stdout" => no_terminal(to, "get-terminal-stdout"),
        "wasi:cli/terminal-stderr" => no_terminal(to, "get-terminal-stderr"),
        "wasi:clocks/wall-clock" => {
            to.func_wrap("now", |store: Caller<'_>, (): ()| {
                let now = store.data().powers.now();
                let (seconds, nanoseconds) = (now.as_secs(), now.subsec_nanos());
                Ok((Datetime { seconds, nanoseconds },))
            })?;
            to.func_wrap("resolution", |_: Caller<'_>, (): ()| {
                let (seconds, nanoseconds) = (0, 1);
                Ok((Datetime { seconds, nanoseconds },))
            })
        }
        "wasi:clocks/monotonic-clock" => {
            to.func_wrap("now", |store: Caller<'_>, (): ()| {
                Ok((whole(store.data().powers.uptime().as_nanos()),))
            })?;
            to.func_wrap("resolution", |_: Caller<'_>, (): ()| Ok((1_u64,)))
        }
        "wasi:random/random" => {
            to.func_wrap("get-random-bytes", |_: Caller<'_>, (n,): (u64,)| {
                Ok((random_bytes(n)?,))
            })?;
            to.func_wrap("get-random-u64", |_: Caller<'_>, (): ()| Ok((random()?,)))
        }
        "wasi:random/insecure" => {
            to.func_wrap("get-insecure-random-bytes", |_: Caller<'_>, (n,): (u64,)| {
                Ok((random_bytes(n)?,))
            })?;
            to.func_wrap("get-insecure-random-u64", |_: Caller<'_>, (): ()| Ok((random()?,)))
        }
        "wasi:random/insecure-seed" => {
            to.func_wrap("insecure-seed", |_: Caller<'_>, (): ()| Ok(((random()?, random()?),)))
        }
        "wasi:io/poll" => {
            to.func_wrap("[method]pollable.ready", |_: Caller<'_>, _: (Resource<Ready>,)| {
                Ok((true,))
            })?;
            to.func_wrap("[method]pollable.block", |_: Caller<'_>, _: (Resource<Ready>,)| Ok(()))?;
            to.func_wrap("poll", |_: Caller<'_>, (all,): (Vec<Resource<Ready>>,)| {
                Ok(((0_u32..).take(all.len()).collect::<Vec<u32>>(),))
            })
        }
        "wasi:io/streams" => streams(to),
        "wasi:filesystem/preopens" => to.func_wrap("get-directories", |_: Caller<'_>, (): ()| {
            Ok((Vec::<(Resource<Never>, String)>::new(),))
        }),
        _ => Ok(()),
    }
}

fn no_terminal(to: &mut LinkerInstance<'_, State>, name: &str) -> wasmtime::Result<()> {
    to.func_wrap(name, |_: Caller<'_>, (): ()| Ok((None::<Resource<Never>>,)))
}

fn streams(to: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Read = Result<Vec<u8>, StreamError>;
    type Done = Result<(), StreamError>;
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        to.func_wrap(name, |_: Caller<'_>, _: (Resource<Input>, u64)| {
            Ok((Read::Err(StreamError::Closed),))
        })?;
    }
    to.func_wrap(
        "[method]output-stream.check-write",
        |_: Caller<'_>, _: (Resource<Output>,)| Ok((Ok::<u64, StreamError>(MOST_WRITTEN),)),
    )?;
    for name in [
        "[method]output-stream.write",
        "[method]output-stream.blocking-write-and-flush",
    ] {
        to.func_wrap(
            name,
            |mut store: Caller<'_>, (to, bytes): (Resource<Output>, Vec<u8>)| {
                if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_WRITTEN) {
                    return Err(format_err!("it wrote more than {MOST_WRITTEN} bytes at once"));
                }
                print(store.data_mut(), to.rep(), &bytes);
                Ok((Done::Ok(()),))
            },
        )?;
    }
    to.func_wrap(
        "[method]output-stream.subscribe",
        |_: Caller<'_>, _: (Resource<Output>,)| Ok((Resource::<Ready>::new_own(0),)),
    )?;
    to.func_wrap(
        "[method]input-stream.subscribe",
        |_: Caller<'_>, _: (Resource<Input>,)| Ok((Resource::<Ready>::new_own(0),)),
    )?;
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        to.func_wrap(name, |_: Caller<'_>, _: (Resource<Output>,)| Ok((Done::Ok(()),)))?;
    }
    Ok(())
}

/// Writes whole lines to the log, under the name of the plugin and within its bounds.
fn print(state: &mut State, to: u32, bytes: &[u8]) {
    let (at, level) = if to == 2 { (1, "warn") } else { (0, "info") };
    for byte in bytes {
        let line = &mut state.printed.0[at];
        if *byte != b'\n' {
            line.push(*byte);
        }
        if (*byte == b'\n' || line.len() >= LINE) && !line.is_empty() {
            let line = std::mem::take(line);
            state.powers.say(level, &String::from_utf8_lossy(&line));
        }
    }
}

fn random() -> wasmtime::Result<u64> {
    getrandom::u64().map_err(|error| format_err!("no randomness: {error}"))
}

fn random_bytes(length: u64) -> wasmtime::Result<Vec<u8>> {
    if length > MOST_RANDOM {
        return Err(format_err!("wanted {length} random bytes, {MOST_RANDOM} are allowed"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    getrandom::fill(&mut bytes).map_err(|error| format_err!("no randomness: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_are_stubs_for() {
        for import in [
            "wasi:cli/stdout@0.2.6",
            "wasi:io/poll@0.2.0",
            "wasi:filesystem/types@0.2.10",
        ] {
            assert!(has_stub(import), "{import}");
        }
        for import in [
            "wasi:sockets/tcp@0.2.6",
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:cli/stdout@0.3.0",
            "wasi:cli/stdout",
            "pointsman:policy/log@0.1.1",
        ] {
            assert!(!has_stub(import), "{import}");
        }
    }
}
