//! The policy seam: what the router asks its policies and what they may answer. Plain Rust; the WebAssembly
//! behind it lives in one folder, and most tests use none.

mod event;
mod listing;
mod trouble;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::call::Call;
use crate::wire::RawJson;

pub use self::event::Event;
pub use self::listing::{Listed, Listing, PENDING};
pub use self::trouble::{Settlement, Trouble, TroubleKind};

/// The hooks a policy component may export, each an interface of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// `init` and `shutdown`.
    Lifecycle,
    /// Which backends may take a call.
    Route,
    /// Which of the live targets takes it.
    Select,
    /// Edits to the params on the way in.
    TransformRequest,
    /// Edits to the result on the way out.
    TransformResponse,
    /// What agents see, and under which names.
    TransformList,
    /// What becomes of a call in trouble.
    Settle,
    /// What happens, told to whoever wants to know.
    Observe,
}

impl Hook {
    /// All, in the order a call meets them, and the one that lists meet.
    pub const ALL: [Self; 8] = [
        Self::Lifecycle,
        Self::Route,
        Self::Select,
        Self::TransformRequest,
        Self::TransformResponse,
        Self::TransformList,
        Self::Settle,
        Self::Observe,
    ];

    /// Those that every call meets that gets an answer, in this order.
    pub const OF_A_CALL: [Self; 4] = [
        Self::Route,
        Self::Select,
        Self::TransformRequest,
        Self::TransformResponse,
    ];

    /// Those that plugins are asked in turn: what a pipeline is made of.
    pub const CHAINS: [Self; 7] = [
        Self::Route,
        Self::Select,
        Self::TransformRequest,
        Self::TransformResponse,
        Self::TransformList,
        Self::Settle,
        Self::Observe,
    ];

    /// The name of its WIT interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle",
            Self::Route => "route",
            Self::Select => "select",
            Self::TransformRequest => "transform-request",
            Self::TransformResponse => "transform-response",
            Self::TransformList => "transform-list",
            Self::Settle => "settle",
            Self::Observe => "observe",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What few policies ask of a backend, and is not looked up for others.
pub trait Facts: Send + Sync {
    /// A label, from its configuration.
    fn label(&self, name: &str) -> Option<String>;
    /// How long the fastest of its targets takes to answer.
    fn latency(&self) -> Option<Duration>;
    /// When it is expected to be ready.
    fn eta(&self) -> Option<Duration>;
}

/// A backend that a call might go to, as `route` sees it.
#[derive(Clone)]
pub struct Candidate {
    /// Its name.
    pub backend: Arc<str>,
    /// True where its tool list (or, before it ever had one, the prefix of the name) says that the name in the
    /// call is this backend's.
    pub offers: bool,
    /// `starting`, `ready`, `backoff`, `crash-loop`, `failed` or `stopped`: the best of its targets.
    pub state: &'static str,
    /// Calls held at its gate.
    pub held: u32,
    /// Calls in flight at its targets.
    pub in_flight: u32,
    /// Its definition of what the call is about.
    pub item: Option<RawJson>,
    /// What else can be known of it.
    pub facts: Option<Arc<dyn Facts>>,
}

/// A live target, as `select` sees it.
#[derive(Clone)]
pub struct TargetView {
    /// The backend it is an instance of.
    pub backend: Arc<str>,
    /// Which of the backend's replicas, from 0.
    pub replica: u32,
    /// The number of its spawn.
    pub incarnation: u64,
    /// Calls written and unanswered.
    pub in_flight: u32,
    /// Calls answered since this incarnation began.
    pub answered: u64,
    /// How long it takes to answer; `None` before its first answer.
    pub latency: Option<Duration>,
    /// What else can be known of its backend.
    pub facts: Option<Arc<dyn Facts>>,
}

/// What `route` decided, after every plugin of the chain was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChoice {
    /// These candidates may take it, by position. All of them where no plugin had an opinion.
    Among(Vec<usize>),
    /// This backend takes it, candidate or not, under this name where one is given.
    Redirect {
        /// The backend's name.
        backend: String,
        /// The tool's name there; `None` leaves it to the catalog.
        name: Option<String>,
    },
    /// Nobody takes it.
    Deny {
        /// For programs; appears as `data.policy_code`.
        code: String,
        /// For people and models.
        message: String,
    },
    /// The policy answers itself, with this result.
    Answer(RawJson),
}

/// What `select` decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// This target, by position.
    Pick(usize),
    /// No opinion: the router takes the least busy one.
    Any,
    /// None of them now; ask again after at most so many milliseconds.
    Hold(u32),
}

/// What a policy component did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Computed longer than its CPU budget.
    Cpu,
    /// Took longer than its wall-clock budget, or no instance was free within it.
    Wall,
    /// Trapped, which includes panics and refused memory.
    Trap,
    /// Returned too much, or something invalid.
    Output,
    /// Returned an error of its own.
    Error,
    /// Not the plugin's: it read the params or the response, and they hold a key twice or nest too deep. The call
    /// is refused whatever `on-fault` says, since policy and target could read different values.
    Params,
    /// Its generation was retired while the call was running.
    Retired,
}

impl FaultKind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::Trap => "trap",
            Self::Output => "output",
            Self::Error => "error",
            Self::Params => "params",
            Self::Retired => "retired",
        }
    }
}

/// A fault of a policy component whose `on-fault` is `closed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    /// The plugin's name in the configuration.
    pub plugin: Arc<str>,
    /// The hook that was called.
    pub hook: Hook,
    /// What it did.
    pub kind: FaultKind,
    /// Details for the log and for the error.
    pub message: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.plugin, self.hook, self.message)
    }
}

impl std::error::Error for PolicyFault {}

/// A boxed future, as the seam returns them.
pub type Verdict<'a, T> = Pin<Box<dyn Future<Output = Result<T, PolicyFault>> + Send + 'a>>;

/// One generation: an immutable set of active policies. A call keeps the one it began with, except that a held
/// call is routed again when a newer one becomes active.
pub trait Policy: Send + Sync {
    /// Its number; each swap has a higher one.
    fn generation(&self) -> u64;
    /// Whether any plugin is asked this of a call. Where none is, the router does not ask.
    fn has(&self, hook: Hook, call: &Call) -> bool;
    /// The plugins that are asked this of a call, by name and in their order.
    fn plugins(&self, _: Hook, _: &Call) -> Vec<Arc<str>> {
        Vec::new()
    }
    /// Whether an endpoint, empty for `/mcp`, has policies of its own here.
    fn has_own(&self, endpoint: &str) -> bool;
    /// Which of `candidates` may take `call`.
    fn route<'a>(&'a self, call: &'a Arc<Call>, candidates: Arc<[Candidate]>) -> Verdict<'a, RouteChoice>;
    /// Which of `targets` takes `call`.
    fn select<'a>(&'a self, call: &'a Arc<Call>, targets: Arc<[TargetView]>) -> Verdict<'a, Selection>;
    /// The params for `backend` as every plugin of the chain left them; `None` where none changed them.
    fn transform_request<'a>(&'a self, call: &'a Arc<Call>, backend: &'a str) -> Verdict<'a, Option<RawJson>>;
    /// The result of `backend`, or where `is_error` the error, as every plugin left it; `None` where none changed it.
    fn transform_response<'a>(
        &'a self,
        call: &'a Arc<Call>,
        backend: &'a str,
        body: RawJson,
        is_error: bool,
    ) -> Verdict<'a, Option<RawJson>>;
    /// What becomes of a call in trouble.
    fn settle<'a>(&'a self, call: &'a Arc<Call>, trouble: Arc<Trouble>) -> Verdict<'a, Settlement>;
    /// Whether anybody wants to hear of events.
    fn observes(&self) -> bool;
    /// Tells those who do, without waiting for them. An event of a call is of its endpoint, others are of all.
    fn tell(&self, event: Event, of: Option<&Call>);
    /// What agents see of `listing`, as every plugin of the chain left it.
    fn transform_list<'a>(&'a self, listing: Arc<Listing>) -> Verdict<'a, Arc<Listing>>;
}

/// What is known of one backend, for policies that look at it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The best state of its targets.
    pub state: &'static str,
    /// From its configuration.
    pub labels: BTreeMap<String, String>,
    /// Targets that it is to have.
    pub targets: u32,
    /// Those that are ready.
    pub ready: u32,
    /// Calls held at its gate.
    pub held: u32,
    /// Calls in flight at its targets.
    pub in_flight: u32,
}

/// Hears of what happens outside of calls.
pub trait Observer: Send + Sync {
    /// Whether anybody wants to know.
    fn is_listening(&self) -> bool;
    /// Tells them. Never blocks.
    fn observe(&self, event: Event);
}

/// The backends of the router, for policies that look at them.
pub trait Directory: Send + Sync {
    /// Their names, in order.
    fn backends(&self) -> Vec<String>;
    /// One of them.
    fn backend(&self, name: &str) -> Option<Entry>;
}

/// The policy of a router without plugins: no hook, so no cost.
#[derive(Debug, Default)]
pub struct NoPolicy;

impl Policy for NoPolicy {
    fn generation(&self) -> u64 {
        0
    }
    fn has(&self, _: Hook, _: &Call) -> bool {
        false
    }
    fn has_own(&self, _: &str) -> bool {
        false
    }
    fn route<'a>(&'a self, _: &'a Arc<Call>, candidates: Arc<[Candidate]>) -> Verdict<'a, RouteChoice> {
        Box::pin(async move { Ok(RouteChoice::Among((0..candidates.len()).collect())) })
    }
    fn select<'a>(&'a self, _: &'a Arc<Call>, _: Arc<[TargetView]>) -> Verdict<'a, Selection> {
        Box::pin(async { Ok(Selection::Any) })
    }
    fn transform_request<'a>(&'a self, _: &'a Arc<Call>, _: &'a str) -> Verdict<'a, Option<RawJson>> {
        Box::pin(async { Ok(None) })
    }
    fn transform_response<'a>(
        &'a self,
        _: &'a Arc<Call>,
        _: &'a str,
        _: RawJson,
        _: bool,
    ) -> Verdict<'a, Option<RawJson>> {
        Box::pin(async { Ok(None) })
    }
    fn settle<'a>(&'a self, _: &'a Arc<Call>, _: Arc<Trouble>) -> Verdict<'a, Settlement> {
        Box::pin(async { Ok(Settlement::Next) })
    }
    fn observes(&self) -> bool {
        false
    }
    fn tell(&self, _: Event, _: Option<&Call>) {}
    fn transform_list<'a>(&'a self, listing: Arc<Listing>) -> Verdict<'a, Arc<Listing>> {
        Box::pin(async { Ok(listing) })
    }
}
