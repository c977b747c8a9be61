"""A small MCP server over stdio that asks its client, announces changes and keeps tasks, in either era.

Every line that it reads is appended to a file as it came, so that a test can compare bytes.
usage: server.py legacy|modern FILE
"""

import json
import os
import sys

ERA, FILE = sys.argv[1], sys.argv[2]
META = "io.modelcontextprotocol/"
NOW = {"ttlMs": 0, "cacheScope": "private"} if ERA == "modern" else {}
TOOLS = ["ask", "say", "touch", "work", "wait", "tell", "gate"]
KINDS = {"elicit": "elicitation/create", "url": "elicitation/create", "sample": "sampling/createMessage", "roots": "roots/list"}

asked, listens, subscribed, tasks, waiting = {}, {}, set(), {}, {}
gates = set()
count = 0


def write(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def send(message):
    write(json.dumps({"jsonrpc": "2.0", **message}))


def result(id, body, more=None):
    if ERA == "modern":
        body = {"resultType": "complete", **body, **(more or {})}
    send({"id": id, "result": body})


def error(id, code, message):
    send({"id": id, "error": {"code": code, "message": message}})


def text(words):
    return {"content": [{"type": "text", "text": words}]}


def question(arguments):
    kind = arguments.get("kind", "elicit")
    words = arguments.get("text", "?")
    params = {
        "elicit": {"message": words, "requestedSchema": {"type": "object", "properties": {}}},
        "url": {"mode": "url", "message": words, "url": "https://example.com/", "elicitationId": words},
        "sample": {"messages": [{"role": "user", "content": {"type": "text", "text": words}}], "maxTokens": 5},
        "roots": {},
    }[kind]
    return KINDS[kind], {**params, **arguments.get("more", {})}


def ask(id, params):
    global count
    arguments = params.get("arguments", {})
    method, wanted = question(arguments)
    if ERA == "modern":
        answers = params.get("inputResponses")
        if answers is None:
            asks = {"q": {"method": method, "params": wanted}}
            state = f"state-{os.getpid()}-{arguments.get('text')}"
            result(id, {"resultType": "input_required", "inputRequests": asks, "requestState": state})
        elif not params.get("requestState", "").startswith(f"state-{os.getpid()}-"):
            error(id, -32602, "a state of another process")
        else:
            result(id, text(json.dumps({"text": arguments.get("text"), "answer": answers["q"]})))
        return
    asked[count] = (id, arguments)
    send({"id": count, "method": method, "params": {**wanted, "_meta": {"progressToken": count, **wanted.get("_meta", {})}}})
    count += 1


def answered(message):
    id, arguments = asked.pop(message["id"])
    if "error" in message:
        result(id, {**text(json.dumps(message["error"])), "isError": True})
    else:
        result(id, text(json.dumps({"text": arguments.get("text"), "answer": message["result"]})))


def touch(uri):
    params = {"uri": uri}
    if ERA == "legacy":
        if uri in subscribed:
            send({"method": "notifications/resources/updated", "params": params})
    for id, uris in listens.items():
        if uri in uris:
            meta = {META + "subscriptionId": id}
            send({"method": "notifications/resources/updated", "params": {**params, "_meta": meta}})


def call(id, params):
    name, arguments = params["name"], params.get("arguments", {})
    token = params.get("_meta", {}).get("progressToken")
    if token is not None and name != "say":
        send({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1, "message": arguments.get("text", "")}})
    if name == "ask":
        ask(id, params)
    elif name == "say":
        # The result as text, spliced: what the test wrote is what the router reads.
        write('{"jsonrpc":"2.0","id":%s,"result":%s}' % (json.dumps(id), arguments["raw"]))
    elif name == "touch":
        touch(arguments["uri"])
        result(id, text("touched"))
    elif name == "work":
        task = f"task-{len(tasks)}"
        tasks[task] = "working"
        shown = {"taskId": task, "status": "working"}
        result(id, {"resultType": "task", **shown} if ERA == "modern" else {"task": shown})
    elif name == "wait":
        waiting[id] = True
    elif name == "tell":
        send(arguments["message"])
        result(id, text("told"))
    elif name == "gate" and arguments["text"] not in gates:
        # Open for whoever asks again.
        gates.add(arguments["text"])
        url = {"mode": "url", "message": "pay", "url": "https://example.com/", "elicitationId": arguments["text"]}
        send({"id": id, "error": {"code": -32042, "message": "pay first", "data": {"elicitations": [url]}}})
    elif name == "gate":
        result(id, text("open"))
    else:
        error(id, -32602, f"Unknown tool: {name}")


def listing(id, method):
    items = {
        "tools/list": {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in TOOLS]},
        "prompts/list": {"prompts": [{"name": "greet"}]},
        "resources/list": {"resources": [{"name": f"r{n}", "uri": f"test://r{n}"} for n in range(5)]},
        "resources/templates/list": {"resourceTemplates": [{"name": "t", "uriTemplate": "made://{x}"}]},
    }[method]
    result(id, items, NOW)


def request(message):
    id, method, params = message["id"], message["method"], message.get("params", {})
    capabilities = {
        "tools": {"listChanged": True},
        "prompts": {},
        "resources": {"subscribe": True},
        "tasks": {"requests": {"tools": {"call": {}}}, "cancel": {}, "list": {}},
    }
    if ERA == "modern":
        capabilities.pop("tasks")
        capabilities["extensions"] = {META + "tasks": {}}
    if method == "server/discover" and ERA == "modern":
        body = {"supportedVersions": ["2026-07-28"], "capabilities": capabilities}
        result(id, {**body, "serverInfo": {"name": "fake", "version": "1"}}, NOW)
    elif method == "initialize" and ERA == "legacy":
        info = {"name": "fake", "version": "1"}
        result(id, {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info})
    elif method.endswith("/list") and not method.startswith(("tasks", "roots")):
        listing(id, method)
    elif method == "tools/call":
        call(id, params)
    elif method == "resources/read":
        body = {"contents": [{"uri": params["uri"], "text": "here"}]}
        result(id, body, NOW)
    elif method == "prompts/get":
        result(id, {"messages": [{"role": "user", "content": {"type": "text", "text": params["name"]}}]})
    elif method == "completion/complete":
        result(id, {"completion": {"values": [params["ref"].get("name") or params["ref"].get("uri")]}})
    elif method == "resources/subscribe" and ERA == "legacy":
        subscribed.add(params["uri"])
        result(id, {})
        if params["uri"] == "test://eager":
            touch(params["uri"])
    elif method == "resources/unsubscribe" and ERA == "legacy":
        subscribed.discard(params["uri"])
        result(id, {})
    elif method == "subscriptions/listen" and ERA == "modern":
        listens[id] = params["notifications"].get("resourceSubscriptions", [])
        meta = {META + "subscriptionId": id}
        granted = {"notifications": params["notifications"], "_meta": meta}
        send({"method": "notifications/subscriptions/acknowledged", "params": granted})
    elif method in ("tasks/get", "tasks/cancel"):
        task = params["taskId"]
        if task in tasks:
            result(id, {"taskId": task, "status": tasks[task]})
        else:
            error(id, -32602, "Task not found")
    elif method == "vendor/thing":
        result(id, {"params": params})
    else:
        error(id, -32601, f"Method not found: {method}")


for line in sys.stdin:
    with open(FILE, "a") as file:
        file.write(line)
    message = json.loads(line)
    if "method" not in message:
        if message.get("id") in asked:
            answered(message)
    elif "id" in message:
        request(message)
    elif message["method"] == "notifications/cancelled":
        listens.pop(message["params"]["requestId"], None)
