//! A call as it is written to a target: the id, the name, the progress token and the era's `_meta` are the
//! router's, everything else stays the bytes it was.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::call::{Call, Introduction};
use crate::wire::json::{push_quoted, quote};
use crate::wire::{Era, Object, method};

/// What a target needs to be told besides the params.
pub(super) struct Shape<'a> {
    /// The id at this target; also the progress token there.
    pub id: u64,
    /// The name or URI of what the call is about there.
    pub name: Option<&'a str>,
    /// The era spoken there.
    pub era: Era,
    /// Whether progress is wanted.
    pub progress: bool,
    /// The least severity of log messages wanted, for a modern target.
    pub log_level: Option<&'a str>,
}

/// The line, newline included.
pub(super) fn line(call: &Call, params: &str, shape: &Shape<'_>) -> Result<Vec<u8>, String> {
    let known_as = call.subject.as_ref().map(|s| s.key.as_str());
    let renamed = shape.name.filter(|n| Some(*n) != known_as);
    let mut out = String::with_capacity(params.len() + call.method.len() + 384);
    // Writing to a string cannot fail.
    let _ = write!(out, "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":", shape.id);
    push_quoted(&mut out, &call.method);
    out.push_str(",\"params\":");
    if renamed.is_none() && call.params.meta().is_none() {
        // Nothing in it is the router's: all of it is copied, unread.
        match meta(call, None, shape)? {
            None => out.push_str(params),
            Some(meta) => push_with_meta(&mut out, params, &meta),
        }
    } else {
        let mut object = Object::parse(params).map_err(|e| e.to_string())?;
        if let Some(name) = renamed {
            rename(&mut object, &call.method, name)?;
        }
        let meta = meta(call, object.get("_meta"), shape)?;
        match meta {
            Some(meta) => object.set("_meta", meta),
            None => object.remove("_meta"),
        }
        object.write(&mut out);
    }
    out.push_str("}\n");
    // A child reads lines: what an agent spread over several must become one.
    Ok(
        if memchr::memchr2(b'\n', b'\r', &out.as_bytes()[..out.len() - 1]).is_some() {
            one_line(&out)
        } else {
            out.into_bytes()
        },
    )
}

/// Puts the target's name of what the call is about where its method has it.
fn rename(params: &mut Object<'_>, method: &str, name: &str) -> Result<(), String> {
    if method != method::COMPLETE {
        params.set("name", quote(name));
        return Ok(());
    }
    let whose = params.get("ref").unwrap_or("{}").to_owned();
    let mut whose = Object::parse(&whose).map_err(|e| format!("ref: {e}"))?;
    whose.set("name", quote(name));
    let whose = whose.to_text();
    params.set("ref", whose);
    Ok(())
}

/// `params`, an object without `_meta`, with that member at its end.
fn push_with_meta(out: &mut String, params: &str, meta: &str) {
    let open = params.trim_ascii_end();
    let open = open.strip_suffix('}').unwrap_or(open);
    out.push_str(open);
    if !open.trim_ascii_end().ends_with('{') {
        out.push(',');
    }
    for part in ["\"_meta\":", meta, "}"] {
        out.push_str(part);
    }
}

/// JSON text has line breaks only between tokens, where a space means the same.
fn one_line(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = text
        .bytes()
        .map(|b| if b == b'\n' || b == b'\r' { b' ' } else { b })
        .collect();
    if let Some(last) = bytes.last_mut() {
        *last = b'\n';
    }
    bytes
}

/// A legacy agent said in `initialize` what a modern request says each time.
fn introduce<'a>(meta: &mut Object<'a>, call: &'a Call) {
    match &call.initialize {
        Some(introduction) => {
            for (key, value) in introduction.modern_meta() {
                meta.set(key, value);
            }
        }
        None => {
            for (key, value) in Introduction::default().modern_meta() {
                meta.set(key, value.into_owned());
            }
        }
    }
}

fn meta<'a>(call: &'a Call, raw: Option<&str>, shape: &Shape<'_>) -> Result<Option<Cow<'a, str>>, String> {
    let plain = raw.is_none() && !shape.progress && (shape.log_level.is_none() || shape.era == Era::Legacy);
    if plain {
        // The usual call: nothing to add, or what its agent always says.
        let bridged = call.era == Era::Legacy && shape.era == Era::Modern;
        return Ok(bridged.then(|| match &call.initialize {
            Some(introduction) => Cow::Borrowed(introduction.only_modern_meta()),
            None => Cow::Owned(Introduction::default().only_modern_meta().to_owned()),
        }));
    }
    let mut meta = match raw {
        Some(raw) => Object::parse(raw).map_err(|e| format!("_meta: {e}"))?,
        None => Object::default(),
    };
    if meta.get(method::META_PROGRESS).is_some() || shape.progress {
        if shape.progress {
            meta.set(method::META_PROGRESS, shape.id.to_string());
        } else {
            meta.remove(method::META_PROGRESS);
        }
    }
    match (call.era, shape.era) {
        (_, Era::Legacy) => {
            for key in [
                method::META_VERSION,
                method::META_CAPABILITIES,
                method::META_CLIENT,
                method::META_LOG_LEVEL,
            ] {
                meta.remove(key);
            }
        }
        (Era::Legacy, Era::Modern) => {
            introduce(&mut meta, call);
            if let Some(level) = shape.log_level {
                meta.set(method::META_LOG_LEVEL, quote(level));
            }
        }
        (Era::Modern, Era::Modern) => {}
    }
    Ok((!meta.is_empty()).then(|| meta.to_text().into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::call::{AgentKey, Subject, Trail};
    use crate::wire::{Kind, RawJson};

    fn encoded(era: Era, params: &str, shape: &Shape<'_>) -> String {
        let call = Call {
            id: 1,
            method: "tools/call".into(),
            subject: Some(Subject {
                kind: Kind::Tools,
                key: "a__echo".into(),
            }),
            endpoint: Arc::from(""),
            path_backend: None,
            agent: AgentKey::Session(1),
            principal: None,
            era,
            headers: http::HeaderMap::new(),
            initialize: None,
            roots: None,
            params: RawJson::from(params.to_owned()).try_into().unwrap(),
            trail: Trail::default(),
        };
        String::from_utf8(line(&call, params, shape).unwrap()).unwrap()
    }

    #[test]
    fn what_the_router_does_not_own_keeps_its_bytes() {
        let shape = Shape {
            id: 42,
            name: Some("echo"),
            era: Era::Legacy,
            progress: true,
            log_level: None,
        };
        let params = r#"{"name":"a__echo","arguments":{"x": 1.0 ,"é":"\u00e9"},"_meta":{"progressToken":"t","k": [1, 2]},"more":1e5}"#;
        insta::assert_snapshot!(encoded(Era::Legacy, params, &shape), @r#"{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"name":"echo","arguments":{"x": 1.0 ,"é":"\u00e9"},"_meta":{"progressToken":42,"k":[1, 2]},"more":1e5}}"#);
        let spread = "{\"name\":\"a__echo\",\r\n \"arguments\":{}}";
        let plain = Shape {
            name: None,
            progress: false,
            ..shape
        };
        assert_eq!(
            encoded(Era::Legacy, spread, &plain),
            "{\"jsonrpc\":\"2.0\",\"id\":42,\"method\":\"tools/call\",\"params\":{\"name\":\"a__echo\",   \"arguments\":{}}}\n"
        );
    }

    #[test]
    fn a_meta_is_added_to_params_that_have_none_and_only_to_those() {
        let shape = Shape {
            id: 7,
            name: None,
            era: Era::Legacy,
            progress: true,
            log_level: None,
        };
        for (params, sent) in [
            ("{}", r#"{"_meta":{"progressToken":7}}"#),
            ("{ }", r#"{ "_meta":{"progressToken":7}}"#),
            (r#"{"a":"{" }"#, r#"{"a":"{" ,"_meta":{"progressToken":7}}"#),
            (
                r#"{"\u005fmeta":{"progressToken":"t"}}"#,
                r#"{"_meta":{"progressToken":7}}"#,
            ),
        ] {
            let line = encoded(Era::Legacy, params, &shape);
            assert!(line.ends_with(&format!("\"params\":{sent}}}\n")), "{line}");
        }
    }

    #[test]
    fn each_era_gets_the_meta_it_knows() {
        let modern = r#"{"name":"a__echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"x":{}},"traceparent":"00"}}"#;
        let shape = Shape {
            id: 7,
            name: Some("echo"),
            era: Era::Legacy,
            progress: false,
            log_level: Some("debug"),
        };
        insta::assert_snapshot!(encoded(Era::Modern, modern, &shape), @r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","_meta":{"traceparent":"00"}}}"#);
        let up = Shape {
            era: Era::Modern,
            ..shape
        };
        assert!(encoded(Era::Modern, modern, &up).contains(r#""io.modelcontextprotocol/clientCapabilities":{"x":{}}"#));
        let bridged = encoded(Era::Legacy, r#"{"name":"a__echo"}"#, &up);
        assert!(
            bridged.contains(r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#)
                && bridged.contains(r#"logLevel":"debug""#),
            "{bridged}"
        );
    }
}
