//! What settings mean together: names that must exist, and bounds that must agree.

use std::time::Duration;

use super::Place::Urls;
use super::doc::{Notes, Place};
use super::problem::did_you_mean;
use super::remote::leads_back;
use super::values::show_duration;
use super::{
    Backend, Config, DEFAULT_ENDPOINT, Endpoint, OPEN, OwnTools, Plugin, Remote, defaults, nameless, nameless_words,
};
use crate::wire::discovery::is_here;

/// Notes what does not fit together in a configuration whose values are each valid.
pub(super) fn check(config: &Config, notes: &Notes) {
    for (name, backend) in &config.backends {
        let table = format!("backends.{name}");
        bounds(notes, &table, backend);
        if let Some(Remote { place: Urls(urls), .. }) = &backend.remote
            && let Some(url) = urls.iter().find(|url| leads_back(url, config.listen.address))
        {
            let hint = Some("its tools would be its own tools, without end".to_owned());
            notes.fault(
                place(notes, &table),
                format!("`{url}` of [{table}] is this router"),
                hint,
            );
        }
    }
    for (name, backend) in &config.backends {
        if let Some(remote) = &backend.remote {
            in_the_open(notes, &format!("backends.{name}"), remote);
        }
    }
    for (name, plugin) in &config.plugins {
        times(notes, &format!("plugins.{name}"), plugin);
    }
    auth(notes, config);
    for (name, one) in &config.endpoints {
        endpoint(notes, config, name, one);
    }
    // With a file unread, what it would have defined is not known.
    if notes.complete() {
        pipelines(notes, config);
        if config.backends.is_empty() {
            notes.warn(place(notes, ""), "there are no backends", None);
        }
    }
}

/// Warns of credentials that whoever is on the way can read.
fn in_the_open(notes: &Notes, table: &str, remote: &Remote) {
    let what = match (&remote.oauth, remote.headers.is_empty()) {
        (Some(_), _) => "oauth",
        (None, false) => "headers",
        (None, true) => return,
    };
    let Urls(urls) = &remote.place else { return };
    let open = |url: &&String| url.to_ascii_lowercase().starts_with("http://") && !is_here(url);
    if urls.iter().any(|url| open(&url)) {
        let message = format!("`{what}` of [{table}] goes over plain HTTP, where others can read it");
        let hint = Some("give the URL as https://".to_owned());
        notes.warn(place(notes, &format!("{table}.{what}")), message, hint);
    }
}

fn place(notes: &Notes, path: &str) -> Place {
    let found = notes.near(path).or_else(|| notes.exact(""));
    found.unwrap_or_else(|| Place::whole(std::path::Path::new("")))
}

/// Notes a problem where `less` is more than `more`, at whichever of the two was given.
fn ordered(notes: &Notes, table: &str, (less, low): (&str, Duration), (more, high): (&str, Duration)) {
    if low > high {
        let given = |key: &&str| notes.exact(&format!("{table}.{key}")).is_some();
        let given = [less, more].into_iter().find(given);
        // What the defaults for all backends got wrong is told once, not for every backend.
        let general = table.strip_prefix("backends.").and_then(|tail| tail.split_once('.'));
        let table = match (given, general) {
            (None, Some((_, inside))) => format!("backend-defaults.{inside}"),
            _ => table.to_owned(),
        };
        let path = format!("{table}.{}", given.unwrap_or(more));
        let (low, high) = (show_duration(low), show_duration(high));
        let message = format!("`{less}` ({low}) is longer than `{more}` ({high}) in [{table}]");
        notes.fault(place(notes, &path), message, None);
    }
}

fn bounds(notes: &Notes, table: &str, backend: &Backend) {
    let backoff = &backend.backoff;
    let inside = format!("{table}.backoff");
    ordered(notes, &inside, ("min", backoff.min), ("base", backoff.base));
    ordered(notes, &inside, ("base", backoff.base), ("max", backoff.max));
    let crash_loop = &backend.crash_loop;
    let inside = format!("{table}.crash-loop");
    ordered(
        notes,
        &inside,
        ("probe", crash_loop.probe),
        ("probe-max", crash_loop.probe_max),
    );
}

fn times(notes: &Notes, table: &str, plugin: &Plugin) {
    ordered(notes, table, ("cpu", plugin.cpu), ("wall", plugin.wall));
}

fn endpoint(notes: &Notes, config: &Config, name: &str, one: &Endpoint) {
    let path = format!("endpoints.{name}");
    if config.backends.contains_key(name) {
        let hint = notes
            .exact(&format!("backends.{name}"))
            .map(|place| format!("the backend is at {}", place.short()));
        notes.fault(
            place(notes, &path),
            format!("`{name}` names an endpoint and a backend"),
            hint,
        );
    }
    if one.own_tools != OwnTools::Off && config.backends.contains_key("pointsman") {
        let at = place(notes, &format!("{path}.own-tools"));
        let message = "the tools of the backend `pointsman` would have names of the router's own".to_owned();
        notes.fault(at, message, Some("rename the backend".to_owned()));
    }
    let known: Vec<&str> = config.backends.keys().map(String::as_str).collect();
    for (position, backend) in one.backends.iter().flatten().enumerate() {
        if notes.complete() && !config.backends.contains_key(backend) {
            let message = format!("there is no backend `{backend}` for [{path}]");
            let at = place(notes, &format!("{path}.backends.{position}"));
            notes.fault(at, message, did_you_mean(backend, &known));
        }
    }
}

/// Who is asked for a token must be asked by something that is there.
fn auth(notes: &Notes, config: &Config) {
    let known: Vec<&str> = config.auth.keys().map(String::as_str).collect();
    let listen = ("listen".to_owned(), &config.listen.auth);
    let endpoints = config.endpoints.iter();
    let endpoints = endpoints.map(|(name, one)| (format!("endpoints.{name}"), &one.auth));
    for (table, named) in std::iter::once(listen).chain(endpoints) {
        if let Some(name) = named
            && name != OPEN
            && !config.auth.contains_key(name)
        {
            let message = format!("there is no [auth.{name}] for [{table}]");
            notes.fault(
                place(notes, &format!("{table}.auth")),
                message,
                did_you_mean(name, &known),
            );
        }
    }
    for (name, one) in &config.endpoints {
        let (path, open) = (format!("endpoints.{name}"), config.asks("").0.is_none());
        let endpoint = if name == DEFAULT_ENDPOINT { "" } else { name };
        if !one.scopes.is_empty() && config.asks(endpoint).0.is_none() {
            let message = format!("`scopes` of [{path}] are not asked for: it has no `auth`");
            notes.fault(place(notes, &format!("{path}.scopes")), message, None);
        } else if open && config.asks(endpoint).0.is_some() {
            let message = format!("[{path}] asks for a token, and `/mcp` does not");
            let hint = "set `auth` in [listen], and `auth = \"none\"` where everybody may".to_owned();
            notes.warn(place(notes, &format!("{path}.auth")), message, Some(hint));
        }
    }
    for name in nameless(config) {
        let (message, hint) = nameless_words(name, config);
        notes.fault(place(notes, &format!("auth.{name}")), message, Some(hint));
    }
    for name in config.auth.keys() {
        let used = std::iter::once(&config.listen.auth).chain(config.endpoints.values().map(|one| &one.auth));
        if !used.flatten().any(|used| used == name) {
            let hint = Some("name it as `auth` in [listen], or in an endpoint".to_owned());
            let message = format!("[auth.{name}] is asked nowhere");
            notes.warn(place(notes, &format!("auth.{name}")), message, hint);
        }
    }
}

fn pipelines(notes: &Notes, config: &Config) {
    let of_endpoints = config.endpoints.iter();
    let of_endpoints = of_endpoints.map(|(name, one)| (format!("endpoints.{name}.pipeline"), &one.pipeline));
    let all: Vec<_> = std::iter::once(("pipeline".to_owned(), &config.pipeline))
        .chain(of_endpoints)
        .collect();
    let mut known: Vec<&str> = config.plugins.keys().map(String::as_str).collect();
    known.extend([defaults::ROUTE, defaults::SELECT, defaults::NAMES]);
    known.sort_unstable();
    known.dedup();
    let named = all
        .iter()
        .flat_map(|(table, pipeline)| pipeline.iter().map(move |(hook, names)| (table, hook, names)));
    for (table, key, names) in named {
        for (position, name) in names.iter().enumerate() {
            if !config.plugins.contains_key(name) {
                let message = format!("there is no plugin `{name}` for `{key}` in [{table}]");
                let at = place(notes, &format!("{table}.{key}.{position}"));
                let hint = if defaults::EMBEDDED.contains(&name.as_str()) {
                    let add = format!("it is built in: add [plugins.{name}] with embedded = \"{name}\"");
                    Some(add)
                } else {
                    did_you_mean(name, &known)
                };
                notes.fault(at, message, hint);
            }
        }
    }
    for name in config.plugins.keys() {
        if !all.iter().any(|(_, pipeline)| pipeline.plugins().contains(&**name)) {
            let message = format!("the plugin `{name}` is never asked");
            let hint = Some("name it in a list of [pipeline]".to_owned());
            notes.warn(place(notes, &format!("plugins.{name}")), message, hint);
        }
    }
}
