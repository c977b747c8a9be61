//! The few MCP methods and `_meta` keys that the router must understand; everything else passes by name.

/// Legacy handshake.
pub const INITIALIZE: &str = "initialize";
/// Legacy handshake, third step.
pub const INITIALIZED: &str = "notifications/initialized";
/// Modern handshake.
pub const DISCOVER: &str = "server/discover";
/// Legacy liveness.
pub const PING: &str = "ping";
/// The tool list.
pub const TOOLS_LIST: &str = "tools/list";
/// A tool call.
pub const TOOLS_CALL: &str = "tools/call";
/// A prompt, filled in.
pub const PROMPTS_GET: &str = "prompts/get";
/// A resource's contents.
pub const RESOURCES_READ: &str = "resources/read";
/// Legacy: changes of a resource are wanted.
pub const SUBSCRIBE: &str = "resources/subscribe";
/// Legacy: they are no longer wanted.
pub const UNSUBSCRIBE: &str = "resources/unsubscribe";
/// What could stand for an argument.
pub const COMPLETE: &str = "completion/complete";
/// Legacy: the tasks of an agent.
pub const TASKS_LIST: &str = "tasks/list";
/// Legacy: what a task came to.
pub const TASKS_RESULT: &str = "tasks/result";
/// A server asks its client for a model's answer.
pub const SAMPLE: &str = "sampling/createMessage";
/// A server asks its client's user something.
pub const ELICIT: &str = "elicitation/create";
/// A server asks for the client's roots.
pub const ROOTS_LIST: &str = "roots/list";
/// Legacy: the client's roots changed.
pub const ROOTS_CHANGED: &str = "notifications/roots/list_changed";
/// A resource changed.
pub const RESOURCE_UPDATED: &str = "notifications/resources/updated";
/// Legacy: the least severity of log messages that the agent wants.
pub const SET_LEVEL: &str = "logging/setLevel";
/// Modern: the long stream of list changes.
pub const LISTEN: &str = "subscriptions/listen";
/// Modern: the first message of that stream.
pub const LISTEN_ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// A request is no longer wanted.
pub const CANCELLED: &str = "notifications/cancelled";
/// How far a request is.
pub const PROGRESS: &str = "notifications/progress";
/// Legacy: how a task is.
pub const TASK_STATUS: &str = "notifications/tasks/status";
/// Legacy: a user is done with what an elicitation in URL mode led to.
pub const ELICITED: &str = "notifications/elicitation/complete";
/// A log message.
pub const MESSAGE: &str = "notifications/message";

/// `_meta` of a modern request: the revision it is written in.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta` of a modern request: what the client can do.
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `_meta` of a modern request: who the client is.
pub const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
/// `_meta` of a modern request: the least severity of log messages wanted.
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// `_meta` of a modern result: who answered.
pub const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";
/// `_meta` of a modern notification on a listen stream: the id of the listen request.
pub const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// `_meta` of any request: the token its progress is reported under.
pub const META_PROGRESS: &str = "progressToken";

/// Legacy: `_meta` of what belongs to a task, an object with its id.
pub const META_TASK: &str = "io.modelcontextprotocol/related-task";
/// The member of an object that is the id of a task.
pub const TASK_ID: &str = "taskId";
/// The member of an object that is the id of an elicitation in URL mode.
pub const ELICITATION_ID: &str = "elicitationId";

/// The severities of log messages, least first (RFC 5424).
pub const LOG_LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// The rank of a severity, or `None` for a word that is none.
pub fn log_rank(level: &str) -> Option<u8> {
    LOG_LEVELS
        .iter()
        .position(|l| *l == level)
        .and_then(|p| u8::try_from(p).ok())
}

/// True for what no agent can ask of a server through the router: handshakes and streams are the router's own, and
/// notifications have no answer.
pub fn is_no_request(method: &str) -> bool {
    matches!(method, INITIALIZE | DISCOVER | LISTEN) || method.starts_with("notifications/")
}

/// True for notifications that clients send to servers: one of a server is for nobody.
pub fn is_of_clients(notification: &str) -> bool {
    matches!(notification, INITIALIZED | ROOTS_CHANGED)
}

/// True for methods that the modern era no longer has: the router answers them as unknown there, whoever may know
/// them.
pub fn is_legacy_only(method: &str) -> bool {
    matches!(
        method,
        INITIALIZE | PING | SET_LEVEL | SUBSCRIBE | UNSUBSCRIBE | TASKS_LIST | TASKS_RESULT
    )
}

/// True for methods that only read, or only say again what is so, which may run twice without harm (the specification's own list of
/// cacheable or listing methods).
pub fn is_read(method: &str) -> bool {
    method.ends_with("/list")
        || matches!(
            method,
            DISCOVER | PING | RESOURCES_READ | PROMPTS_GET | COMPLETE | SUBSCRIBE | UNSUBSCRIBE
        )
}
