"""The Inspector's command line through what it can do of the cross table; every feature is one run of the program."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

CLIENTS = pathlib.Path(__file__).resolve().parent.parent
NODE = CLIENTS / "node_modules/.bin/node"
CLI = CLIENTS / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"

# What it cannot do, and why.
CANNOT = {
    "progress": "asks for no progress",
    "sampling": "declares no sampling on the command line",
    "elicitation": "declares no elicitation on the command line",
    "subscribe": "has no command that stays to listen",
    "completion": "has no command for completions",
    "list change": "has no command that stays to listen",
    "cancel": "has no command that cancels",
}


class Told(Exception):
    """What is printed of a feature that does not work."""

    def __init__(self, code, detail):
        super().__init__(detail)
        self.code, self.detail = str(code), detail


def inspect(o, home, method, *more):
    """Runs one method and returns its result."""
    command = [NODE, CLI, "--cli", "--format", "json", "--quiet", "--protocol-era", o.mode]
    command += ["--transport", "http", "--server-url", o.url, "--method", method, *more]
    # It keeps a catalogue and secrets in the home directory: give it one to throw away.
    env = {"PATH": os.environ["PATH"], "HOME": home}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=o.deadline)
    except subprocess.TimeoutExpired:
        raise Told("late", f"not done after {o.deadline:g} s") from None
    answer = (done.stdout.strip() or done.stderr.strip()).splitlines()
    try:
        first = json.loads(answer[0])
    except (IndexError, json.JSONDecodeError):
        raise Told("exit", f"{done.returncode}: {done.stderr.strip()}") from None
    if "error" in first:
        raise Told(first["error"].get("code", "error"), first["error"].get("message", ""))
    return first["result"]


def tool(o, home, name, arguments, wanted):
    result = inspect(o, home, "tools/call", "--tool-name", name, "--tool-args-json", json.dumps(arguments))
    text = "\n".join(block.get("text", "") for block in result["content"])
    if result.get("isError"):
        raise Told("isError", text)
    if text != wanted:
        raise Told("wrong", f"{text!r} instead of {wanted!r}")


def roots(o, home):
    # It is asked, and has none.
    tool(o, home, "ask_roots", {}, "")


def prompt(o, home):
    result = inspect(o, home, "prompts/get", "--prompt-name", "greeting", "--prompt-args", "language=finnish")
    text = result["messages"][0]["content"]["text"]
    if text != "Please greet me in finnish.":
        raise Told("wrong", text)


RUNS = {"roots": roots, "prompt": prompt}
FEATURES = ["progress", "sampling", "elicitation", "roots", "subscribe", "prompt", "completion", "list change", "cancel"]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("url", metavar="URL")
    p.add_argument("--mode", default="legacy", choices=["legacy", "auto", "modern"])
    p.add_argument("--deadline", type=float, default=10, metavar="SECONDS", help="for each feature")
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as home:
        for feature in FEATURES:
            line = {"feature": feature, "ok": True}
            try:
                if feature in CANNOT:
                    line = {"feature": feature, "skip": CANNOT[feature]}
                else:
                    RUNS[feature](o, home)
            except Told as failure:
                line = {"feature": feature, "ok": False, "code": failure.code, "detail": failure.detail}
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
