//! The Rust SDK through the features, in this process.
#![allow(deprecated, reason = "sampling and roots are deprecated and in use")]

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use rmcp::model::{
    CallToolRequestParams, ClientConfig, CompletionContext, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, ElicitationAction, GetPromptRequestParams, Implementation, ListRootsResult,
    ProgressNotificationParam, ProtocolVersion, ResourceUpdatedNotificationParam, Root, SamplingMessage,
    SubscribeRequestParams, SubscriptionFilter,
};
use rmcp::service::{NotificationContext, RequestContext, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use crate::clients::{DEADLINE, FEATURES};
use crate::table::Cell;

const COUNTER: &str = "test://counter";
const ADDED: &str = "added";

/// Answers what it is asked, and remembers what it is told.
#[derive(Clone)]
struct Handler(Arc<Heard>);

struct Heard {
    steps: Mutex<Vec<String>>,
    step: Semaphore,
    running: Notify,
    updated: Notify,
    changed: Notify,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        // The SDK has a builder for it, in a feature that brings a whole server.
        let capabilities = json!({ "sampling": {}, "elicitation": {}, "roots": {} });
        let capabilities = serde_json::from_value(capabilities).unwrap();
        ClientConfig::new(capabilities, Implementation::new("compat-rust", "1.0.0"))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let message = SamplingMessage::assistant_text("all aboard");
        Ok(CreateMessageResult::new(message, "siding".to_owned()).with_stop_reason("endTurn"))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![Root::new("file:///siding")]))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({ "word": "semaphore" })))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let message = params.message.unwrap_or_default();
        if message == "running" {
            self.0.running.notify_one();
        } else if message.starts_with("step ") {
            self.0.steps.lock().unwrap().push(message);
            self.0.step.add_permits(1);
        }
    }

    async fn on_resource_updated(&self, params: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        if params.uri == COUNTER {
            self.0.updated.notify_one();
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.changed.notify_one();
    }
}

/// One connected client.
struct Connected {
    service: RunningService<RoleClient, Handler>,
    heard: Arc<Heard>,
    modern: bool,
}

/// What is shown of a feature that does not work.
type Failed = (String, String);

fn protocol(error: ServiceError) -> Failed {
    match error {
        ServiceError::McpError(error) => (error.code.0.to_string(), error.message.into_owned()),
        error => ("error".to_owned(), error.to_string()),
    }
}

fn wrong(words: impl Into<String>) -> Failed {
    ("wrong".to_owned(), words.into())
}

fn expect(got: &str, wanted: &str) -> Result<(), Failed> {
    match got == wanted {
        true => Ok(()),
        false => Err(wrong(format!("{got:?} instead of {wanted:?}"))),
    }
}

/// Runs all features at this address.
pub async fn run(url: &str, mode: &str) -> Vec<(&'static str, Cell)> {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let mode = match mode {
        "legacy" => ClientLifecycleMode::Initialize,
        "auto" => ClientLifecycleMode::Auto {
            preferred_versions,
            legacy_version: None,
        },
        _ => ClientLifecycleMode::Discover { preferred_versions },
    };
    let handler = Handler(Arc::new(Heard {
        steps: Mutex::default(),
        step: Semaphore::new(0),
        running: Notify::new(),
        updated: Notify::new(),
        changed: Notify::new(),
    }));
    let heard = handler.0.clone();
    // The router's own use of the same HTTP client leaves the choice of TLS to the program. The first one who chose was right.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let transport = StreamableHttpClientTransport::from_uri(url.to_owned());
    let connected = in_time(async {
        let service = handler.serve_with_lifecycle(transport, mode).await;
        service.map_err(|e| ("connect".to_owned(), e.to_string()))
    });
    let service = match connected.await {
        Ok(service) => service,
        Err((code, detail)) => {
            let failed = Cell::Failed { code, detail };
            return FEATURES.map(|feature| (feature, failed.clone())).into();
        }
    };
    let version = service.peer_info().map(|info| info.protocol_version.clone());
    let connected = Connected {
        modern: version == Some(ProtocolVersion::V_2026_07_28),
        service,
        heard,
    };
    let mut cells = Vec::new();
    for feature in FEATURES {
        let cell = match in_time(connected.feature(feature)).await {
            Ok(()) => Cell::Works,
            Err((code, detail)) => Cell::Failed { code, detail },
        };
        cells.push((feature, cell));
    }
    let _ = tokio::time::timeout(DEADLINE, connected.service.cancel()).await;
    cells
}

async fn in_time<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let late = || ("late".to_owned(), format!("not done after {} s", DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| Err(late()))
}

impl Connected {
    async fn feature(&self, feature: &str) -> Result<(), Failed> {
        match feature {
            "progress" => self.progress().await,
            "sampling" => {
                let said = self.call("ask_sampling", json!({ "prompt": "What does the guard say?" }));
                expect(&said.await?, "model said: all aboard")
            }
            "elicitation" => {
                let said = self.call("ask_form", json!({ "message": "Which signal?" }));
                expect(&said.await?, "user: accept semaphore")
            }
            "roots" => expect(&self.call("ask_roots", json!({})).await?, "file:///siding"),
            "subscribe" => self.subscribe().await,
            "prompt" => self.prompt().await,
            "completion" => self.completion().await,
            "list change" => self.list_change().await,
            _ => self.cancel().await,
        }
    }

    /// The text of a tool's result that is no error.
    async fn call(&self, tool: &'static str, arguments: Value) -> Result<String, Failed> {
        let arguments = arguments.as_object().unwrap().clone();
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        let result = self.service.call_tool(params).await.map_err(protocol)?;
        let result = serde_json::to_value(result).unwrap();
        let text = result["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        match result["isError"] == true {
            true => Err(("isError".to_owned(), text)),
            false => Ok(text),
        }
    }

    async fn progress(&self) -> Result<(), Failed> {
        let said = self.call("progress", json!({ "count": 3, "delay_ms": 10 })).await?;
        expect(&said, "sent 3")?;
        // The SDK tells of each notification in a task of its own, which may come after the result, in any order.
        let all = self.heard.step.acquire_many(3).await;
        all.expect("it is never closed").forget();
        let mut steps = self.heard.steps.lock().unwrap().clone();
        steps.sort();
        expect(&steps.join(", "), "step 1, step 2, step 3")
    }

    async fn subscribe(&self) -> Result<(), Failed> {
        if !self.modern {
            let params = SubscribeRequestParams::new(COUNTER);
            self.service.subscribe(params).await.map_err(protocol)?;
            self.call("touch_resource", json!({})).await?;
            self.heard.updated.notified().await;
            return Ok(());
        }
        let filter = SubscriptionFilter::builder().resource_subscriptions([COUNTER]).build();
        self.listen(filter, "touch_resource", json!({})).await
    }

    async fn list_change(&self) -> Result<(), Failed> {
        let arguments = json!({ "name": ADDED });
        if self.modern {
            let filter = SubscriptionFilter::builder().tools_list_changed().build();
            self.listen(filter, "add_tool", arguments).await?;
        } else {
            self.call("add_tool", arguments).await?;
            self.heard.changed.notified().await;
        }
        let tools = self.service.list_all_tools().await.map_err(protocol)?;
        match tools.iter().any(|tool| tool.name == ADDED) {
            true => Ok(()),
            false => Err(wrong(format!("{} is not in the list after the change", ADDED))),
        }
    }

    /// Listens, calls a tool that causes a notification, and waits for that.
    async fn listen(&self, filter: SubscriptionFilter, tool: &'static str, arguments: Value) -> Result<(), Failed> {
        let mut subscription = self.service.listen(filter).await.map_err(protocol)?;
        self.call(tool, arguments).await?;
        let event = subscription.next().await.map_err(protocol)?;
        event.ok_or_else(|| wrong("the subscription ended"))?;
        subscription.cancel().await.map_err(protocol)
    }

    async fn prompt(&self) -> Result<(), Failed> {
        let arguments = json!({ "language": "finnish" }).as_object().unwrap().clone();
        let params = GetPromptRequestParams::new("greeting").with_arguments(arguments);
        let result = self.service.get_prompt(params).await.map_err(protocol)?;
        let result = serde_json::to_value(result).unwrap();
        let text = result["messages"][0]["content"]["text"].as_str();
        expect(text.unwrap_or_default(), "Please greet me in finnish.")
    }

    async fn completion(&self) -> Result<(), Failed> {
        let language = self
            .service
            .complete_prompt_argument("greeting", "language", "f", None)
            .await;
        expect(&language.map_err(protocol)?.values.join(", "), "finnish, french")?;
        let country = HashMap::from([("country".to_owned(), "germany".to_owned())]);
        let context = CompletionContext::with_arguments(country);
        let city = self
            .service
            .complete_resource_argument("test://city/{country}/{city}", "city", "b", Some(context))
            .await;
        expect(&city.map_err(protocol)?.values.join(", "), "berlin, bonn, bremen")
    }

    async fn cancelled(&self) -> Result<u64, Failed> {
        let said = self.call("cancelled_count", json!({})).await?;
        let counts: Value = serde_json::from_str(&said).map_err(|e| wrong(format!("{e}: {said}")))?;
        Ok(counts["cancelled"].as_u64().unwrap_or_default())
    }

    async fn cancel(&self) -> Result<(), Failed> {
        let before = self.cancelled().await?;
        // The SDK cancels a call whose future is dropped.
        tokio::select! {
            said = self.call("slow", json!({ "ms": 60_000 })) => {
                return Err(wrong(format!("the call was answered: {}", said?)));
            }
            () = self.heard.running.notified() => {}
        }
        while self.cancelled().await? == before {}
        Ok(())
    }
}
