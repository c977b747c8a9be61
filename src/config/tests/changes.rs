//! What `diff` says about every kind of change.

use std::time::Duration;

use super::super::{Changes, Config, EraChoice, diff};
use super::toml;
use crate::policy::Hook;

const BASE: &str = r#"
[backends.a]
command = "a"
[backends.b]
command = "b"
"#;

type Edit = fn(&mut Config);
type Expect = fn(&mut Changes);

fn a() -> Vec<String> {
    vec!["a".to_owned()]
}

#[test]
fn every_change_is_sorted_by_what_it_takes() {
    let table: &[(&str, Edit, Expect)] = &[
        ("nothing", |_| {}, |_| {}),
        (
            "command",
            |c| backend(c).command.push('x'),
            |e| e.backends_respawn = a(),
        ),
        (
            "args",
            |c| backend(c).args.push("x".into()),
            |e| e.backends_respawn = a(),
        ),
        (
            "env",
            |c| drop(backend(c).env.insert("X".into(), "1".into())),
            |e| e.backends_respawn = a(),
        ),
        (
            "cwd",
            |c| backend(c).cwd = Some("/".into()),
            |e| e.backends_respawn = a(),
        ),
        (
            "era",
            |c| backend(c).era = EraChoice::Modern,
            |e| e.backends_respawn = a(),
        ),
        ("trusted", |c| backend(c).trusted = true, |e| e.backends_retuned = a()),
        (
            "gate",
            |c| backend(c).gate.wait = Duration::ZERO,
            |e| e.backends_retuned = a(),
        ),
        (
            "backoff",
            |c| backend(c).backoff.min = Duration::ZERO,
            |e| e.backends_retuned = a(),
        ),
        (
            "stop",
            |c| backend(c).stop.drain = Duration::ZERO,
            |e| e.backends_retuned = a(),
        ),
        ("replicas", |c| backend(c).replicas = 2, |e| e.replicas_changed = a()),
        (
            "replicas and a limit",
            |c| (backend(c).replicas, backend(c).max_in_flight) = (2, 1),
            |e| (e.replicas_changed, e.backends_retuned) = (a(), a()),
        ),
        (
            "command, a limit and replicas",
            |c| {
                backend(c).command.push('x');
                (backend(c).replicas, backend(c).max_in_flight) = (2, 1);
            },
            |e| (e.replicas_changed, e.backends_respawn) = (a(), a()),
        ),
        (
            "removed",
            |c| drop(c.backends.remove("a")),
            |e| e.backends_removed = a(),
        ),
        (
            "renamed",
            |c| {
                let moved = c.backends.remove("a").unwrap();
                c.backends.insert("z".into(), moved);
            },
            |e| (e.backends_removed, e.backends_added) = (a(), vec!["z".into()]),
        ),
        (
            "endpoint",
            |c| drop(c.endpoints.insert("e".into(), Default::default())),
            |e| e.endpoints_changed = vec!["e".into()],
        ),
        (
            "plugin",
            |c| c.plugins.get_mut("least-busy").unwrap().reuse = 1,
            |e| e.plugins_changed = vec!["least-busy".into()],
        ),
        (
            "pipeline",
            |c| c.pipeline.set(Hook::Select, Vec::new()),
            |e| e.pipeline_changed = true,
        ),
        ("policies", |c| c.policies.breaker = 1, |e| e.policies_changed = true),
        ("sessions", |c| c.sessions.capacity = 1, |e| e.sessions_changed = true),
        ("listen", |c| c.listen.address.set_port(1), |e| e.listen_changed = true),
        ("router", |c| c.router.workers = 1, |e| e.router_changed = true),
    ];
    let old = toml(BASE).config;
    for (what, edit, expect) in table {
        let mut new = old.clone();
        edit(&mut new);
        let mut expected = Changes::default();
        expect(&mut expected);
        let changes = diff(&old, &new);
        assert_eq!(changes, expected, "{what}");
        assert_eq!(changes.is_empty(), *what == "nothing", "{what}");
        let restart = matches!(*what, "listen" | "router" | "sessions" | "policies");
        assert_eq!(changes.needs_restart().len(), usize::from(restart), "{what}");
    }
}

fn backend(config: &mut Config) -> &mut super::super::Backend {
    config.backends.get_mut("a").unwrap()
}
