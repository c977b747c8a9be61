//! What does not fit between a pipeline and the plugins that were loaded: all of it at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Pipeline;
use crate::plugin::{Host, Loaded, PipelineError};

/// Every entry of `pipeline` that cannot be asked, but for the plugins that were `refused`: those have told already
/// what is wrong with them. Empty where nothing else is wrong.
pub fn misfits(
    host: &Host,
    pipeline: &Pipeline,
    loaded: &BTreeMap<String, Arc<Loaded>>,
    refused: &BTreeMap<String, String>,
) -> Vec<PipelineError> {
    type List = fn(&mut Pipeline) -> &mut Vec<String>;
    let lists: [List; 4] = [
        |p| &mut p.route,
        |p| &mut p.select,
        |p| &mut p.transform_request,
        |p| &mut p.transform_response,
    ];
    let mut found = Vec::new();
    for list in lists {
        for plugin in list(&mut pipeline.clone()) {
            // A generation ends at its first misfit, so each entry is tried alone. It is never used.
            let mut alone = Pipeline::default();
            list(&mut alone).push(plugin.clone());
            match host.generation(0, &alone, loaded.clone()) {
                Err(PipelineError::Missing { .. }) if refused.contains_key(plugin) => {}
                Err(error) => found.push(error),
                Ok(_) => {}
            }
        }
    }
    found
}
