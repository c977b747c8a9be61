//! The parts of a running router that a reload reaches.

use std::sync::Arc;

use crate::auth::Guard;
use crate::process::Spawner;
use crate::router::Router;
use crate::transport::Tls;

/// What is brought to a changed configuration.
pub struct Parts {
    /// Backends and endpoints.
    pub router: Arc<Router>,
    /// Who may call.
    pub guard: Arc<Guard>,
    /// The certificate, where there is one.
    pub tls: Option<Arc<Tls>>,
    /// Starts what is added.
    pub spawner: Arc<dyn Spawner>,
}
