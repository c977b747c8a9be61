//! The question that a call in trouble puts to plugins, what they see of it, and the check of the answer.

use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime::error::Context;

use super::bindings::pointsman::policy::types as wit;
use super::fault::Fault;
use super::host::{State, Subject, whole};
use super::instance::Instance;
use super::question::{Question, within};
use crate::call::Call;
use crate::policy::{Hook, Settlement, Trouble};

/// Marks handles to the trouble.
pub enum TroubleHandle {}

/// What becomes of a call?
pub(super) struct Settle<'a> {
    pub(super) call: &'a Arc<Call>,
    pub(super) trouble: &'a Arc<Trouble>,
}

impl Question for Settle<'_> {
    type Raw = wit::Settlement;
    type Answer = Settlement;
    const HOOK: Hook = Hook::Settle;

    fn subject(&self) -> Subject {
        Subject {
            call: Some(Arc::clone(self.call)),
            trouble: Some(Arc::clone(self.trouble)),
            ..Subject::default()
        }
    }

    async fn put(&self, to: &mut Instance) -> wasmtime::Result<Result<wit::Settlement, String>> {
        let (store, hook) = to.settle()?;
        hook.call_settle(store, Resource::new_borrow(0), Resource::new_borrow(0))
            .await
    }

    fn check(&self, raw: wit::Settlement, limit: usize) -> Result<Settlement, Fault> {
        Ok(match raw {
            wit::Settlement::Next => Settlement::Next,
            wit::Settlement::Replay => Settlement::Replay,
            wit::Settlement::Hold(ms) => Settlement::Hold(ms),
            wit::Settlement::Fail(wit::Denial { code, message }) => {
                within(code.len() + message.len(), limit)?;
                Settlement::Fail { code, message }
            }
        })
    }
}

impl State {
    fn trouble(&self) -> wasmtime::Result<&Trouble> {
        self.subject.trouble.as_deref().context("there is no trouble now")
    }
}

impl wit::HostTrouble for State {
    fn kind(&mut self, _: Resource<TroubleHandle>) -> wasmtime::Result<String> {
        Ok(self.trouble()?.kind.as_str().to_owned())
    }
    fn why(&mut self, _: Resource<TroubleHandle>) -> wasmtime::Result<String> {
        Ok(self.trouble()?.why.clone())
    }
    fn backend(&mut self, _: Resource<TroubleHandle>) -> wasmtime::Result<String> {
        Ok(self.trouble()?.backend.as_ref().to_owned())
    }
    fn state(&mut self, _: Resource<TroubleHandle>) -> wasmtime::Result<String> {
        Ok(self.trouble()?.state.to_owned())
    }
    fn attempts(&mut self, _: Resource<TroubleHandle>) -> wasmtime::Result<u32> {
        Ok(self.trouble()?.attempts)
    }
    fn is_read(&mut self, _: Resource<TroubleHandle>) -> wasmtime::Result<bool> {
        Ok(self.trouble()?.is_read)
    }
    fn ahead(&mut self, _: Resource<TroubleHandle>) -> wasmtime::Result<u32> {
        Ok(self.trouble()?.ahead)
    }
    fn eta_ms(&mut self, _: Resource<TroubleHandle>) -> wasmtime::Result<Option<u64>> {
        Ok(self.trouble()?.eta.map(|eta| whole(eta.as_millis())))
    }
    fn drop(&mut self, _: Resource<TroubleHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}
