"""Refuses tools that drop things, and leaves all other calls to whoever comes next.

This module is run once, when it is built: what it has made by then, `random`'s seed included, is the same in every
instance. Real randomness and the time come from the router: wit/policy.wit names what is imported.
"""

from wit_world import exports
from wit_world.imports.types import (
    Call,
    Candidates,
    Denial,
    RouteChoice,
    RouteChoice_Deny,
    RouteChoice_Next,
)


class Route(exports.Route):
    def route(self, call: Call, candidates: Candidates) -> RouteChoice:
        if "drop" in (call.name() or ""):
            return RouteChoice_Deny(
                Denial(
                    code="no-drop",
                    message="nothing is dropped here; ask an administrator",
                )
            )
        return RouteChoice_Next()
