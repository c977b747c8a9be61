//! Who a call is from, as a policy sees it.

use std::sync::Arc;

use pointsman::call::{Call, Principal};
use pointsman::policy::{Policy, RouteChoice};
use serde_json::json;

use super::support::*;

#[tokio::test]
async fn a_policy_reads_principal_labels_and_scopes() {
    let chain = generation(&host(), &[("1", guest(json!({ "do": "who" })))])
        .await
        .unwrap();
    let who = async |principal| {
        let call = Arc::new(Call {
            principal,
            ..parts("{}")
        });
        let RouteChoice::Answer(seen) = chain.route(&call, candidates(&["a"])).await.unwrap() else {
            panic!();
        };
        seen.as_str().to_owned()
    };
    let labels = [("team".to_owned(), "rail".to_owned())].into();
    let ann = Principal::new("people", "ann".to_owned(), vec!["mcp".to_owned()], labels);
    let seen = who(Some(Arc::new(ann))).await;
    assert_eq!(seen, r#"{"who":"Some(\"ann\") Some(\"rail\") [\"mcp\"]"}"#);
    assert_eq!(who(None).await, r#"{"who":"None None []"}"#);
}
