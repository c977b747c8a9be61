//! A list of a target, fetched page by page. Pure.

use super::handshake::{modern_meta, short};
use super::lists::{Item, parse_page};
use crate::wire::message::write_request;
use crate::wire::{Era, Kind, Object, method};

/// Pages of a list at most: a server whose cursor never ends must not hold the handshake for ever.
const MAX_PAGES: usize = 1000;
/// Bytes of a list at most: it is kept, merged and sent to every agent.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Fetches a whole list, page by page.
#[derive(Debug)]
pub struct Fetch {
    kind: Kind,
    era: Era,
    id: String,
    next: u64,
    pages: usize,
    bytes: usize,
    items: Vec<Item>,
    pinging: bool,
}

/// What to do next about a list.
#[derive(Debug, PartialEq)]
pub enum FetchStep {
    /// Send this line.
    Send(String),
    /// Here it is.
    Done(Vec<Item>),
    /// It could not be had.
    Failed(String),
}

impl Fetch {
    /// Begins with request id `id`; each page takes the next one, as a string so that it meets no call's id.
    pub fn begin(kind: Kind, era: Era, id: u64) -> (Self, String) {
        let mut fetch = Self {
            kind,
            era,
            id: String::new(),
            next: id,
            pages: 0,
            bytes: 0,
            items: Vec::new(),
            pinging: false,
        };
        let line = fetch.request(None);
        (fetch, line)
    }

    pub(super) fn ping(id: u64) -> (Self, String) {
        let fetch = Self {
            kind: Kind::Tools,
            era: Era::Legacy,
            id: format!("\"list-{id}\""),
            next: id,
            pages: 0,
            bytes: 0,
            items: Vec::new(),
            pinging: true,
        };
        let line = write_request(Some(&fetch.id), method::PING, None);
        (fetch, line)
    }

    /// The raw id of the request that is out.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn request(&mut self, cursor: Option<&str>) -> String {
        self.id = format!("\"list-{}\"", self.next);
        self.next += 1;
        self.pages += 1;
        let mut params = Object::default();
        if let Some(cursor) = cursor {
            params.set("cursor", cursor.to_owned());
        }
        if self.era == Era::Modern {
            params.set("_meta", modern_meta().to_string());
        }
        let text = params.to_text();
        write_request(
            Some(&self.id),
            self.kind.list_method(),
            (!params.is_empty()).then_some(text.as_str()),
        )
    }

    /// The answer arrived.
    pub fn on_result(&mut self, outcome: Result<&str, &str>) -> FetchStep {
        if self.pinging {
            return FetchStep::Done(Vec::new());
        }
        let result = match outcome {
            Ok(result) => result,
            Err(error) => {
                return FetchStep::Failed(format!("it refused {}: {}", self.kind.list_method(), short(error)));
            }
        };
        match parse_page(self.kind, result) {
            Err(why) => FetchStep::Failed(why),
            Ok((items, cursor)) => {
                self.bytes += result.len();
                self.items.extend(items);
                match cursor {
                    _ if self.bytes > MAX_BYTES => FetchStep::Failed(format!(
                        "its {} is larger than {MAX_BYTES} bytes",
                        self.kind.list_method()
                    )),
                    Some(_) if self.pages >= MAX_PAGES => FetchStep::Failed(format!(
                        "its {} has more than {MAX_PAGES} pages",
                        self.kind.list_method()
                    )),
                    Some(cursor) => FetchStep::Send(self.request(Some(&cursor))),
                    None => FetchStep::Done(std::mem::take(&mut self.items)),
                }
            }
        }
    }
}
