//! Three hooks with a little work in each, the same in all languages of `make bench`: see examples/languages/main.rs.

wit_bindgen::generate!({
    inline: "package my:policy; world mine {
        export pointsman:policy/route@0.1.1;
        export pointsman:policy/select@0.1.1;
        export pointsman:policy/transform-request@0.1.1;
    }",
    path: "wit",
    generate_all,
});

use exports::pointsman::policy::{route, select, transform_request};
use pointsman::policy::types::{Call, Candidates, Denial, Edit, RouteChoice, Selection, SetEdit, Targets};

struct Policy;

impl route::Guest for Policy {
    /// The least busy of those that offer the tool, unless it is one that drops things or a robot asks.
    fn route(call: &Call, candidates: &Candidates) -> Result<RouteChoice, String> {
        let name = call.name().unwrap_or_default();
        let agent = call.header("user-agent").unwrap_or_default();
        if name.contains("drop") || agent.contains("robot") {
            return Ok(RouteChoice::Deny(Denial {
                code: "no-drop".to_owned(),
                message: "nothing is dropped here".to_owned(),
            }));
        }
        let offering = candidates.offering();
        let least = offering.into_iter().min_by_key(|at| candidates.in_flight(*at));
        Ok(least.map_or(RouteChoice::Next, |at| RouteChoice::Narrow(vec![at])))
    }
}

impl select::Guest for Policy {
    /// The target with the fewest calls.
    fn select(call: &Call, targets: &Targets) -> Result<Selection, String> {
        if call.name().is_none() {
            return Ok(Selection::Any);
        }
        let least = (0u32..).zip(targets.loads()).min_by_key(|(_, load)| *load);
        Ok(least.map_or(Selection::Any, |(at, _)| Selection::Pick(at)))
    }
}

impl transform_request::Guest for Policy {
    /// A limit of ten, where there is none or a higher one.
    fn transform(call: &Call) -> Result<Vec<Edit>, String> {
        let name = call.name().unwrap_or_default();
        let limit = call.param("/arguments/limit")?;
        let is_low = limit.and_then(|text| text.parse().ok()).is_some_and(|limit: u32| limit <= 10);
        if name.is_empty() || is_low {
            return Ok(Vec::new());
        }
        Ok(vec![Edit::Set(SetEdit {
            pointer: "/arguments/limit".to_owned(),
            json: "10".to_owned(),
        })])
    }
}

export!(Policy);
