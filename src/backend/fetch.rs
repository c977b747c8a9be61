//! A target's tool list, fetched page by page. Pure.

use super::handshake::{modern_meta, short};
use super::tools::{Tool, parse_page};
use crate::wire::message::write_request;
use crate::wire::{Era, Object, method};

/// Pages of a tool list at most: a server whose cursor never ends must not hold the handshake for ever.
const MAX_PAGES: usize = 1000;
/// Bytes of a tool list at most: it is kept, merged and sent to every agent.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Fetches a whole tool list, page by page.
#[derive(Debug)]
pub struct Fetch {
    era: Era,
    id: String,
    next: u64,
    pages: usize,
    bytes: usize,
    tools: Vec<Tool>,
    pinging: bool,
}

/// What to do next about a tool list.
#[derive(Debug, PartialEq)]
pub enum FetchStep {
    /// Send this line.
    Send(String),
    /// Here it is.
    Done(Vec<Tool>),
    /// It could not be had.
    Failed(String),
}

impl Fetch {
    /// Begins with request id `id`; each page takes the next one, as a string so that it meets no call's id.
    pub fn begin(era: Era, id: u64) -> (Self, String) {
        let mut fetch = Self {
            era,
            id: String::new(),
            next: id,
            pages: 0,
            bytes: 0,
            tools: Vec::new(),
            pinging: false,
        };
        let line = fetch.request(None);
        (fetch, line)
    }

    pub(super) fn ping(id: u64) -> (Self, String) {
        let fetch = Self {
            era: Era::Legacy,
            id: format!("\"list-{id}\""),
            next: id,
            pages: 0,
            bytes: 0,
            tools: Vec::new(),
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
            method::TOOLS_LIST,
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
            Err(error) => return FetchStep::Failed(format!("it refused tools/list: {}", short(error))),
        };
        match parse_page(result) {
            Err(why) => FetchStep::Failed(why),
            Ok((tools, cursor)) => {
                self.bytes += result.len();
                self.tools.extend(tools);
                match cursor {
                    _ if self.bytes > MAX_BYTES => {
                        FetchStep::Failed(format!("its tool list is larger than {MAX_BYTES} bytes"))
                    }
                    Some(_) if self.pages >= MAX_PAGES => {
                        FetchStep::Failed(format!("its tool list has more than {MAX_PAGES} pages"))
                    }
                    Some(cursor) => FetchStep::Send(self.request(Some(&cursor))),
                    None => FetchStep::Done(std::mem::take(&mut self.tools)),
                }
            }
        }
    }
}
