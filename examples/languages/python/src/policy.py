"""Three hooks with a little work in each, the same in all languages of `make bench`: see examples/languages/main.rs."""

from wit_world import exports
from wit_world.imports.types import (
    Call,
    Candidates,
    Denial,
    Edit,
    Edit_Set,
    RouteChoice,
    RouteChoice_Deny,
    RouteChoice_Narrow,
    RouteChoice_Next,
    Selection,
    Selection_Any,
    Selection_Pick,
    SetEdit,
    Targets,
)


class Route(exports.Route):
    def route(self, call: Call, candidates: Candidates) -> RouteChoice:
        """The least busy of those that offer the tool, unless it is one that drops things or a robot asks."""
        name = call.name() or ""
        agent = call.header("user-agent") or ""
        if "drop" in name or "robot" in agent:
            return RouteChoice_Deny(Denial(code="no-drop", message="nothing is dropped here"))
        offering = candidates.offering()
        if not offering:
            return RouteChoice_Next()
        return RouteChoice_Narrow([min(offering, key=candidates.in_flight)])


class Select(exports.Select):
    def select(self, call: Call, targets: Targets) -> Selection:
        """The target with the fewest calls."""
        loads = targets.loads() if call.name() is not None else []
        if not loads:
            return Selection_Any()
        return Selection_Pick(loads.index(min(loads)))


class TransformRequest(exports.TransformRequest):
    def transform(self, call: Call) -> list[Edit]:
        """A limit of ten, where there is none or a higher one."""
        name = call.name() or ""
        limit = call.param("/arguments/limit")
        if not name or (limit is not None and float(limit) <= 10):
            return []
        return [Edit_Set(SetEdit(pointer="/arguments/limit", json="10"))]
