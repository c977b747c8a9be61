"""The official Python SDK as an outside client: connect, list every page, call, or wait for list_changed."""

import sys
import warnings

import anyio
import httpx2
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from steps import Mismatch, check_progress, check_protocol, check_result, check_tools, command, fail, parse, parser, say

MODERN = "2026-07-28"


async def list_tools(client):
    """The names of all tools, with the number of pages they came in."""
    names, cursor, pages = [], None, 0
    while True:
        page = await client.list_tools(cursor=cursor, cache_mode="bypass")
        pages += 1
        names += [tool.name for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None:
            return names, pages
        if pages == 1000:
            raise Mismatch("the tool list has not ended after 1000 pages")


async def wait_legacy(seen):
    # A notification sent before the standing GET stream is open may be lost: say "watching" only afterwards,
    # and wait for one that comes later still.
    await seen.stream_open.wait()
    seen.changed = anyio.Event()
    say("watching")
    await seen.changed.wait()


async def wait_modern(client):
    async with client.listen(tools_list_changed=True) as subscription:
        say("watching", honored=subscription.honored.model_dump(by_alias=True, exclude_none=True))
        async for event in subscription:
            say("event", kind=type(event).__name__)
            return
    raise Mismatch("the subscription ended without a tools/list_changed")


class Seen:
    """What the hooks saw: the standing stream opened, the tool list changed."""

    def __init__(self):
        self.stream_open, self.changed = anyio.Event(), anyio.Event()
        self.progress = 0

    async def on_response(self, response):
        if response.request.method == "GET" and response.status_code == 200:
            self.stream_open.set()

    async def on_progress(self, progress, total, message):
        self.progress += 1

    async def on_message(self, message):
        if isinstance(message, types.ToolListChangedNotification):
            self.changed.set()


async def run(o):
    seen = Seen()
    hooks = {"response": [seen.on_response]}
    timeout = httpx2.Timeout(o.deadline)
    async with httpx2.AsyncClient(timeout=timeout, event_hooks=hooks) as http:
        words = command(o)
        if words:
            transport = StdioServerParameters(command=words[0], args=words[1:])
        else:
            transport = streamable_http_client(o.url, http_client=http)
        async with Client(transport, mode=o.mode, message_handler=seen.on_message) as client:
            version = client.protocol_version
            info = client.server_info
            say("connect", mode=o.mode, protocol=version, server=info.name if info else None)
            check_protocol(version, o.expect_protocol)
            names, pages = await list_tools(client)
            say("list", pages=pages, tools=names)
            check_tools(names, o.expect_tools)
            for name, arguments, wanted in o.calls:
                result = await client.call_tool(name, arguments, progress_callback=seen.on_progress)
                result = result.model_dump(mode="json", by_alias=True, exclude_none=True)
                check_result(name, result, wanted)
                say("call", name=name, result=result)
            check_progress(seen.progress, o.expect_progress)
            if o.watch_list_changed:
                if version == MODERN:
                    await wait_modern(client)
                else:
                    await wait_legacy(seen)
                names, pages = await list_tools(client)
                say("list_changed", pages=pages, tools=names)


async def within(o):
    with anyio.fail_after(o.deadline):
        await run(o)


def innermost(error):
    """The causes inside the groups that the SDK's task groups wrap around them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main():
    p = parser(__doc__)
    p.add_argument("--mode", default="auto", choices=["auto", "legacy", MODERN])
    p.add_argument("--watch-list-changed", action="store_true", help="then wait for one tools/list_changed")
    o = parse(p)
    try:
        anyio.run(within, o)
    except Exception as e:
        cause = innermost(e)
        if isinstance(cause, Mismatch):
            return fail(str(cause))
        if isinstance(cause, TimeoutError):
            return fail(f"not done after {o.deadline} s")
        return fail(f"{type(cause).__name__}: {cause}")
    say("done")
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
