//! The demo server's tool catalogue: what `tools/list` says about every built-in and extra tool.

use super::wire::quote;

struct Tool {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    /// JSON members of the input schema's `properties`.
    properties: &'static str,
    /// JSON members of the input schema's `required`.
    required: &'static str,
    /// JSON object, or nothing: a client then has to assume the worst. Most tools say nothing, so that
    /// what a router may repeat after a crash is decided by `read` and `idempotent` alone.
    annotations: &'static str,
}

const TEXT: &str = r#""text":{"type":"string"}"#;
const ID: &str = r#""id":{"type":"string","description":"Any short text"}"#;
const NAME: &str = r#""name":{"type":"string"}"#;
const READ_ONLY: &str = r#"{"readOnlyHint":true}"#;

const fn tool(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    properties: &'static str,
    required: &'static str,
    annotations: &'static str,
) -> Tool {
    Tool {
        name,
        title,
        description,
        properties,
        required,
        annotations,
    }
}

#[rustfmt::skip]
const TOOLS: &[Tool] = &[
    tool("echo", "Echo", "Answers with the given text, byte for byte.", TEXT, r#""text""#, ""),
    tool("slow", "Slow", "Waits the given time, then answers.",
        r#""ms":{"type":"integer","minimum":0},"text":{"type":"string"}"#, r#""ms""#, ""),
    tool("progress", "Progress", "Reports progress at every step, then answers.",
        r#""steps":{"type":"integer","minimum":0},"ms":{"type":"integer","minimum":0,"description":"Time of one step"}"#,
        r#""steps","ms""#, ""),
    tool("counter", "Counter", "Adds one to a counter in this process's memory; a restart loses it.", "", "", ""),
    tool("append", "Append", "Appends the id as a line to the file given by --file, then answers. Calling twice appends twice.",
        ID, r#""id""#, ""),
    tool("read", "Read", "Answers with the id and the process id, changing nothing.", ID, "", READ_ONLY),
    tool("idempotent", "Idempotent", "Like read, but marked as safe to repeat instead of read-only.",
        ID, r#""id""#, r#"{"readOnlyHint":false,"destructiveHint":false,"idempotentHint":true}"#),
    tool("crash", "Crash", "Kills this process without answering.", "", "", ""),
    tool("hang", "Hang", "Never answers.", "", "", ""),
    tool("big", "Big", "Answers with a text of n bytes.", r#""n":{"type":"integer","minimum":0}"#, r#""n""#, ""),
    tool("log", "Log", "Sends a log message, then answers.",
        r#""level":{"type":"string","enum":["debug","info","notice","warning","error","critical","alert","emergency"]},"text":{"type":"string"}"#,
        r#""level","text""#, ""),
    tool("add_tool", "Add a tool", "Adds a tool that echoes, and announces the changed list.", NAME, r#""name""#, ""),
    tool("remove_tool", "Remove a tool", "Removes an added tool, and announces the changed list.", NAME, r#""name""#, ""),
    tool("env", "Environment", "Answers with the value of an environment variable of this process.", NAME, r#""name""#, ""),
    tool("stderr", "Standard error", "Writes the text to standard error, once or several times.",
        r#""text":{"type":"string"},"lines":{"type":"integer","minimum":0}"#, r#""text""#, ""),
    tool("junk", "Junk", "Writes the text as it is to standard output, as a broken server would.", TEXT, r#""text""#, ""),
];

/// Whether a tool of this name is always there.
pub fn is_builtin(name: &str) -> bool {
    TOOLS.iter().any(|tool| tool.name == name)
}

/// The JSON array of all tools: the built-in ones, then the extra ones in the order they were added.
pub fn list(extra: &[String]) -> String {
    let mut json = String::from("[");
    for tool in TOOLS {
        let Tool {
            name,
            title,
            description,
            properties,
            required,
            annotations,
        } = tool;
        push(&mut json, &quote(name), title, description, properties, required);
        if !annotations.is_empty() {
            json += ",\"annotations\":";
            json += annotations;
        }
        json.push('}');
    }
    for name in extra {
        let description = "An extra tool that answers with the given text.";
        push(&mut json, &quote(name), "Extra", description, TEXT, "\"text\"");
        json.push('}');
    }
    json.push(']');
    json
}

fn push(json: &mut String, name: &str, title: &str, description: &str, properties: &str, required: &str) {
    if !json.ends_with('[') {
        json.push(',');
    }
    *json += &format!(
        r#"{{"name":{name},"title":{},"description":{},"inputSchema":{{"type":"object","properties":{{{properties}}},"required":[{required}]}}"#,
        quote(title),
        quote(description),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_json_and_only_marked_tools_carry_annotations() {
        let list: serde_json::Value = serde_json::from_str(&list(&["odd \"name\"".to_owned()])).unwrap();
        let find = |name: &str| {
            let mut tools = list.as_array().unwrap().iter();
            tools.find(|tool| tool["name"] == name).unwrap().clone()
        };
        assert!(find("append").get("annotations").is_none());
        assert_eq!(find("read")["annotations"]["readOnlyHint"], true);
        assert_eq!(find("idempotent")["annotations"]["idempotentHint"], true);
        assert_eq!(find("odd \"name\"")["inputSchema"]["type"], "object");
        assert_eq!(list.as_array().unwrap().len(), TOOLS.len() + 1);
    }
}
