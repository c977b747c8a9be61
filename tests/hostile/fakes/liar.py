"""A server that breaks the protocol on demand: the tool's name says how."""

import json
import os
import sys
import time

out = sys.stdout.buffer


def send(raw):
    out.write(raw if isinstance(raw, bytes) else raw.encode())
    out.write(b"\n")
    out.flush()


def text(words):
    return {"content": [{"type": "text", "text": words}]}


def answer(id, result):
    send(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}))


def read():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def junk(id):
    send("this is no JSON")
    send(b"\xff\xfe\x00\x80")
    send("")
    send("[" * 100000)
    send('{"jsonrpc":"2.0"}')
    send("[1,2,3]")
    send('"\\ud800"')


def strangers(id):
    for stranger in [999999999, "x", str(id), -1, id + 0.5, 10**30, 1e300]:
        answer(stranger, text("a stranger's"))
    send('{"jsonrpc":"2.0","id":null,"result":{}}')
    send('{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}')
    note = '{"jsonrpc":"2.0","method":"notifications/%s","params":%s}'
    send(note % ("progress", '{"progressToken":%d.5,"progress":1}' % id))
    send(note % ("progress", '{"progressToken":[],"progress":"x"}'))
    send(note % ("cancelled", '{"requestId":%d}' % id))
    send(note % ("message", "{}"))


def huge(id):
    for _ in range(100):
        out.write(b"x" * (1 << 20))
    out.flush()
    time.sleep(1000)


def mid_line(id):
    out.write(b'{"jsonrpc":"2.0","id":%d,"resu' % id)
    out.flush()
    os._exit(3)


def closed(id):
    os.close(1)
    time.sleep(1000)


def asks(id):
    send('{"jsonrpc":"2.0","id":"p","method":"ping"}')
    send('{"jsonrpc":"2.0","id":%d,"method":"sampling/createMessage","params":{}}' % id)
    send('{"jsonrpc":"2.0","id":1e2,"method":"elicitation/create","params":{}}')
    said = [read(), read(), read()]
    return json.dumps([[m.get("id"), m.get("result"), m.get("error", {}).get("code")] for m in said])


def floods(id):
    # It asks without end and reads nothing meanwhile.
    for n in range(200000):
        out.write(b'{"jsonrpc":"2.0","id":"f%d","method":"ping"}\n' % n)
    out.flush()


# What is sent in the place of an answer.
RAW = {
    "bad_utf8": b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"caf\xe9"}]}}',
    "deep": b'{"jsonrpc":"2.0","id":%d,"result":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    "both": b'{"jsonrpc":"2.0","id":%d,"result":{},"error":{"code":1,"message":"x"}}',
    "neither": b'{"jsonrpc":"2.0","id":%d}',
    "duplicate": b'{"jsonrpc":"2.0","id":%d,"result":{},"result":{"x":1}}',
    "no_version": b'{"id":%d,"result":{}}',
    "no_object": b'{"jsonrpc":"2.0","id":%d,"result":5}',
    "odd_error": b'{"jsonrpc":"2.0","id":%d,"error":"just words"}',
}

BEFORE = {f.__name__: f for f in [junk, strangers, huge, mid_line, closed, asks, floods]}


def call(id, name):
    if name in RAW:
        send(RAW[name] % id)
        return
    said = BEFORE[name](id) if name in BEFORE else None
    answer(id, text(said or name))
    if name == "twice":
        answer(id, text("the second answer"))


while True:
    message = read()
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        send("a line of the start script")
        hello = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
        answer(id, hello | {"serverInfo": {"name": "liar", "version": "0"}})
    elif method == "tools/list":
        names = sys.argv[1].split(",")
        answer(id, {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in names]})
    elif method == "tools/call":
        call(id, message["params"]["name"])
    elif method == "ping":
        answer(id, {})
    elif id is not None and method:
        send(json.dumps({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no"}}))
