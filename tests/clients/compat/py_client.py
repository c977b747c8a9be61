"""The Python SDK through the features of the cross table: `--mode auto|legacy|2026-07-28`."""

import argparse
import json
import sys
import warnings

import anyio
import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

MODERN = "2026-07-28"
COUNTER = "test://counter"
# The tool that is added: one client to a server.
ADDED = "added"
MODEL = types.CreateMessageResult(
    role="assistant", model="siding", content=types.TextContent(type="text", text="all aboard"), stop_reason="endTurn"
)
FORM = types.ElicitResult(action="accept", content={"word": "semaphore"})
ROOTS = types.ListRootsResult(roots=[types.Root(uri="file:///siding", name="siding")])


class Told(Exception):
    """What is printed of a feature that does not work."""

    def __init__(self, code, detail):
        super().__init__(detail)
        self.code, self.detail = str(code), detail


def expect(got, wanted):
    if got != wanted:
        raise Told("wrong", f"{got!r} instead of {wanted!r}")


def said(result):
    """The text of a tool's result that is no error."""
    text = "\n".join(getattr(block, "text", "") for block in result.content)
    if result.is_error:
        raise Told("isError", text)
    return text


class Connected:
    """One connected client, and what its hooks see."""

    def __init__(self):
        self.client, self.modern = None, False
        self.stream_open, self.heard = anyio.Event(), {}

    async def on_response(self, response):
        if response.request.method == "GET" and response.status_code == 200:
            self.stream_open.set()

    async def on_message(self, message):
        event = self.heard.get(type(message))
        if event is not None:
            event.set()

    async def call(self, tool, /, **arguments):
        return said(await self.client.call_tool(tool, arguments))

    async def told_of(self, kind, listen, act):
        """Acts once notifications can arrive, and waits for one of this kind."""
        if self.modern:
            async with self.client.listen(**listen) as subscription:
                await act()
                async for _ in subscription:
                    return
            raise Told("wrong", "the subscription ended")
        await self.stream_open.wait()
        self.heard[kind] = anyio.Event()
        await act()
        await self.heard[kind].wait()

    async def progress(self):
        steps, last = [], anyio.Event()

        async def on_progress(_progress, _total, message):
            steps.append(message)
            if message == "step 3":
                last.set()

        arguments = {"count": 3, "delay_ms": 10}
        result = await self.client.call_tool("progress", arguments, progress_callback=on_progress)
        expect(said(result), "sent 3")
        # The SDK may tell of the last one after the result.
        await last.wait()
        expect([s for s in steps if s and s.startswith("step ")], ["step 1", "step 2", "step 3"])

    async def sampling(self):
        answer = await self.call("ask_sampling", prompt="What does the guard say?")
        expect(answer, f"model said: {MODEL.content.text}")

    async def elicitation(self):
        expect(await self.call("ask_form", message="Which signal?"), "user: accept semaphore")

    async def roots(self):
        expect(await self.call("ask_roots"), "file:///siding")

    async def subscribe(self):
        async def act():
            if not self.modern:
                await self.client.subscribe_resource(COUNTER)
            await self.call("touch_resource")

        await self.told_of(types.ResourceUpdatedNotification, {"resource_subscriptions": [COUNTER]}, act)

    async def prompt(self):
        answer = await self.client.get_prompt("greeting", {"language": "finnish"})
        expect(answer.messages[0].content.text, "Please greet me in finnish.")

    async def completion(self):
        ref = types.PromptReference(type="ref/prompt", name="greeting")
        answer = await self.client.complete(ref, {"name": "language", "value": "f"})
        expect(answer.completion.values, ["finnish", "french"])
        ref = types.ResourceTemplateReference(type="ref/resource", uri="test://city/{country}/{city}")
        answer = await self.client.complete(ref, {"name": "city", "value": "b"}, {"country": "germany"})
        expect(answer.completion.values, ["berlin", "bonn", "bremen"])

    async def list_change(self):
        async def act():
            await self.call("add_tool", name=ADDED)

        await self.told_of(types.ToolListChangedNotification, {"tools_list_changed": True}, act)
        names = [tool.name for tool in (await self.client.list_tools(cache_mode="bypass")).tools]
        if ADDED not in names:
            raise Told("wrong", f"{ADDED} is not in the list after the change")

    async def count(self):
        return json.loads(await self.call("cancelled_count"))["cancelled"]

    async def cancel(self):
        before = await self.count()
        with anyio.CancelScope() as scope:

            async def on_progress(_progress, _total, message):
                # Its first word: it runs.
                if message == "running":
                    scope.cancel()

            result = await self.client.call_tool("slow", {"ms": 60_000}, progress_callback=on_progress)
            raise Told("wrong", f"the cancelled call was answered: {said(result)}")
        while await self.count() == before:
            pass


FEATURES = ["progress", "sampling", "elicitation", "roots", "subscribe", "prompt", "completion", "list change", "cancel"]


def innermost(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def told(error, seconds):
    error = innermost(error)
    if isinstance(error, Told):
        return error.code, error.detail
    if isinstance(error, TimeoutError):
        return "late", f"not done after {seconds:g} s"
    inner = getattr(error, "error", None)
    if inner is not None and hasattr(inner, "code"):
        return str(inner.code), inner.message
    return type(error).__name__, str(error)


def say(feature, failure=None):
    line = {"feature": feature, "ok": failure is None}
    if failure is not None:
        line["code"], line["detail"] = failure
    print(json.dumps(line), flush=True)


async def run(o, left):
    connected = Connected()

    async def answer(what):
        return what

    async with httpx2.AsyncClient(timeout=60, event_hooks={"response": [connected.on_response]}) as http:
        client = Client(
            streamable_http_client(o.url, http_client=http),
            mode=o.mode,
            message_handler=connected.on_message,
            sampling_callback=lambda *_: answer(MODEL),
            elicitation_callback=lambda *_: answer(FORM),
            list_roots_callback=lambda *_: answer(ROOTS),
        )
        with anyio.fail_after(o.deadline * len(FEATURES)):
            async with client:
                connected.client, connected.modern = client, client.protocol_version == MODERN
                while left:
                    feature, failure = left[0], None
                    try:
                        with anyio.fail_after(o.deadline):
                            await getattr(connected, feature.replace(" ", "_"))()
                    except Exception as error:
                        failure = told(error, o.deadline)
                    say(left.pop(0), failure)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("url", metavar="URL")
    p.add_argument("--mode", default="auto", choices=["auto", "legacy", MODERN])
    p.add_argument("--deadline", type=float, default=10, metavar="SECONDS", help="for each feature")
    o = p.parse_args()
    left = list(FEATURES)
    try:
        anyio.run(run, o, left)
    except Exception as error:
        for feature in left:
            say(feature, told(error, o.deadline))
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
