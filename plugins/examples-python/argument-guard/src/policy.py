"""Refuses or masks what arguments of tools hold, by regular expressions.

    { "deny": [{ "tool": "shell", "pattern": "rm\\s+-rf", "why": "no recursive removal" }],
      "mask": [{ "pattern": "\\b\\d{16}\\b", "with": "[card]" }] }

Every string in the arguments is looked at, however deep. Without `tool`, a regular expression too, a rule is about all
tools. No grants.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import (
    Call,
    Candidates,
    Denial,
    Edit,
    Edit_Set,
    RouteChoice,
    RouteChoice_Deny,
    RouteChoice_Next,
    SetEdit,
)


@dataclass
class Rule:
    tool: re.Pattern[str]
    pattern: re.Pattern[str]
    words: str


denied: list[Rule] = []
masked: list[Rule] = []


def rules(config: dict, key: str, words: str, default: str) -> list[Rule]:
    found = config.get(key, [])
    if not isinstance(found, list):
        raise ValueError(f"{key}: a list is wanted")
    return [
        Rule(re.compile(r.get("tool", "")), re.compile(r["pattern"]), r.get(words, default))
        for r in found
    ]


def strings(value: object, pointer: str) -> Iterator[tuple[str, str]]:
    """All strings in a value, each with the JSON pointer to it."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from strings(inner, f"{pointer}/{position}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            escaped = key.replace("~", "~0").replace("/", "~1")
            yield from strings(inner, f"{pointer}/{escaped}")


def arguments(call: Call) -> Iterator[tuple[str, str]]:
    text = call.param("/arguments") if call.method() == "tools/call" else None
    return strings(json.loads(text), "/arguments") if text else iter(())


def about(rules: list[Rule], call: Call) -> list[Rule]:
    tool = call.name() or ""
    return [rule for rule in rules if rule.tool.search(tool)]


class Lifecycle(exports.Lifecycle):
    def init(self, config: str) -> None:
        try:
            read = json.loads(config)
            denied[:] = rules(read, "deny", "why", "this is not allowed here")
            masked[:] = rules(read, "mask", "with", "[masked]")
        except (ValueError, KeyError, AttributeError, TypeError, re.error) as error:
            raise Err(f"config: {error!r}") from error

    def shutdown(self) -> None:
        pass


class Route(exports.Route):
    def route(self, call: Call, candidates: Candidates) -> RouteChoice:
        if found := about(denied, call):
            for _, text in arguments(call):
                for rule in found:
                    if rule.pattern.search(text):
                        return RouteChoice_Deny(Denial("argument-refused", rule.words))
        return RouteChoice_Next()


class TransformRequest(exports.TransformRequest):
    def transform(self, call: Call) -> list[Edit]:
        edits: list[Edit] = []
        if found := about(masked, call):
            for pointer, text in arguments(call):
                new = text
                for rule in found:
                    new = rule.pattern.sub(rule.words, new)
                if new != text:
                    edits.append(Edit_Set(SetEdit(pointer, json.dumps(new))))
        return edits
