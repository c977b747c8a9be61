//! Error codes: the protocol's own, and the router's, which lie outside the range the protocol keeps.

/// Not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON, but no request.
pub const INVALID_REQUEST: i64 = -32600;
/// The method is not offered.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The params are wrong; in MCP also an unknown tool.
pub const INVALID_PARAMS: i64 = -32602;
/// A fault of the router itself.
pub const INTERNAL_ERROR: i64 = -32603;
/// 2026-07-28: a mirrored header is missing or differs from the body (SEP-2243).
pub const HEADER_MISMATCH: i64 = -32020;
/// 2026-07-28: the client did not declare what the server needs of it.
pub const MISSING_CAPABILITY: i64 = -32021;
/// Up to 2025-11-25: there is no such resource. Not to be sent to modern clients.
pub const LEGACY_NOT_FOUND: i64 = -32002;
/// 2025-11-25: the user has to open a URL first. Not to be sent to modern clients.
pub const LEGACY_URL_ELICITATION: i64 = -32042;
/// 2026-07-28: the protocol version is not spoken here.
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// The backend cannot take calls now. Not sent.
pub const BACKEND_UNAVAILABLE: i64 = 7001;
/// The gate's queue is full. Not sent.
pub const QUEUE_FULL: i64 = 7002;
/// The call was held as long as it may be. Not sent.
pub const HOLD_DEADLINE: i64 = 7003;
/// The target died, or fell silent, with the call in flight: it may have run.
pub const OUTCOME_UNKNOWN: i64 = 7004;
/// The backend keeps dying young. Not sent.
pub const CRASH_LOOP: i64 = 7005;
/// The call was meant for state that died with an earlier incarnation. Not sent.
pub const STATE_LOST: i64 = 7006;
/// A policy denied the call.
pub const DENIED: i64 = 7008;
/// Several backends may take the call and no policy chose.
pub const AMBIGUOUS: i64 = 7009;
/// A policy component failed and its `on-fault` is `closed`.
pub const POLICY_FAULT: i64 = 7010;
/// The agent cancelled the call.
pub const CANCELLED: i64 = 7011;
