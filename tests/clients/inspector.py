"""The MCP Inspector's command line as an outside client: every step is one run of `mcp-inspector --cli`."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from steps import Mismatch, check_result, check_tools, command, fail, parse, parser, say

HERE = pathlib.Path(__file__).resolve().parent
NODE = HERE / "node_modules/.bin/node"
CLI = HERE / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"


def target(o, home):
    """The options that say which server: for one over stdio, a file as desktop clients have it."""
    words = command(o)
    if not words:
        return ["--transport", "http", "--server-url", o.url]
    config = pathlib.Path(home, "claude_desktop_config.json")
    config.write_text(json.dumps({"mcpServers": {"pointsman": {"command": words[0], "args": words[1:]}}}))
    return ["--config", config, "--server", "pointsman"]


def inspect(o, home, ends, method, *more):
    """Runs one method and returns its result."""
    line = [NODE, CLI, "--cli", "--format", "json", "--quiet", "--protocol-era", o.mode]
    line += [*target(o, home), "--method", method, *more]
    # The Inspector keeps a catalogue and secrets in the home directory: give it one to throw away.
    env = {"PATH": os.environ["PATH"], "HOME": home}
    left = max(ends - time.monotonic(), 0.1)
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=left)
    if done.returncode != 0:
        raise Mismatch(f"{method} exited with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise Mismatch(f"{method} printed no JSON: {done.stdout!r} {done.stderr!r}") from None
    return answer.get("result", answer)


def tool_args(arguments):
    """Strings as key=value pairs, the way people type them; anything else as one JSON object."""
    if not arguments or not all(isinstance(value, str) for value in arguments.values()):
        return ["--tool-args-json", json.dumps(arguments)]
    return [word for key, value in arguments.items() for word in ("--tool-arg", f"{key}={value}")]


def run(o, home):
    ends = time.monotonic() + o.deadline
    names = [tool["name"] for tool in inspect(o, home, ends, "tools/list")["tools"]]
    say("list", mode=o.mode, tools=names)
    check_tools(names, o.expect_tools)
    for name, arguments, wanted in o.calls:
        result = inspect(o, home, ends, "tools/call", "--tool-name", name, *tool_args(arguments))
        check_result(name, result, wanted)
        say("call", name=name, result=result)


def main():
    p = parser(__doc__)
    p.add_argument("--mode", default="legacy", choices=["legacy", "auto", "modern"])
    o = parse(p)
    if o.expect_protocol:
        p.error("the Inspector does not say which version it negotiated; choose one with --mode")
    try:
        with tempfile.TemporaryDirectory() as home:
            run(o, home)
    except Mismatch as e:
        return fail(str(e))
    except subprocess.TimeoutExpired:
        return fail(f"not done after {o.deadline} s")
    except FileNotFoundError as e:
        return fail(f"{e.filename} is missing: run `make test`, which installs it")
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
