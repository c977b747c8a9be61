//! What a modern request says of itself: its envelope, and the headers that must say the same.

use std::borrow::Cow;

use serde_json::json;

use super::{error_object, input, progress_token};
use crate::call::Subject;
use crate::transport::HttpRequest;
use crate::wire::{Era, Index, Object, Request, Version, codes, header, method};

/// What a modern request says of itself.
pub(super) struct Envelope<'a> {
    /// What it is about.
    pub(super) subject: Option<Subject>,
    /// Its `_meta`, and what stands in there.
    pub(super) meta: &'a str,
    pub(super) token: Option<String>,
    pub(super) log_level: Option<&'static str>,
    /// What the client can do.
    pub(super) capabilities: &'a str,
    /// What it brings back of a call that it makes again.
    pub(super) state: Option<String>,
}

/// Checks the envelope and the headers that mirror it. An error is the response's `error`, for status 400.
pub(super) fn envelope<'a>(request: &HttpRequest, message: &Request<'a>) -> Result<Envelope<'a>, String> {
    let invalid = |why: &str| error_object(codes::INVALID_PARAMS, why, None);
    let parsed;
    let params = match &message.members {
        Some(params) => params,
        None => {
            parsed = Object::parse(message.params.unwrap_or("{}")).map_err(|e| invalid(&e.to_string()))?;
            &parsed
        }
    };
    let Some(raw_meta) = params.get_borrowed("_meta") else {
        return Err(invalid(
            "params._meta is missing: it carries the protocol version and the client's capabilities",
        ));
    };
    let meta = Object::parse(raw_meta).map_err(|e| invalid(&format!("_meta: {e}")))?;
    let Some(version) = meta.get_str(method::META_VERSION) else {
        return Err(invalid(&format!("_meta[\"{}\"] is missing", method::META_VERSION)));
    };
    let Some(capabilities) = meta
        .get_borrowed(method::META_CAPABILITIES)
        .filter(|c| c.starts_with('{'))
    else {
        return Err(invalid(&format!(
            "_meta[\"{}\"] is missing or no object",
            method::META_CAPABILITIES
        )));
    };
    mirrored(request, header::VERSION, &version)?;
    if !Version::parse(&version).is_some_and(|v| v.era() == Era::Modern) {
        let data = json!({ "supported": [Version::NEWEST_MODERN.as_str()], "requested": version });
        return Err(error_object(
            codes::UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            Some(data),
        ));
    }
    mirrored(request, header::METHOD, &message.method)?;
    let named = match message.method.as_ref() {
        method::TOOLS_CALL | method::PROMPTS_GET => params.get_str("name"),
        method::RESOURCES_READ => params.get_str("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => params.get_str("taskId"),
        _ => None,
    };
    if let Some(name) = &named {
        mirrored(request, header::NAME, name)?;
    }
    let log_level = match meta.get_str(method::META_LOG_LEVEL) {
        None => None,
        Some(level) => {
            let known = method::LOG_LEVELS.into_iter().find(|l| *l == level);
            Some(known.ok_or_else(|| invalid(&format!("logLevel is one of {}", method::LOG_LEVELS.join(", "))))?)
        }
    };
    let subject = match method::is_legacy_only(&message.method) {
        // It is refused as unknown, whatever it is about.
        true => None,
        false => Subject::of(&message.method, params).map_err(|why| invalid(&why))?,
    };
    Ok(Envelope {
        subject,
        meta: raw_meta,
        token: progress_token(&meta).map_err(|why| invalid(&why))?,
        log_level,
        capabilities,
        state: params.get_str(input::STATE).map(Cow::into_owned),
    })
}

/// A header must say what the body says (SEP-2243): whoever routes by the one must not be told another story.
fn mirrored(request: &HttpRequest, name: &str, body: &str) -> Result<(), String> {
    if request.local {
        return Ok(());
    }
    let raw = request.headers.get(name).map(|h| h.to_str().unwrap_or_default());
    match raw {
        Some(raw) if header::value(raw).as_deref() == Some(body) => Ok(()),
        _ => Err(mismatch(name, raw, Some(body))),
    }
}

/// The same for the arguments that the tool's schema wants mirrored.
pub(super) fn arguments_mirrored(
    request: &HttpRequest,
    params: Option<&str>,
    wanted: &[header::Mirrored],
) -> Result<(), String> {
    let params = params.unwrap_or("{}");
    let index = Index::new(params).map_err(|why| error_object(codes::INVALID_PARAMS, &why, None))?;
    for one in wanted {
        let raw = request.headers.get(&one.header).map(|h| h.to_str().unwrap_or_default());
        let argument = index.span(&one.pointer).map(|span| &params[span]);
        if !header::says(raw, argument) {
            return Err(mismatch(&one.header, raw, argument));
        }
    }
    Ok(())
}

fn mismatch(name: &str, header: Option<&str>, body: Option<&str>) -> String {
    let (header, body) = (header.unwrap_or("(missing)"), body.unwrap_or("(missing)"));
    error_object(
        codes::HEADER_MISMATCH,
        &format!("the header {name} does not say what the body says"),
        Some(json!({ "mismatch": { "name": name, "header": header, "body": body } })),
    )
}
