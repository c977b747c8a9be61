//! `[pipeline]` and `[endpoints.NAME.pipeline]` as types: which plugins are asked, in which order, and where.

use std::collections::{BTreeMap, BTreeSet};

use super::{Config, DEFAULT_ENDPOINT};
use crate::policy::Hook;

/// Plugin names by hook, in the order in which they are asked. What a pipeline says nothing of is told apart from an
/// empty list: an endpoint's pipeline takes the former from `[pipeline]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pipeline(BTreeMap<Hook, Vec<String>>);

impl Pipeline {
    /// The plugins of one hook.
    pub fn of(&self, hook: Hook) -> &[String] {
        self.0.get(&hook).map(Vec::as_slice).unwrap_or_default()
    }

    /// What it says, hook by hook.
    pub fn iter(&self) -> impl Iterator<Item = (Hook, &[String])> {
        self.0.iter().map(|(hook, names)| (*hook, names.as_slice()))
    }

    /// Sets the plugins of one hook.
    pub fn set(&mut self, hook: Hook, names: Vec<String>) {
        self.0.insert(hook, names);
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All plugins that it names.
    pub fn plugins(&self) -> BTreeSet<&str> {
        self.0.values().flatten().map(String::as_str).collect()
    }

    /// This one, where `over` says nothing else.
    fn under(&self, over: &Self) -> Self {
        let mut both = self.clone();
        both.0.extend(over.0.clone());
        both
    }
}

impl<const N: usize> From<[(Hook, Vec<String>); N]> for Pipeline {
    fn from(chains: [(Hook, Vec<String>); N]) -> Self {
        Self(chains.into())
    }
}

/// The pipelines of a whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pipelines {
    /// That of every endpoint without one of its own.
    pub main: Pipeline,
    /// Complete ones of single endpoints, by the endpoint's name as calls have it: empty for `/mcp`.
    pub own: BTreeMap<String, Pipeline>,
}

impl From<Pipeline> for Pipelines {
    fn from(main: Pipeline) -> Self {
        Self {
            main,
            own: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Which plugins are asked where.
    pub fn pipelines(&self) -> Pipelines {
        let having = self.endpoints.iter().filter(|(_, one)| !one.pipeline.is_empty());
        let own = having.map(|(name, one)| {
            let name = if name == DEFAULT_ENDPOINT { "" } else { name };
            (name.to_owned(), self.pipeline.under(&one.pipeline))
        });
        Pipelines {
            own: own.collect(),
            main: self.pipeline.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoint;

    #[test]
    fn what_an_endpoint_says_nothing_of_is_as_everywhere() {
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
        let one = |pipeline| Endpoint {
            pipeline,
            ..Endpoint::default()
        };
        let main = Pipeline::from([(Hook::Route, names(&["a"])), (Hook::Select, names(&["b"]))]);
        let config = Config {
            pipeline: main.clone(),
            endpoints: [
                ("plain".to_owned(), Endpoint::default()),
                (
                    "own".to_owned(),
                    one(Pipeline::from([(Hook::Route, names(&["c", "a"]))])),
                ),
                (
                    DEFAULT_ENDPOINT.to_owned(),
                    one(Pipeline::from([(Hook::Select, Vec::new())])),
                ),
            ]
            .into(),
            ..Config::default()
        };
        let all = config.pipelines();
        assert_eq!(all.main, main);
        assert_eq!(all.own.keys().collect::<Vec<_>>(), ["", "own"]);
        assert_eq!(all.own["own"].of(Hook::Route), ["c", "a"]);
        assert_eq!(all.own["own"].of(Hook::Select), ["b"]);
        assert_eq!(all.own[""].of(Hook::Route), ["a"]);
        assert!(all.own[""].of(Hook::Select).is_empty());
    }
}
