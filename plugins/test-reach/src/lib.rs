//! A policy that uses every capability, as a call orders in its `_meta`: `{"test": [{"do": "WORD", ...}, ...]}`. Its
//! answer is what came of each order. For the host's tests only.

use json::Value;

wit_bindgen::generate!({ path: "../../wit", world: "route-plugin" });

use exports::pointsman::policy::{lifecycle, route};
use pointsman::policy::types::{Call, Candidates, RouteChoice};
use pointsman::policy::{clock, directory, http, kv, log, metrics, random, secrets};

struct Reach;

struct Order<'a>(&'a Value<'a>);

impl Order<'_> {
    fn text(&self, key: &str) -> String {
        self.0.get(key).and_then(Value::text).unwrap_or_default().to_owned()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).and_then(Value::number)
    }

    fn maybe(&self, key: &str) -> Option<Vec<u8>> {
        self.0
            .get(key)
            .and_then(Value::text)
            .map(|text| text.as_bytes().to_vec())
    }

    /// `a=b,c=d`.
    fn pairs(&self, key: &str) -> Vec<(String, String)> {
        let text = self.text(key);
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    }

    fn follow(&self, call: &Call, candidates: &Candidates) -> String {
        let (key, ttl) = (self.text("key"), self.number("ttl"));
        let value = || self.text("value").into_bytes();
        match self.text("do").as_str() {
            "log" => {
                for n in 0..self.number("times").unwrap_or(1) {
                    log::log("info", &format!("{} {n}", self.text("value")));
                }
                "said".to_owned()
            }
            "now" => format!("{}", clock::now()),
            "monotonic" => {
                let first = clock::monotonic();
                format!("{}", clock::monotonic() >= first)
            }
            "random" => {
                let length = self.number("length").unwrap_or(16) as u32;
                format!(
                    "{} {}",
                    random::bytes(length).len(),
                    random::number() != random::number()
                )
            }
            "get" => format!("{:?}", kv::get(&key).map(|v| String::from_utf8_lossy(&v).into_owned())),
            "set" => format!("{:?}", kv::set(&key, &value(), ttl)),
            // A value of so many bytes.
            "fill" => format!(
                "{:?}",
                kv::set(&key, &vec![b'x'; self.number("length").unwrap_or(0) as usize], ttl)
            ),
            "remove" => format!("{}", kv::remove(&key)),
            "swap" => format!(
                "{:?}",
                kv::compare_and_set(&key, self.maybe("known").as_deref(), &value(), ttl)
            ),
            "add" => format!("{:?}", kv::increment(&key, self.number("by").unwrap_or(1) as i64, ttl)),
            "count" => {
                metrics::count(&key, &self.pairs("labels"), self.number("by").unwrap_or(1));
                "counted".to_owned()
            }
            "gauge" => {
                metrics::gauge(&key, &self.pairs("labels"), self.number("by").unwrap_or(1) as f64 / 2.0);
                "set".to_owned()
            }
            "observe" => {
                metrics::observe(&key, &self.pairs("labels"), self.number("by").unwrap_or(1) as f64);
                "observed".to_owned()
            }
            "backends" => directory::backends()
                .iter()
                .map(|name| {
                    format!(
                        "{name} {:?} {:?} {} {} {} {}",
                        directory::state(name),
                        directory::label(name, "tier"),
                        directory::targets(name),
                        directory::ready(name),
                        directory::held(name),
                        directory::in_flight(name)
                    )
                })
                .collect::<Vec<_>>()
                .join(", "),
            "has" => format!("{}", secrets::has(&key)),
            "send" => {
                let secret = self.text("secret");
                let request = http::Request {
                    method: self.text("method"),
                    url: self.text("url"),
                    headers: self.pairs("headers"),
                    secrets: match secret.is_empty() {
                        true => Vec::new(),
                        false => vec![http::Secret {
                            header: "authorization".to_owned(),
                            before: "Bearer ".to_owned(),
                            name: secret,
                        }],
                    },
                    body: match self.number("length") {
                        Some(length) => vec![b'x'; length as usize],
                        None => value(),
                    },
                    timeout_ms: self.number("timeout").map(|ms| ms as u32),
                };
                match http::send(&request) {
                    Ok(answer) => {
                        let named = answer.headers.iter().find(|(name, _)| *name == key);
                        let named = named.map(|(_, value)| value.as_str()).unwrap_or_default();
                        format!("{} {named} {}", answer.status, String::from_utf8_lossy(&answer.body))
                    }
                    Err(why) => why,
                }
            }
            "call" => {
                let mut headers = call.header_names();
                headers.sort_unstable();
                let headers = headers
                    .into_iter()
                    .filter(|name| name.starts_with("x-"))
                    .collect::<Vec<_>>()
                    .join(",");
                let told = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
                [
                    call.path(),
                    told(call.subject()),
                    headers,
                    told(call.client()),
                    told(call.client_capabilities()),
                ]
                .join("|")
            }
            "roots" => format!("{:?}", call.roots()),
            // Computes for so many milliseconds.
            "spin" => {
                let begin = clock::monotonic();
                let time = self.number("by").unwrap_or(1) * 1_000_000;
                while clock::monotonic() - begin < time {}
                "spun".to_owned()
            }
            "candidate" => {
                let at = self.number("at").unwrap_or(0) as u32;
                format!(
                    "{} {:?} {} {:?} {:?}",
                    candidates.backend(at),
                    candidates.label(at, "tier"),
                    candidates.latency_us(at).is_some(),
                    candidates.eta_ms(at),
                    candidates.definition(at, &key)
                )
            }
            other => format!("unknown order {other}"),
        }
    }
}

impl route::Guest for Reach {
    fn route(call: &Call, candidates: &Candidates) -> Result<RouteChoice, String> {
        let Some(orders) = call.meta("test") else {
            return Ok(RouteChoice::Next);
        };
        let Value::Array(orders) = json::parse(&orders)? else {
            return Err("the orders are no list".to_owned());
        };
        let answers: Vec<String> = orders
            .iter()
            .map(|order| json::quote(&Order(order).follow(call, candidates)))
            .collect();
        Ok(RouteChoice::Answer(format!("{{\"answers\":[{}]}}", answers.join(","))))
    }
}

impl lifecycle::Guest for Reach {
    fn init(_: String) -> Result<(), String> {
        Ok(())
    }
    fn shutdown() {}
}

export!(Reach);
