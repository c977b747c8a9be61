//! The default route policy: the backend that the agent names, else those that offer the tool.
//!
//! An agent names a backend by the path, by a header, or in `_meta`; a legacy agent may also have said it once,
//! in its `initialize`. The first of these that is there counts.

use std::sync::OnceLock;

wit_bindgen::generate!({ path: "../../wit", world: "route-plugin" });

use exports::pointsman::policy::{lifecycle, route};
use pointsman::policy::types::{Call, Candidates, Denial, RouteChoice};

const META_KEY: &str = "dev.pointsman/backend";

/// Set once by `init`: an instance has one configuration for life.
static HEADER: OnceLock<String> = OnceLock::new();

struct DefaultRoute;

impl lifecycle::Guest for DefaultRoute {
    fn init(config: String) -> Result<(), String> {
        let header = header_of(&config)?;
        let _ = HEADER.set(header);
        Ok(())
    }

    fn shutdown() {}
}

/// The header to look at, from `{"header": "..."}`.
fn header_of(config: &str) -> Result<String, String> {
    let mut header = String::from("X-Pointsman-Backend");
    let json::Value::Object(members) = json::parse(config)? else {
        return Err("the config must be an object".into());
    };
    for (key, value) in &members {
        match (key.as_str(), value.text()) {
            ("header", Some(name)) if !name.is_empty() => header = name.to_owned(),
            ("header", _) => return Err("`header` must be the name of a header".into()),
            _ => return Err(["unknown key `", key, "`; there is only `header`"].concat()),
        }
    }
    Ok(header)
}

impl route::Guest for DefaultRoute {
    fn route(call: &Call, candidates: &Candidates) -> Result<RouteChoice, String> {
        if let Some(backend) = named(call) {
            return Ok(narrow_to(&backend, candidates));
        }
        let offering = candidates.offering();
        if offering.is_empty() {
            return Ok(RouteChoice::Next);
        }
        Ok(RouteChoice::Narrow(offering))
    }
}

/// The backend that the agent names, by the nearest place where it names one.
fn named(call: &Call) -> Option<String> {
    let header = HEADER.get().map_or("X-Pointsman-Backend", String::as_str);
    call.path_backend()
        .or_else(|| call.header(header))
        .or_else(|| call.meta(META_KEY).map(plain))
        .or_else(|| call.introduction_header(header))
        .or_else(|| call.introduction_meta(META_KEY).map(plain))
}

/// The string that a JSON text holds; anything else stays as it is, and will be no backend's name.
fn plain(text: String) -> String {
    match json::parse(&text) {
        Ok(json::Value::Text(inner)) => inner,
        _ => text,
    }
}

fn narrow_to(backend: &str, candidates: &Candidates) -> RouteChoice {
    let names: Vec<String> = (0..candidates.len())
        .map(|position| candidates.backend(position))
        .collect();
    match (0u32..).zip(&names).find(|(_, name)| *name == backend) {
        Some((position, _)) => RouteChoice::Narrow(vec![position]),
        None => RouteChoice::Deny(Denial {
            code: "unknown-backend".into(),
            message: [
                "there is no backend ",
                &json::quote(backend),
                " here; there is: ",
                &names.join(", "),
            ]
            .concat(),
        }),
    }
}

export!(DefaultRoute);
