//! The scenarios of the suite's client half: which the router passes, which in part, and which are not for a router.
//!
//! The router has credentials of its own for a server: those that its operator wrote down (`[backends.NAME.oauth]`, the
//! client-credentials grant). No user is in front of it, and no browser. What the suite checks on the way of the
//! authorization code is therefore left out by name, check by check where the rest of a scenario applies.

/// Nothing in them may fail, in any revision that has them.
pub const PASSED: &[&str] = &[
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
    "request-metadata",
    "sep-2322-client-request-state",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
    "json-schema-2020-12-preservation",
    "auth/pre-registration",
    "auth/metadata-issuer-mismatch",
    // An extension, which is required nowhere, and just what the router does.
    "auth/client-credentials-basic",
];

/// The request that a user's browser makes, and what registers a client for it.
const BY_BROWSER: &[&str] = &[
    "client-registration",
    "authorization-request",
    "resource-parameter-in-authorization",
];
/// The same where the suite does not care how the client got its id.
const NAMES_RESOURCE: &[&str] = &["resource-parameter-in-authorization"];
/// A new authorization server gets nothing before the operator has written it down: that no secret goes there is seen.
const REGISTERS: &[&str] = &["sep-2352-reregister-on-as-change"];

/// Of these the checks named here fail, and no other.
pub const IN_PART: &[(&str, &[&str])] = &[
    ("auth/metadata-default", BY_BROWSER),
    ("auth/metadata-var1", BY_BROWSER),
    ("auth/metadata-var2", BY_BROWSER),
    ("auth/metadata-var3", BY_BROWSER),
    ("auth/token-endpoint-auth-basic", NAMES_RESOURCE),
    ("auth/token-endpoint-auth-post", NAMES_RESOURCE),
    ("auth/authorization-server-migration", REGISTERS),
];

const SCOPE: &str =
    "judges the scope of the authorization request, which the router never makes: its scopes are configured";
const ANSWER: &str = "judges what a client does with the redirect of the user's browser; the router has none";
const OFFLINE: &str = "judges the scope that the user is asked for to stay signed in; the router needs no user";
const OLD: &str = "belongs to 2025-03-26, for which nothing is required, and to the authorization code";
const SKILLS: &str = "an extension (SEP-2640), required nowhere: what a host does with skills before it loads them";
const DPOP: &str = "an extension, required nowhere: tokens bound to a key, got by an authorization code";

/// Not for a router: each with the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    (
        "auth/basic-cimd",
        "judges the client's id in the authorization request, which the router never makes",
    ),
    ("auth/scope-from-www-authenticate", SCOPE),
    ("auth/scope-from-scopes-supported", SCOPE),
    ("auth/scope-omitted-when-undefined", SCOPE),
    ("auth/scope-step-up", SCOPE),
    (
        "auth/scope-retry-limit",
        "counts authorization requests, of which the router makes none",
    ),
    (
        "auth/token-endpoint-auth-none",
        "a client without a secret, to which this grant is not open (RFC 6749, section 4.4)",
    ),
    (
        "auth/resource-mismatch",
        "judges the reading of the server's own metadata; the router's authorization server and resource are configured",
    ),
    ("auth/offline-access-scope", OFFLINE),
    ("auth/offline-access-not-supported", OFFLINE),
    ("auth/iss-supported", ANSWER),
    ("auth/iss-not-advertised", ANSWER),
    ("auth/iss-supported-missing", ANSWER),
    ("auth/iss-wrong-issuer", ANSWER),
    ("auth/iss-unexpected", ANSWER),
    ("auth/iss-normalized", ANSWER),
    (
        "auth/client-credentials-jwt",
        "an extension, required nowhere: the router proves who it is by its secret, and signs nothing",
    ),
    (
        "auth/enterprise-managed-authorization",
        "an extension, required nowhere: trades in the id token of a user, whom the router does not have",
    ),
    ("auth/dpop", DPOP),
    ("auth/dpop-nonce", DPOP),
    (
        "auth/wif-jwt-bearer",
        "an extension, required nowhere: trades in the token of a workload; the router has its secret",
    ),
    ("auth/2025-03-26-oauth-metadata-backcompat", OLD),
    ("auth/2025-03-26-oauth-endpoint-fallback", OLD),
    ("sep-2640-client-no-prefetch", SKILLS),
    ("sep-2640-client-verify-digest", SKILLS),
    ("sep-2640-client-verify-size", SKILLS),
    ("sep-2640-client-verify-frontmatter", SKILLS),
];
