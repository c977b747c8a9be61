//! What is told of a pipeline that does not fit the plugins that were loaded.

use std::collections::BTreeMap;

use crate::plugin::PipelineError;

/// The words for `misfits`, but for the plugins that were `refused`: those have told already what is wrong with them.
pub fn words(misfits: &[PipelineError], refused: &BTreeMap<String, String>) -> Vec<String> {
    let told = |misfit: &&PipelineError| match misfit {
        PipelineError::Missing { plugin, .. } => !refused.contains_key(plugin),
        PipelineError::NotExported { .. } => true,
    };
    misfits.iter().filter(told).map(ToString::to_string).collect()
}
