//! Where the clients are sent: to the fixture itself, and to a router with the fixture behind it.

use std::process::Command;

use serde_json::json;

use crate::support::fixture::{Fixture, node, program};
use crate::support::{PROGRAM, Router};

/// One of the tables.
pub struct Place {
    pub name: &'static str,
    /// How the router reaches the fixture; `None` without a router.
    pub backend: Option<Backend>,
    /// The era that the fixture speaks.
    pub era: &'static str,
}

pub struct Backend {
    pub over_http: bool,
    /// What its table in the configuration says beside where it is.
    pub keys: &'static str,
}

pub const PLACES: &[Place] = &[
    Place {
        name: "Without the router: a server of both eras over HTTP",
        backend: None,
        era: "both",
    },
    Place {
        name: "Legacy server over stdio",
        backend: Some(Backend {
            over_http: false,
            keys: "server-requests = \"serialize\"",
        }),
        era: "legacy",
    },
    Place {
        name: "Modern server over stdio",
        backend: Some(Backend {
            over_http: false,
            keys: "",
        }),
        era: "modern",
    },
    Place {
        name: "Legacy server over HTTP",
        backend: Some(Backend {
            over_http: true,
            keys: "",
        }),
        era: "legacy",
    },
    Place {
        name: "Modern server over HTTP",
        backend: Some(Backend {
            over_http: true,
            keys: "",
        }),
        era: "modern",
    },
];

impl Backend {
    fn config(&self, era: &str, url: &str) -> String {
        let place = match self.over_http {
            true => format!("url = {}", json!(url)),
            false => {
                let args = json!([program(), "--stdio", "--era", era]);
                format!("command = {}\nargs = {args}", json!(node()))
            }
        };
        format!("[backends.fix]\n{place}\n{}\n", self.keys)
    }
}

/// What runs at a place, until it is dropped.
pub struct Up {
    router: Option<(Router, String)>,
    fixture: Option<Fixture>,
}

impl Up {
    pub fn url(&self) -> &str {
        match (&self.router, &self.fixture) {
            (Some((_, url)), _) => url,
            (None, Some(fixture)) => &fixture.url,
            (None, None) => unreachable!("something runs"),
        }
    }
}

impl Place {
    /// What the configuration has against it.
    pub fn refused(&self) -> Option<String> {
        refused(&self.backend.as_ref()?.config(self.era, "http://127.0.0.1:9/mcp"))
    }

    /// Starts what belongs there.
    pub async fn start(&self) -> Up {
        let Some(backend) = &self.backend else {
            let fixture = Some(Fixture::start(&["--era", self.era]));
            return Up { router: None, fixture };
        };
        let fixture = backend.over_http.then(|| Fixture::start(&["--era", self.era]));
        let config = backend.config(self.era, fixture.as_ref().map_or("", |f| &f.url));
        let router = Router::start(&config).await;
        router.ready("fix").await;
        let url = format!("http://{}/mcp", router.address);
        Up {
            router: Some((router, url)),
            fixture,
        }
    }
}

/// What the program says against a configuration.
fn refused(config: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pointsman.toml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(PROGRAM).args(["check", "--config"]).arg(&file).output();
    let output = output.expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    // `FILE:LINE:COLUMN: words`
    let words = said
        .split("pointsman.toml:")
        .nth(1)
        .and_then(|rest| rest.splitn(3, ':').nth(2));
    let words = words.map_or(&*said, |rest| rest.lines().next().unwrap_or_default().trim());
    (!output.status.success()).then(|| words.to_owned())
}
