//! A service outside decides about calls. Wants the grants `http` and `secrets`.
//!
//! `{ "url": "https://auth.example/check", "secret": "token" }`: for each `tools/call` the service is posted
//! `{"agent", "principal", "tool", "endpoint"}`. 2xx lets it go, 403 refuses it with the text of its answer, anything else
//! is a fault, which `on-fault` decides about.

use pointsman_policy::json::{self, Value};
use pointsman_policy::{Call, Candidates, Policy, Route, RouteChoice, deny, http};

struct AskOutside {
    url: String,
    secret: Option<String>,
}

impl Policy for AskOutside {
    fn new(config: &str) -> Result<Self, String> {
        let config = json::parse(config)?;
        let text = |key: &str| config.get(key).and_then(Value::text).map(str::to_owned);
        Ok(Self {
            url: text("url").ok_or("url: the address of the service is wanted")?,
            secret: text("secret"),
        })
    }
}

impl Route for AskOutside {
    fn route(&self, call: &Call, _: &Candidates) -> Result<RouteChoice, String> {
        if call.method() != "tools/call" {
            return Ok(RouteChoice::Next);
        }
        let quoted = |text: Option<String>| text.map_or("null".to_owned(), |text| json::quote(&text));
        let body = format!(
            "{{\"agent\":{},\"principal\":{},\"tool\":{},\"endpoint\":{}}}",
            json::quote(&call.agent()),
            quoted(call.principal()),
            quoted(call.name()),
            json::quote(&call.endpoint())
        );
        let secret = self.secret.iter().map(|name| http::Secret {
            header: "authorization".to_owned(),
            before: "Bearer ".to_owned(),
            name: name.clone(),
        });
        let answer = http::send(&http::Request {
            method: "POST".to_owned(),
            url: self.url.clone(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            secrets: secret.collect(),
            body: body.into_bytes(),
            timeout_ms: None,
        })?;
        match answer.status {
            200..=299 => Ok(RouteChoice::Next),
            403 => {
                let why = String::from_utf8_lossy(&answer.body).trim().to_owned();
                let why = if why.is_empty() {
                    "the authorisation service says no".to_owned()
                } else {
                    why
                };
                Ok(deny("not-authorised", &why))
            }
            status => Err(format!("the authorisation service answered with HTTP {status}")),
        }
    }
}

pointsman_policy::export!(AskOutside: route);
