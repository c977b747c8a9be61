//! The demo server itself: its state, and the answer to every method but the tools' own work.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;
use tokio::sync::watch;

use super::jobs::{Job, Work};
use super::wire::{self, Filter, Malformed, Message, Meta};
use super::{EraChoice, Options, tools};

/// The stateless revision.
pub const MODERN: &str = "2026-07-28";
/// The revisions with a handshake, newest first.
pub const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

const CAPABILITIES: &str = r#""capabilities":{"tools":{"listChanged":true},"logging":{}}"#;
const INSTRUCTIONS: &str = r#","instructions":"A scripted server for trying out and testing a router.""#;
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// Which of the two wire protocols a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Legacy,
    Modern,
}

/// What the transport has to do after [`Server::answer`].
pub enum Next {
    /// Nothing was written: the message was no request.
    Nothing,
    /// One answer was written.
    Answered,
    /// Notifications and then the answer were written.
    Told,
    /// An `initialize` was answered: HTTP mints a session id.
    Welcomed,
    /// An error was written; HTTP sends it with this status.
    Refused(u16),
    /// The answer takes time.
    Later(Job),
    /// The running request with this raw id is to be stopped without an answer.
    Cancel(String),
    /// The process is to die, after what is already answered was written.
    Crash,
}

/// One process's state. Each process serves one transport, so this is the session as well.
pub struct Server {
    pub options: Options,
    info: String,
    modern_tail: String,
    pub(super) file: Option<File>,
    pub(super) order_log: Option<File>,
    pub(super) counter: AtomicU64,
    pub(super) extra: Mutex<Vec<String>>,
    pub(super) changes: watch::Sender<u64>,
    initialized: AtomicBool,
    level: AtomicU8,
}

impl Server {
    /// Opens the files the options name.
    pub fn new(options: Options) -> io::Result<Self> {
        let open = |path: &Option<_>| path.as_deref().map(append_to).transpose();
        let info = format!(
            r#"{{"name":{},"title":"Pointsman demo server","version":"{}"}}"#,
            wire::quote(&options.name),
            env!("CARGO_PKG_VERSION")
        );
        Ok(Self {
            modern_tail: format!(r#","resultType":"complete","_meta":{{"io.modelcontextprotocol/serverInfo":{info}}}"#),
            info,
            file: open(&options.file)?,
            order_log: open(&options.order_log)?,
            counter: AtomicU64::new(0),
            extra: Mutex::new(options.extra_tool.clone()),
            changes: watch::Sender::new(0),
            initialized: AtomicBool::new(false),
            level: AtomicU8::new(1),
            options,
        })
    }

    /// The era of a message; a legacy-only server does not even see the modern envelope.
    pub fn era(&self, message: &Message<'_>) -> Era {
        let modern = match self.options.era {
            EraChoice::Legacy => false,
            EraChoice::Modern => true,
            EraChoice::Both => meta(message).is_some_and(|meta| meta.version.is_some()),
        };
        if modern { Era::Modern } else { Era::Legacy }
    }

    /// Answers a message that could not be parsed.
    pub fn refuse(&self, malformed: &Malformed<'_>, out: &mut Vec<u8>) -> Next {
        wire::push_error(out, malformed.id, malformed.code, &malformed.text, None);
        Next::Refused(400)
    }

    /// Handles one message. What can be answered at once is appended to `out`.
    pub fn answer(&self, message: &Message<'_>, era: Era, out: &mut Vec<u8>) -> Next {
        let Some(method) = message.method.as_deref() else {
            // A response: this server asks nothing, so it is stale or a mistake.
            return Next::Nothing;
        };
        let Some(id) = message.id else {
            return self.note(method, message);
        };
        if era == Era::Modern
            && let Err(next) = self.check_envelope(id, method, message, out)
        {
            return next;
        }
        let tail = self.tail(era);
        match (method, era) {
            ("tools/call", _) => self.call(id, message, era, out),
            ("tools/list", _) => {
                let list = tools::list(&self.extra_tools());
                let cache = match era {
                    Era::Legacy => "",
                    Era::Modern => r#","ttlMs":0,"cacheScope":"public""#,
                };
                wire::push_result(out, id, &["\"tools\":", &list, cache], tail);
                Next::Answered
            }
            ("server/discover", Era::Modern) | ("initialize", Era::Legacy) => self.shake_hands(id, message, era, out),
            ("ping", Era::Legacy) => {
                wire::push_result(out, id, &[], tail);
                Next::Answered
            }
            ("logging/setLevel", Era::Legacy) => {
                let params = message.params.as_ref();
                let level = params.and_then(|params| params.level.as_deref());
                let Some(level) = level.and_then(severity) else {
                    wire::push_error(out, Some(id), wire::INVALID_PARAMS, "unknown level", None);
                    return Next::Refused(200);
                };
                self.level.store(level, Ordering::Relaxed);
                wire::push_result(out, id, &[], tail);
                Next::Answered
            }
            ("subscriptions/listen", Era::Modern) => {
                let params = message.params.as_ref();
                let Some(Filter { tools_list_changed }) = params.and_then(|params| params.notifications.as_ref())
                else {
                    let text = "notifications is required";
                    wire::push_error(out, Some(id), wire::INVALID_PARAMS, text, None);
                    return Next::Refused(200);
                };
                // Subscribed here and not when the job runs: a change in the very next message counts.
                let changes = (*tools_list_changed == Some(true)).then(|| self.changes.subscribe());
                Next::Later(Job::new(id, Work::Listen { changes }))
            }
            _ => {
                let text = format!("unknown method {method}");
                wire::push_error(out, Some(id), wire::METHOD_NOT_FOUND, &text, None);
                Next::Refused(if era == Era::Modern { 404 } else { 200 })
            }
        }
    }

    /// The members that close every result of an era.
    pub fn tail(&self, era: Era) -> &str {
        match era {
            Era::Legacy => "",
            Era::Modern => &self.modern_tail,
        }
    }

    /// Whether a legacy client has introduced itself.
    pub fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Relaxed)
    }

    /// Whether the caller of this request wants log messages of this level.
    pub(super) fn wants_log(&self, message: &Message<'_>, era: Era, level: u8) -> bool {
        let least = match era {
            Era::Legacy => Some(self.level.load(Ordering::Relaxed)),
            Era::Modern => meta(message)
                .and_then(|meta| meta.log_level.as_deref())
                .and_then(severity),
        };
        least.is_some_and(|least| level >= least)
    }

    pub(super) fn extra_tools(&self) -> MutexGuard<'_, Vec<String>> {
        self.extra.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, method: &str, message: &Message<'_>) -> Next {
        let params = message.params.as_ref();
        match params.and_then(|params| params.request_id) {
            Some(id) if method == "notifications/cancelled" => Next::Cancel(id.get().to_owned()),
            _ => Next::Nothing,
        }
    }

    fn check_envelope(
        &self,
        id: &RawValue,
        method: &str,
        message: &Message<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Next> {
        let meta = meta(message);
        let version = meta.and_then(|meta| meta.version.as_deref());
        let requested = match (version, method) {
            // A legacy client knocking at a modern-only server learns what to speak instead.
            (None, "initialize") => {
                let params = message.params.as_ref();
                params.and_then(|params| params.protocol_version.as_deref())
            }
            _ => version.filter(|version| *version != MODERN),
        };
        if let Some(requested) = requested {
            let data = format!(r#"{{"supported":["{MODERN}"],"requested":{}}}"#, wire::quote(requested));
            let text = "unsupported protocol version";
            wire::push_error(out, Some(id), wire::UNSUPPORTED_VERSION, text, Some(&data));
            return Err(Next::Refused(400));
        }
        let missing = match meta {
            Some(meta) if meta.version.is_some() && meta.capabilities.is_some() => return Ok(()),
            Some(meta) if meta.version.is_some() => "clientCapabilities",
            _ => "protocolVersion",
        };
        let text = format!("_meta lacks io.modelcontextprotocol/{missing}");
        wire::push_error(out, Some(id), wire::INVALID_PARAMS, &text, None);
        Err(Next::Refused(400))
    }

    fn shake_hands(&self, id: &RawValue, message: &Message<'_>, era: Era, out: &mut Vec<u8>) -> Next {
        if self.options.silent_handshake {
            return Next::Later(Job::new(id, Work::Hang));
        }
        if self.options.refuse_handshake {
            let text = "this server refuses the handshake";
            wire::push_error(out, Some(id), wire::INTERNAL_ERROR, text, None);
            return Next::Refused(200);
        }
        if era == Era::Modern {
            let versions = format!(r#""supportedVersions":["{MODERN}"],"#);
            let cache = r#","ttlMs":3600000,"cacheScope":"public""#;
            let members = [&versions, CAPABILITIES, INSTRUCTIONS, cache];
            wire::push_result(out, id, &members, self.tail(era));
            return Next::Answered;
        }
        let params = message.params.as_ref();
        let wanted = params.and_then(|params| params.protocol_version.as_deref());
        let version = LEGACY
            .into_iter()
            .find(|known| wanted == Some(known))
            .unwrap_or(LEGACY[0]);
        self.initialized.store(true, Ordering::Relaxed);
        let head = format!(r#""protocolVersion":"{version}","#);
        let members = [&head, CAPABILITIES, ",\"serverInfo\":", &self.info, INSTRUCTIONS];
        wire::push_result(out, id, &members, "");
        Next::Welcomed
    }
}

/// A log level's rank, from debug up.
pub fn severity(level: &str) -> Option<u8> {
    let rank = LEVELS.iter().position(|known| *known == level)?;
    u8::try_from(rank).ok()
}

fn meta<'m, 'a>(message: &'m Message<'a>) -> Option<&'m Meta<'a>> {
    message.params.as_ref()?.meta.as_ref()
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}
