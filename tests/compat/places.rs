//! Where the clients are sent: to the fixture itself, and to a router with the fixture behind it.

use serde_json::json;

use crate::support::Router;
use crate::support::fixture::{Fixture, node, program};

/// One of the tables.
pub struct Place {
    pub name: &'static str,
    /// How the router reaches the fixture; `None` without a router.
    pub backend: Option<Backend>,
    /// The era that the fixture speaks.
    pub era: &'static str,
    /// Whether it is tried in everyday runs.
    pub everyday: bool,
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
        everyday: false,
    },
    Place {
        name: "Legacy server over stdio",
        backend: Some(Backend {
            over_http: false,
            keys: "server-requests = \"serialize\"",
        }),
        era: "legacy",
        everyday: true,
    },
    Place {
        name: "Modern server over stdio",
        backend: Some(Backend {
            over_http: false,
            keys: "",
        }),
        era: "modern",
        everyday: false,
    },
    Place {
        name: "Legacy server over HTTP",
        backend: Some(Backend {
            over_http: true,
            keys: "server-requests = \"serialize\"",
        }),
        era: "legacy",
        everyday: false,
    },
    Place {
        name: "Modern server over HTTP",
        backend: Some(Backend {
            over_http: true,
            keys: "",
        }),
        era: "modern",
        everyday: true,
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
