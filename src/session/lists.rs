//! The lists: merged, page by page, after a moment for backends that are on their first start.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Agents, answer, error_object, own_tools};
use crate::backend::Backend;
use crate::call::{AgentKey, Principal};
use crate::catalog::{Endpoint, View};
use crate::error::{CallError, Reason};
use crate::wire::{Era, Kind, Object, Topic, codes};

/// A cursor that is not used for so long is refused: the list has long been another.
const CURSOR_LIFE: Duration = Duration::from_secs(24 * 3600);

impl Agents {
    /// The answer to a list request: the result, or the error.
    pub(super) async fn list(
        &self,
        endpoint: &Endpoint,
        kind: Kind,
        cursor: Result<Option<String>, String>,
        reader: &Reader,
    ) -> Result<String, String> {
        let invalid = |why: String| error_object(codes::INVALID_PARAMS, &why, None);
        let purpose = reader.purpose(endpoint, kind);
        let from = match cursor.map_err(invalid)? {
            None => 0,
            Some(cursor) => self
                .opened_position(&purpose, &cursor)
                .ok_or_else(|| invalid("there is no such cursor: list from the beginning".to_owned()))?,
        };
        self.settled(endpoint, &[kind]).await;
        let view = endpoint.fresh_view().await;
        if let Some(why) = view.undecided(Some(kind)) {
            return Err(CallError::from(Reason::PolicyFault(why.to_owned())).to_wire());
        }
        let page = view.page(kind, from, view.settings.page_size);
        let next = page.next.and_then(|next| {
            let text = next.to_string();
            self.sealer.seal(&purpose, text.as_bytes(), CURSOR_LIFE)
        });
        // The router's own come last.
        let own = match (kind, page.next) {
            (Kind::Tools, None) => own_tools::definitions(view.settings.own_tools, reader.agent.is_some()),
            _ => String::new(),
        };
        if own.is_empty() {
            return Ok(answer::list(kind, page.items, next.as_deref(), reader.era));
        }
        let comma = if page.items.is_empty() { "" } else { "," };
        let items = [page.items, comma, &own].concat();
        Ok(answer::list(kind, &items, next.as_deref(), reader.era))
    }

    fn opened_position(&self, purpose: &[u8], cursor: &str) -> Option<usize> {
        let text = self.sealer.open(purpose, cursor).ok()?;
        String::from_utf8(text).ok()?.parse().ok()
    }

    /// The endpoint after a moment for backends that are on their first start, until they have lists of these kinds:
    /// most clients ask once.
    pub(super) async fn settled(&self, endpoint: &Endpoint, kinds: &[Kind]) -> Arc<View> {
        let deadline = Instant::now() + self.list_wait;
        loop {
            let view = endpoint.view();
            // Subscribed before the look: what changes in between must not be slept through.
            let mut targets: Vec<_> = view.backends.iter().map(|b| b.changes()).collect();
            let mut lists: Vec<_> = view
                .backends
                .iter()
                .flat_map(|b| kinds.iter().map(|kind| b.list(*kind)))
                .collect();
            let first = |backend: &Arc<Backend>| kinds.iter().any(|kind| backend.is_first_start(*kind));
            if !view.backends.iter().any(first) {
                break;
            }
            let target = futures_util::future::select_all(targets.iter_mut().map(|c| Box::pin(c.changed())));
            let list = futures_util::future::select_all(lists.iter_mut().map(|c| Box::pin(c.changed())));
            let any = futures_util::future::select(target, list);
            if tokio::time::timeout_at(deadline, any).await.is_err() {
                break;
            }
        }
        endpoint.view()
    }
}

/// Who reads a list.
pub(super) struct Reader {
    /// The era it speaks.
    pub(super) era: Era,
    /// Set where cursors belong to one agent.
    pub(super) agent: Option<AgentKey>,
    /// Who reads, where that was asked.
    pub(super) principal: Option<Arc<Principal>>,
}

impl Reader {
    /// What a cursor is good for: this list of this endpoint, in the hands of this agent.
    fn purpose(&self, endpoint: &Endpoint, kind: Kind) -> Vec<u8> {
        let agent = self.agent.as_ref().map(ToString::to_string).unwrap_or_default();
        let principal = self.principal.as_ref().map_or("", |p| p.key());
        format!(
            "cursor\0{}\0{}\0{agent}\0{principal}",
            endpoint.name,
            kind.list_method()
        )
        .into_bytes()
    }
}

/// The cursor that a list request carries.
pub(super) fn cursor(params: Option<&str>) -> Result<Option<String>, String> {
    let params = Object::parse(params.unwrap_or("{}")).map_err(|e| e.to_string())?;
    match params.get("cursor") {
        None | Some("null") => Ok(None),
        Some(_) => match params.get_str("cursor") {
            Some(cursor) => Ok(Some(cursor.into_owned())),
            None => Err("cursor is a string".to_owned()),
        },
    }
}

/// The versions of an endpoint's lists, by topic.
pub(super) fn versions(endpoint: &Endpoint) -> [u64; 3] {
    Topic::ALL.map(|topic| *endpoint.version(topic).borrow())
}
