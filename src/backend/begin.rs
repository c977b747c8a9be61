//! How backends begin: of the configuration, of one agent, or as a stand-in.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use super::Backend;
use super::face::Owner;
use super::shared::Shared;
use super::spawn::spawn_target;
use crate::config;
use crate::error::Reason;
use crate::policy::Observer;
use crate::process::Spawner;
use crate::wire::Kind;

impl Backend {
    /// Starts a backend: its targets are spawned at once, each by its own actor.
    pub fn start(name: &str, settings: config::Backend, spawner: Arc<dyn Spawner>) -> Arc<Self> {
        Self::begin(
            Shared::new(name.into(), spawner, &settings, None, Arc::default()),
            settings,
        )
    }

    /// The same, and `observer` is told of its targets.
    pub fn start_observed(
        name: &str,
        settings: config::Backend,
        spawner: Arc<dyn Spawner>,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        let shared = Shared::new(name.into(), spawner, &settings, None, Arc::default());
        shared.observed_by(observer);
        Self::begin(shared, settings)
    }

    /// The same for one agent alone. Until its own target says what it has, it has what that of `base` had.
    pub fn start_for(base: &Self, settings: config::Backend, spawner: Arc<dyn Spawner>, owner: Owner) -> Arc<Self> {
        Self::begin(Self::like(base, spawner, &settings, Some(owner)), settings)
    }

    /// One without targets, which has what that of `base` had and refuses every call.
    pub fn stand_in(base: &Self, why: Reason) -> Arc<Self> {
        let settings = config::Backend {
            replicas: 0,
            ..(*base.settings()).clone()
        };
        let spawner = Arc::clone(&base.shared.spawner);
        let backend = Self::begin(Self::like(base, spawner, &settings, None), settings);
        backend.refuse(why);
        backend
    }

    fn like(base: &Self, spawner: Arc<dyn Spawner>, settings: &config::Backend, owner: Option<Owner>) -> Shared {
        // The router's own tokens are the same for all.
        let wallet = Arc::clone(&base.shared.wallet);
        let shared = Shared::new(Arc::clone(base.name()), spawner, settings, owner, wallet);
        for kind in Kind::ALL {
            if let Some(list) = base.known(kind) {
                shared.lists.publish(kind, list.items().to_vec(), 0, false);
            }
        }
        if let Some(introduced) = base.introduced() {
            shared.introduce(introduced);
        }
        if let Some(observer) = base.shared.observer() {
            shared.observed_by(Arc::clone(observer));
        }
        shared
    }

    fn begin(shared: Shared, settings: config::Backend) -> Arc<Self> {
        let (shared, settings) = (Arc::new(shared), Arc::new(settings));
        let targets = (0..settings.replicas)
            .map(|replica| spawn_target(&shared, replica, &settings, None))
            .collect();
        Arc::new(Self {
            shared,
            settings: ArcSwap::new(settings),
            targets: ArcSwap::from_pointee(targets),
            level: Mutex::new(None),
        })
    }
}
