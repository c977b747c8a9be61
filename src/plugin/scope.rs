//! Whether a call is one that a plugin is asked about: `[plugins.NAME.scope]` against what is known of it. Pure.

use crate::call::Call;
use crate::config::{Patterns, PluginScope};
use crate::wire::Kind;

/// Whether the tool and whoever calls are of `scope`. What is no call of a tool is none of any tools, and who proved
/// nothing has no labels.
pub(super) fn has_call(scope: &PluginScope, call: &Call) -> bool {
    let tool = || call.subject.as_ref().filter(|s| s.kind == Kind::Tools);
    let label = |name: &str| call.principal.as_ref().and_then(|p| p.labels.get(name));
    let has_tool = |tools: &Patterns| tool().is_some_and(|tool| any(tools, &tool.key));
    scope.tools.as_ref().is_none_or(has_tool)
        && scope
            .agents
            .iter()
            .all(|(name, pattern)| label(name).is_some_and(|value| pattern.matches(value)))
}

/// Whether any of these backends is of `scope`.
pub(super) fn has_backend<'a>(scope: &PluginScope, mut backends: impl Iterator<Item = &'a str>) -> bool {
    let named = scope.backends.as_ref();
    named.is_none_or(|patterns| backends.any(|backend| any(patterns, backend)))
}

fn any(patterns: &Patterns, text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}
