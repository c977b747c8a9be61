"""What the Python clients share: the command line, one JSON line per step, one FAIL line at most."""

import argparse
import json
import sys


class Mismatch(Exception):
    """The server answered, but not what the command line expects."""


def parser(description):
    p = argparse.ArgumentParser(description=description)
    p.add_argument("url", metavar="URL", help="or stdio: and a JSON array, a command that speaks MCP over stdio")
    p.add_argument("--expect-tools", default="", metavar="A,B", help="names that the tool list must contain")
    p.add_argument("--expect-protocol", metavar="VERSION", help="protocol version that must be negotiated")
    p.add_argument("--call", action="append", default=[], metavar="NAME", help="tool to call; repeatable")
    p.add_argument("--args", action="append", default=[], metavar="JSON", help="its arguments, one for each --call")
    p.add_argument("--expect", action="append", default=[], metavar="TEXT", help="what its result must contain")
    p.add_argument("--expect-progress", type=int, default=0, metavar="N", help="notifications that the calls must bring")
    p.add_argument("--deadline", type=float, default=60, metavar="SECONDS", help="for everything together")
    return p


def parse(p):
    """Parses the command line and pairs every --call with its --args and --expect."""
    o = p.parse_args()
    if not len(o.call) == len(o.args) == len(o.expect):
        p.error("every --call needs one --args and one --expect")
    try:
        o.calls = [(name, json.loads(args), text) for name, args, text in zip(o.call, o.args, o.expect)]
    except json.JSONDecodeError as e:
        p.error(f"--args is not JSON: {e}")
    o.expect_tools = [name for name in o.expect_tools.split(",") if name]
    return o


def command(o):
    """The command and its arguments, if it is to be stdio."""
    scheme, _, words = o.url.partition(":")
    return json.loads(words) if scheme == "stdio" else None


def check_progress(got, wanted):
    if got < wanted:
        raise Mismatch(f"{got} progress notifications came, expected {wanted}")


def say(step, **fields):
    print(json.dumps({"step": step, **fields}), flush=True)


def fail(message):
    print(f"FAIL: {message}", file=sys.stderr, flush=True)
    return 1


def check_protocol(got, wanted):
    if wanted and got != wanted:
        raise Mismatch(f"negotiated protocol {got}, expected {wanted}")


def check_tools(names, wanted):
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Mismatch(f"tools listed more than once: {', '.join(twice)}")
    missing = [name for name in wanted if name not in names]
    if missing:
        raise Mismatch(f"tools missing from the list: {', '.join(missing)}; listed: {', '.join(names)}")


def check_result(name, result, wanted):
    """`result` is a tools/call result as the wire has it."""
    shown = json.dumps(result, ensure_ascii=False)
    if result.get("isError"):
        raise Mismatch(f"{name} answered with isError: {shown}")
    texts = [block.get("text", "") for block in result.get("content", [])]
    if wanted not in "\n".join(texts) and wanted not in shown:
        raise Mismatch(f"the result of {name} does not contain {wanted!r}: {shown}")
