//! `mcpServers` JSON as desktop clients keep it: Claude Desktop, Cursor, Windsurf (`mcpServers`), VS Code (`servers`).

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::value::RawValue;

use super::doc::Doc;
use super::remote::{header_fault, leads_back, url_fault};
use super::{Backend, Place, Remote, Transport, names};
use crate::wire::json::{Object, unquote};

/// The keys under which clients keep their servers.
const HOLDERS: [&str; 2] = ["mcpServers", "servers"];

/// Adds the servers of a file to `into`. Unknown keys are passed over: clients keep much more in these files.
/// `own` is where this router listens: its clients' files name it too.
pub(super) fn read(doc: &Doc<'_>, general: &Backend, own: SocketAddr, into: &mut BTreeMap<String, Backend>) {
    let text = without_comments(doc.text);
    let file = File {
        doc,
        text: &text,
        cleaned: RefCell::default(),
        own,
    };
    let Some(top) = file.object(&text, "the file") else {
        doc.notes.mark_incomplete();
        return;
    };
    doc.notes.put("", doc.place(0));
    let mut found = false;
    for (key, servers) in top.iter().filter(|(key, _)| HOLDERS.contains(key)) {
        found = true;
        match file.object(servers, &format!("`{key}`")) {
            Some(servers) => servers
                .iter()
                .for_each(|(name, entry)| file.entry(name, entry, general, into)),
            None => doc.notes.mark_incomplete(),
        }
    }
    if !found {
        let hint = "the servers of a client stand in `mcpServers`, or `servers` for VS Code";
        doc.fault(0, "holds no servers", Some(hint.to_owned()));
        doc.notes.mark_incomplete();
    }
}

/// Whether a client's server is the router itself, over stdio: as its own backend it would call itself for ever.
fn is_this_router(backend: &Backend) -> bool {
    let program = std::path::Path::new(&backend.command).file_stem();
    program.is_some_and(|stem| stem == "pointsman") && backend.args.first().is_some_and(|first| first == "connect")
}

/// A file whose comments were blanked out: every value is a slice of it, so it has a place.
struct File<'f> {
    doc: &'f Doc<'f>,
    text: &'f str,
    /// The names of its servers here, with those that they have in the file.
    cleaned: RefCell<BTreeMap<String, String>>,
    own: SocketAddr,
}

impl File<'_> {
    /// Where a slice of the text begins.
    fn at(&self, slice: &str) -> usize {
        (slice.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    /// `slice` as an object.
    fn object<'s>(&self, slice: &'s str, label: &str) -> Option<Object<'s>> {
        match Object::parse(slice) {
            Ok(object) => Some(object),
            Err(error) => {
                // The place is told by line and column.
                let full = error.to_string();
                let words = full.rsplit_once(" at byte ").map_or(full.as_str(), |(words, _)| words);
                self.doc.fault(
                    self.at(slice) + error.at,
                    format!("{label} cannot be read: {words}"),
                    None,
                );
                None
            }
        }
    }

    fn string<'s>(&self, raw: &'s str, label: &str) -> Option<Cow<'s, str>> {
        let text = unquote(raw);
        if text.is_none() {
            let hint = (!raw.starts_with(['{', '[', 'n'])).then(|| "put it in quotes".to_owned());
            self.doc.fault(self.at(raw), format!("{label} must be a string"), hint);
        }
        text
    }

    fn entry(&self, name: &str, raw: &str, general: &Backend, into: &mut BTreeMap<String, Backend>) {
        let doc = self.doc;
        let at = self.at(raw);
        let Some(entry) = self.object(raw, &format!("the server `{name}`")) else {
            doc.notes.mark_incomplete();
            return;
        };
        if entry.get("disabled") == Some("true") {
            return;
        }
        let mut backend = general.clone();
        let url = ["url", "serverUrl", "httpUrl"].iter().find_map(|key| entry.get(key));
        match url.filter(|url| *url != "null") {
            Some(url) => match self.remote(name, url, &entry) {
                Some(remote) => {
                    backend.replicas = remote.targets();
                    backend.env.clear();
                    backend.cwd = None;
                    backend.remote = Some(remote);
                }
                None => return,
            },
            None => self.program(name, at, &entry, &mut backend),
        }
        if is_this_router(&backend) {
            let message = format!("the server `{name}` is left out: it is this router, as the client starts it");
            doc.notes.warn(doc.place(at), message, None);
            return;
        }
        if let Some(name) = self.name(name, at) {
            doc.claim(at, "backend", &name, into.contains_key(&name));
            into.entry(name).or_insert(backend);
        }
    }

    /// The name of a server here. The file belongs to another program, which allows other names.
    fn name(&self, name: &str, at: usize) -> Option<String> {
        let doc = self.doc;
        let cleaned = match names::fault(name) {
            None if name == "default" => "default-server".to_owned(),
            None => name.to_owned(),
            Some(fault) => match names::suggestion(name) {
                Some(cleaned) => cleaned,
                None => {
                    doc.fault(at, format!("the name of the server `{name}` {fault}"), None);
                    return None;
                }
            },
        };
        let mut known = self.cleaned.borrow_mut();
        if let Some(other) = known.get(&cleaned) {
            let message = format!("the servers `{other}` and `{name}` would both be named `{cleaned}` here");
            doc.fault(at, message, Some("rename one of them".to_owned()));
            return None;
        }
        if cleaned != name {
            let message = format!("the server `{name}` is named `{cleaned}` here");
            let hint = "not every name can stand in paths and names of tools";
            doc.notes.warn(doc.place(at), message, Some(hint.to_owned()));
        }
        known.insert(cleaned.clone(), name.to_owned());
        Some(cleaned)
    }

    fn program(&self, name: &str, at: usize, entry: &Object<'_>, backend: &mut Backend) {
        let doc = self.doc;
        match entry.get("command") {
            None => doc.fault(at, format!("the server `{name}` has no `command`"), None),
            Some(raw) => {
                let text = self.string(raw, "`command`");
                if let Some(text) = text.and_then(|text| doc.program(self.at(raw), "`command`", &text)) {
                    backend.command = text;
                }
            }
        }
        // Clients write `null` for what is not set.
        if let Some(raw) = entry.get("cwd").filter(|raw| *raw != "null")
            && let Some(text) = self.string(raw, "`cwd`")
        {
            backend.cwd = doc.path(self.at(raw), "`cwd`", &text);
        }
        if let Some(raw) = entry.get("args").filter(|raw| *raw != "null") {
            match serde_json::from_str::<Vec<&RawValue>>(raw) {
                Ok(items) => {
                    backend.args = items
                        .iter()
                        .filter_map(|item| self.value(item.get(), "an item of `args`"))
                        .collect()
                }
                Err(_) => doc.fault(self.at(raw), "`args` must be a list of strings", None),
            }
        }
        if let Some(raw) = entry.get("envFile").filter(|raw| *raw != "null") {
            let message = format!("`envFile` of the server `{name}` is not read");
            let hint = Some("give its variables in `env`".to_owned());
            doc.notes.warn(doc.place(self.at(raw)), message, hint);
        }
        if let Some(raw) = entry.get("env").filter(|raw| *raw != "null")
            && let Some(env) = self.object(raw, "`env`")
        {
            for (key, raw) in env.iter() {
                if doc.check_variable(self.at(raw), key)
                    && let Some(value) = self.value(raw, &format!("`{key}`"))
                {
                    backend.env.insert(key.to_owned(), value);
                }
            }
        }
    }

    /// A server over HTTP. `None` where it is left out, or a problem was told.
    fn remote(&self, name: &str, raw: &str, entry: &Object<'_>) -> Option<Remote> {
        let doc = self.doc;
        let url = self.value(raw, "`url`")?;
        if let Some(hint) = url_fault(&url) {
            doc.fault(
                self.at(raw),
                format!("`url` is no URL of a server: `{url}`"),
                Some(hint.to_owned()),
            );
            return None;
        }
        if leads_back(&url, self.own) {
            // No fault: the file is the client's own, and the router itself stands in there like this.
            let message = format!("the server `{name}` is left out: it is this router");
            doc.notes.warn(doc.place(self.at(raw)), message, None);
            return None;
        }
        let mut remote = Remote::from(Place::Urls(vec![url]));
        // `httpUrl` and most words say streamable HTTP, which some servers of that name still do not speak.
        if entry.get_str("type").or(entry.get_str("transport")).as_deref() == Some("sse") {
            remote.transport = Transport::Sse;
        }
        if let Some(raw) = entry.get("headers").filter(|raw| *raw != "null")
            && let Some(headers) = self.object(raw, "`headers`")
        {
            for (key, raw) in headers.iter() {
                let Some(value) = self.value(raw, &format!("`{key}`")) else {
                    continue;
                };
                match header_fault(key, &value) {
                    None => {
                        remote.headers.insert(key.to_owned(), value);
                    }
                    Some(why) => doc.fault(self.at(raw), format!("the header `{key}` {why}"), None),
                }
            }
        }
        Some(remote)
    }

    fn value(&self, raw: &str, label: &str) -> Option<String> {
        let text = self.string(raw, label)?;
        self.doc.expand(self.at(raw), label, &text)
    }
}

/// `text` with comments and trailing commas, which VS Code allows, turned into spaces: every place stays.
fn without_comments(text: &str) -> String {
    let mut out: Vec<u8> = text.as_bytes().to_vec();
    // A byte order mark is three bytes, and so are three spaces.
    if out.starts_with(b"\xef\xbb\xbf") {
        out[..3].fill(b' ');
    }
    let mut comma = None;
    let mut at = 0;
    while at < out.len() {
        let end = match (out[at], out.get(at + 1)) {
            (b'"', _) => string_end(&out, at),
            (b'/', Some(b'/')) => blank(&mut out, at, b"\n"),
            (b'/', Some(b'*')) => blank(&mut out, at, b"*/"),
            _ => at + 1,
        };
        match out[at] {
            b',' => comma = Some(at),
            b']' | b'}' => {
                if let Some(comma) = comma.take() {
                    out[comma] = b' ';
                }
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => comma = None,
        }
        at = end;
    }
    // Only whole characters were replaced, by spaces.
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// The end of the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

/// Blanks the comment that begins at `at` and ends with `close`; line ends stay, so lines keep their numbers.
fn blank(bytes: &mut [u8], at: usize, close: &[u8]) -> usize {
    let body = at + 2;
    let end = memchr::memmem::find(&bytes[body..], close).map_or(bytes.len(), |found| body + found + close.len());
    for byte in &mut bytes[at..end] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
    end
}
