//! Floor 0, the wire: bytes to messages and back, without input or output of its own.
//!
//! A router must carry what it does not understand, so bodies stay the bytes they were: an envelope is
//! parsed shallowly, what the router owns (ids, tokens, a few `_meta` keys) is spliced, the rest is copied.

pub mod codec;
pub mod codes;
pub mod discovery;
pub mod edit;
pub mod era;
pub mod header;
pub mod index;
pub mod json;
pub mod kind;
pub mod message;
pub mod meta;
pub mod method;
mod plain;
pub mod printable;
pub mod scan;
pub mod template;

pub use codec::{LineError, Lines};
pub use edit::Edit;
pub use era::{Era, Version};
pub use index::Index;
pub use json::{Object, RawJson};
pub use kind::{Kind, Topic};
pub use message::{Message, Notification, ParseError, Request, RequestId, Response};
pub use printable::{printable, printable_within};
pub use scan::Malformed;
