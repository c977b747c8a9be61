//! A policy whose behaviour its configuration chooses: `{"do": "WORD", ...}`. For the host's tests only.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use json::Value;

wit_bindgen::generate!({ path: "../../wit", world: "every-hook" });

use exports::pointsman::policy::{
    lifecycle, observe, route, select, settle, transform_list, transform_request, transform_response,
};
use pointsman::policy::log::log;
use pointsman::policy::types::{
    Call, Candidates, Denial, Edit, Events, Listing, Redirection, Response, RouteChoice, Selection, SetEdit,
    Settlement, Shown, Targets, Trouble,
};

/// Tells two builds of this guest apart.
const LABEL: &str = match option_env!("GUEST_LABEL") {
    Some(label) => label,
    None => "none",
};

struct TestGuest;

#[derive(Clone)]
struct Orders {
    word: String,
    text: String,
    number: u64,
}

static CONFIG: OnceLock<Orders> = OnceLock::new();
static CALLS: AtomicU64 = AtomicU64::new(0);

impl Orders {
    fn read(json: &str) -> Result<Self, String> {
        let value = json::parse(json)?;
        let text = |key| value.get(key).and_then(Value::text).unwrap_or_default().to_owned();
        Ok(Self {
            word: text("do"),
            text: text("text"),
            number: value.get("number").and_then(Value::number).unwrap_or_default(),
        })
    }

    /// What the call at hand orders in its `_meta`, else what the configuration does.
    fn of(call: &Call) -> Result<Self, String> {
        match (call.meta("test"), CONFIG.get()) {
            (Some(json), _) => Self::read(&json),
            (None, Some(config)) => Ok(config.clone()),
            (None, None) => Err("init was not called".into()),
        }
    }
}

impl lifecycle::Guest for TestGuest {
    fn init(config: String) -> Result<(), String> {
        let config = Orders::read(&config)?;
        match config.word.as_str() {
            "init-error" => return Err(format!("guest {LABEL} does not want to")),
            "init-loop" => spin(),
            "init-panic" => panic!("in init"),
            _ => {}
        }
        let _ = CONFIG.set(config);
        Ok(())
    }

    fn shutdown() {
        log("info", &format!("guest {LABEL} was shut down"));
    }
}

fn spin() {
    loop {
        std::hint::black_box(());
    }
}

/// What every hook can do wrong.
fn misbehave(config: &Orders) -> Result<(), String> {
    match config.word.as_str() {
        "loop" => spin(),
        // Long enough to be interrupted a few times, and then it goes on.
        "count-slowly" => (0..config.number).for_each(|n| {
            std::hint::black_box(n);
        }),
        "panic" => panic!("in a hook"),
        "alloc" => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
                std::hint::black_box(&hoard);
            }
        }
        "recurse" => {
            std::hint::black_box(deeper(0));
        }
        "swell" => {
            std::hint::black_box(vec![1u8; config.number as usize]);
        }
        "error" => return Err(format!("guest {LABEL} gave up")),
        "chatter" => {
            for n in 0..config.number {
                log("info", &format!("line {n} {}", "x".repeat(10_000)));
            }
        }
        _ => {}
    }
    Ok(())
}

#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn deeper(n: u64) -> u64 {
    std::hint::black_box(deeper(n + 1)) + n
}

fn object(key: &str, text: &str) -> String {
    format!("{{{}:{}}}", json::quote(key), json::quote(text))
}

impl route::Guest for TestGuest {
    fn route(call: &Call, candidates: &Candidates) -> Result<RouteChoice, String> {
        let config = Orders::of(call)?;
        misbehave(&config)?;
        let number = config.number as u32;
        Ok(match config.word.as_str() {
            "big" => RouteChoice::Answer("x".repeat(config.number as usize)),
            "deny" => RouteChoice::Deny(Denial {
                code: "test".into(),
                message: config.text.clone(),
            }),
            "answer" => RouteChoice::Answer(config.text.clone()),
            "tag" => RouteChoice::Answer(object("tag", LABEL)),
            "who" => {
                let team = call.label("team");
                let words = format!("{:?} {team:?} {:?}", call.principal(), call.scopes());
                RouteChoice::Answer(object("who", &words))
            }
            "count" | "count-slowly" => {
                RouteChoice::Answer(format!("{{\"count\":{}}}", CALLS.fetch_add(1, Ordering::Relaxed) + 1))
            }
            "beyond" => RouteChoice::Answer(object("backend", &candidates.backend(candidates.len()))),
            "narrow" => RouteChoice::Narrow(vec![number]),
            "narrow-to-none" => RouteChoice::Narrow(Vec::new()),
            "redirect" => RouteChoice::Redirect(Redirection {
                backend: config.text.clone(),
                name: None,
            }),
            "names" => {
                let names: Vec<String> = (0..candidates.len())
                    .map(|n| {
                        let c = candidates;
                        format!(
                            "{} {} {} {} {}",
                            c.backend(n),
                            c.offers(n),
                            c.state(n),
                            c.held(n),
                            c.in_flight(n)
                        )
                    })
                    .collect();
                RouteChoice::Answer(object("names", &names.join(",")))
            }
            "describe" => RouteChoice::Answer(describe(call)?),
            // Reads, and does not care whether it may: the host must.
            "read" => {
                let _ = call.param(&config.text);
                RouteChoice::Next
            }
            "read-strict" => {
                call.param(&config.text)?;
                RouteChoice::Next
            }
            _ => RouteChoice::Next,
        })
    }
}

/// Everything that a call tells.
fn describe(call: &Call) -> Result<String, String> {
    let all = [
        call.id().to_string(),
        call.method(),
        format!("{:?}", call.name()),
        call.endpoint(),
        format!("{:?}", call.path_backend()),
        call.agent(),
        call.era(),
        format!("{:?}", call.header("x-one")),
        format!("{:?}", call.meta("one")),
        format!("{:?}", call.introduction_header("x-two")),
        format!("{:?}", call.introduction_meta("two")),
        format!("{:?}", call.param("/arguments/a~1b")?),
        call.params_json()?,
        call.params_size().to_string(),
    ];
    Ok(object("call", &all.join("|")))
}

impl select::Guest for TestGuest {
    fn select(call: &Call, targets: &Targets) -> Result<Selection, String> {
        let config = Orders::of(call)?;
        misbehave(&config)?;
        let number = config.number as u32;
        Ok(match config.word.as_str() {
            "pick" => Selection::Pick(number),
            "hold" => Selection::Hold(number),
            "newest" => {
                let newest = (0..targets.len()).max_by_key(|n| {
                    assert_eq!(targets.backend(*n), "work", "the host's test has one backend");
                    (targets.incarnation(*n), targets.replica(*n), targets.answered(*n))
                });
                newest.map_or(Selection::Any, Selection::Pick)
            }
            _ => Selection::Any,
        })
    }
}

/// `{"do": "set", "text": "/pointer value"}`; the value defaults to the label.
fn edits(config: &Orders) -> Vec<Edit> {
    let (pointer, value) = config.text.split_once(' ').unwrap_or((&config.text, ""));
    let json = if value.is_empty() {
        json::quote(LABEL)
    } else {
        value.to_owned()
    };
    match config.word.as_str() {
        "set" => vec![Edit::Set(SetEdit {
            pointer: pointer.to_owned(),
            json,
        })],
        "remove" => vec![Edit::Remove(pointer.to_owned())],
        "big" => vec![Edit::Set(SetEdit {
            pointer: pointer.to_owned(),
            json: json::quote(&"x".repeat(config.number as usize)),
        })],
        _ => Vec::new(),
    }
}

impl transform_request::Guest for TestGuest {
    fn transform(call: &Call) -> Result<Vec<Edit>, String> {
        let config = Orders::of(call)?;
        misbehave(&config)?;
        if config.word == "append" {
            // Sees what the plugin before it left, and adds its own mark.
            let old = call.param(&config.text)?.unwrap_or_default();
            let old = json::parse(&old)?;
            return Ok(vec![Edit::Set(SetEdit {
                pointer: config.text.clone(),
                json: json::quote(&format!("{}+{LABEL}", old.text().unwrap_or_default())),
            })]);
        }
        Ok(edits(&config))
    }
}

impl transform_response::Guest for TestGuest {
    fn transform(call: &Call, response: &Response) -> Result<Vec<Edit>, String> {
        let config = Orders::of(call)?;
        misbehave(&config)?;
        if config.word == "look" {
            let seen = format!("{} {} {:?}", response.is_error(), response.size(), response.get("/a")?);
            return Ok(vec![Edit::Set(SetEdit {
                pointer: "/seen".into(),
                json: json::quote(&seen),
            })]);
        }
        Ok(edits(&config))
    }
}

impl transform_list::Guest for TestGuest {
    fn transform(listing: &Listing) -> Result<Option<Vec<Shown>>, String> {
        let config = CONFIG.get().ok_or("init was not called")?;
        misbehave(config)?;
        let (first, second) = config.text.split_once(' ').unwrap_or((&config.text, ""));
        let all = || (0..listing.len()).map(|position| Shown { position, name: None });
        let named = |position: u32, name: String| Shown {
            position,
            name: Some(name),
        };
        Ok(Some(match config.word.as_str() {
            "hide" => all().filter(|s| listing.key(s.position) != config.text).collect(),
            // `ENDPOINT TOOL`
            "hide-at" if listing.endpoint() == first => all().filter(|s| listing.key(s.position) != second).collect(),
            // `POINTER VALUE`: where the definition has that.
            "hide-where" => {
                let has = |n| Ok::<_, String>(listing.get(n, first)?.as_deref() == Some(second));
                let kept: Result<Vec<_>, String> = all().map(|s| Ok((!has(s.position)?).then_some(s))).collect();
                kept?.into_iter().flatten().collect()
            }
            // `TOOL NEW`
            "rename" => {
                let renamed = |s: Shown| match listing.key(s.position) == first {
                    true => named(s.position, second.to_owned()),
                    false => s,
                };
                all().map(renamed).collect()
            }
            "one-name" => all().map(|s| named(s.position, config.text.clone())).collect(),
            "mark" => {
                let marked = |s: Shown| named(s.position, format!("{}+{LABEL}", listing.name(s.position)));
                all().map(marked).collect()
            }
            "reverse" => all().rev().collect(),
            "fail-at" if listing.keys().contains(&config.text) => {
                return Err(format!("guest {LABEL} does not know {}", config.text));
            }
            "describe-list" => {
                let said: Vec<String> = all().map(|s| describe_item(listing, s.position)).collect();
                log("info", &format!("{} {}", listing_words(listing), said.join(" ")));
                return Ok(None);
            }
            "twice" => all().chain(all()).collect(),
            "beyond" => vec![Shown {
                position: listing.len(),
                name: None,
            }],
            "beyond-read" => vec![named(0, listing.key(listing.len()))],
            "big" => vec![named(0, "x".repeat(config.number as usize))],
            _ => return Ok(None),
        }))
    }
}

fn listing_words(listing: &Listing) -> String {
    let naming = [listing.kind(), listing.endpoint(), listing.naming()].join(",");
    format!(
        "{naming} {:?} {:?} {:?}",
        listing.path_backend(),
        listing.backends(),
        listing.owners()
    )
}

fn describe_item(listing: &Listing, n: u32) -> String {
    let (backend, key, name) = (listing.backend(n), listing.key(n), listing.name(n));
    format!(
        "{backend}/{key}={name}:{}:{}:{:?}",
        listing.is_pending(n),
        listing.size(n),
        listing.json(n)
    )
}

impl settle::Guest for TestGuest {
    fn settle(call: &Call, trouble: &Trouble) -> Result<Settlement, String> {
        let config = Orders::of(call)?;
        misbehave(&config)?;
        // `replay-died`: that word for that kind of trouble, and nothing for others.
        let kind = trouble.kind();
        let Some(word) = config.word.strip_suffix(&format!("-{kind}")) else {
            return Ok(Settlement::Next);
        };
        Ok(match word {
            "replay" => Settlement::Replay,
            "hold" => Settlement::Hold(config.number as u32),
            "fail" => Settlement::Fail(Denial {
                code: "test".into(),
                message: format!(
                    "{kind}|{}|{}|{}|{}|{}|{:?}|{}",
                    trouble.backend(),
                    trouble.state(),
                    trouble.attempts(),
                    trouble.is_read(),
                    trouble.ahead(),
                    trouble.eta_ms().is_some(),
                    trouble.why()
                ),
            }),
            _ => Settlement::Next,
        })
    }
}

impl observe::Guest for TestGuest {
    fn observe(events: &Events) -> Result<(), String> {
        if let Some(config) = CONFIG.get() {
            misbehave(config)?;
            let heard = |word: &str| (0..events.len()).any(|n| events.json(n).contains(word));
            if config.word == "panic-at" && heard(&config.text) {
                panic!("at an event");
            }
        }
        for n in 0..events.len() {
            log(
                "info",
                &format!("heard {} {} {}", events.missed(), events.kind(n), events.json(n)),
            );
        }
        Ok(())
    }
}

export!(TestGuest);
