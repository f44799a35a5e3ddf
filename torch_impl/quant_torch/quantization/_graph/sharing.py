"""From wishes to quantizers: which places share one set of qparams, and which spec decides.

A *site* is a place in the graph where a quantizer is: behind an operation, for all readers of
its result, or on the way to one reader. Sites that must agree form one group, and a group has one
fake-quantize module (PLACE-4, PLACE-6, PLACE-7).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import fx

from quant_torch._stand_in import standing_in
from quant_torch.quantization._graph.configs import GraphConfig, warn
from quant_torch.quantization._graph.functionalize import MUTATED
from quant_torch.quantization._graph.known_ranges import KnownRange, hull, known_range, within
from quant_torch.quantization._graph.matching import Region
from quant_torch.quantization._graph.ops import is_float, is_state, op_type, shape_of
from quant_torch.quantization._graph.patterns import POOLS, SHAPE_ONLY
from quant_torch.quantization._graph.requests import Request, Requests
from quant_torch.quantization._graph.value_preserving import shares
from quant_torch.quantization.config import QATSchedule
from quant_torch.quantization.spec.granularity import (
    PerChannelGranularity,
    PerTensorGranularity,
    QuantizationGranularity,
)
from quant_torch.quantization.spec.spec import QuantizationSpec

# Operations with another number of axes than their input, or other axes: qparams per channel or
# per block mean something else behind them.
_SAME_ELEMENTS = frozenset({"clone", "dropout", "feature_dropout"})


@dataclass(eq=False)
class Site:
    """A place for a quantizer.

    Attributes:
        tensor: The node whose value is quantized.
        readers: The operations that read the quantized value; None for all of them.
        requests: Who asked for it.
    """

    tensor: fx.Node
    readers: list[fx.Node] | None
    requests: list[Request] = field(default_factory=list)


@dataclass
class Group:
    """Sites with one fake-quantize module.

    Attributes:
        sites: In graph order.
        spec: The spec that decides, with known ranges applied.
        schedule: The QAT schedule of its first reader, else of its producer.
    """

    sites: list[Site]
    spec: QuantizationSpec
    schedule: QATSchedule | None


class _Sets:
    """Disjoint sets of sites: union by the representative of a set."""

    def __init__(self) -> None:
        self._parents: dict[int, Site] = {}

    def find(self, site: Site) -> Site:
        """The representative of the set of another site."""
        while (parent := self._parents.get(id(site))) is not None:
            above = self._parents.get(id(parent))
            if above is not None:
                self._parents[id(site)] = above
            site = parent
        return site

    def union(self, sites: Iterable[Site]) -> None:
        """Make several sites share one set."""
        first, *others = (self.find(site) for site in sites)
        for other in others:
            if self.find(other) is not first:
                self._parents[id(self.find(other))] = first


class Placement:
    """Decides about the activation quantizers of one graph.

    Args:
        graph: The captured graph.
        regions: Its regions.
        requests: The wishes for its tensors.
        config: The config; tells which operations take part in sharing.
    """

    def __init__(
        self, graph: fx.Graph, regions: list[Region], requests: Requests, config: GraphConfig
    ) -> None:
        self._nodes = list(graph.nodes)
        self._place = {node: number for number, node in enumerate(self._nodes)}
        self._regions = {region.anchor: region for region in regions}
        self._requests = requests
        self._config = config
        self._sets = _Sets()
        self._behind: dict[fx.Node, Site] = {}
        self._before: dict[fx.Node, dict[fx.Node, Site]] = defaultdict(dict)

    def groups(self) -> list[Group]:
        """The groups, in the order of their first sites."""
        self._make_sites()
        for node in reversed(self._nodes):
            self._pull(node)
        self._join_equal_readers()
        for node in self._nodes:
            region = self._regions.get(node)
            if region is not None and shares(region):
                self._share(node)
        return self._resolve()

    def _make_sites(self) -> None:
        for node, request in self._requests.outputs.items():
            if not node.meta.get(MUTATED):
                self._behind[node] = Site(node, None, [request])
        for (tensor, reader), request in self._requests.edges.items():
            if tensor in self._behind:
                self._behind[tensor].requests.append(request)
            else:
                self._before[tensor][reader] = Site(tensor, [reader], [request])

    def _pull(self, tensor: fx.Node) -> None:
        """Quantize a tensor that reaches its readers quantized through shape-only operations.

        Only where its producer quantizes it, or where every reader wants it quantized, and all in
        one way: a reader that wants the value as it is keeps it (PLACE-7).
        """
        if not is_float(tensor) or is_state(tensor) or tensor.meta.get(MUTATED):
            return
        pulling = [reader for reader in tensor.users if self._is_transparent(reader, tensor)]
        if not pulling:
            return
        behind = self._behind.get(tensor)
        if behind is not None:
            own = _decisive(behind.requests)
            for reader in pulling:
                if _carries(reader, own.spec.granularity):
                    self._sets.union([behind, *self._sites_of(reader)])
            return
        before = self._before[tensor]
        if any(reader not in before and reader not in pulling for reader in tensor.users):
            return
        wishes = {r: self._wish_behind(r) for r in pulling}
        specs = [_decisive(site.requests).spec for site in before.values()]
        specs += [wish.spec for wish in wishes.values() if wish is not None]
        if any(spec != specs[0] for spec in specs):
            return
        for reader, wish in wishes.items():
            if wish is not None:
                before[reader] = Site(tensor, [reader], [wish])
                self._sets.union([before[reader], *self._sites_of(reader)])

    def _is_transparent(self, node: fx.Node, tensor: fx.Node) -> bool:
        """Whether a reader only moves the tensor's values, to where they are read quantized."""
        if op_type(node) not in SHAPE_ONLY or node in self._regions or node.args[0] is not tensor:
            return False
        wish = self._wish_behind(node)
        if wish is None or not _carries(node, wish.spec.granularity):
            return False
        return not self._config.of_operation(node).disabled

    def _wish_behind(self, node: fx.Node) -> Request | None:
        """What all readers of a value agree to want, or None."""
        sites = self._sites_of(node)
        if not sites or (node not in self._behind and len(sites) != len(node.users)):
            return None
        wishes = [_decisive(site.requests) for site in sites]
        if any(wish.spec != wishes[0].spec for wish in wishes):
            return None
        return max(wishes, key=lambda wish: wish.precedence)

    def _join_equal_readers(self) -> None:
        """Readers of a tensor that ask for the same spec share one quantizer (PLACE-4)."""
        for readers in self._before.values():
            alike: list[Site] = []
            for site in readers.values():
                spec = _decisive(site.requests).spec
                twin = next((s for s in alike if _decisive(s.requests).spec == spec), None)
                if twin is None:
                    alike.append(site)
                else:
                    self._sets.union([twin, site])

    def _share(self, node: fx.Node) -> None:
        """Give the input and the output of a value-preserving operation one set of qparams."""
        if self._config.of_operation(node).config is None:
            return
        sites = list(self._sites_of(node))
        for source in node.all_input_nodes:
            if source in self._behind:
                sites.append(self._behind[source])
            elif node in self._before.get(source, {}):
                sites.append(self._before[source][node])
        specs = [_decisive(site.requests).spec for site in sites]
        if len(sites) < 2 or not _may_share(node, specs):
            return
        self._sets.union(sites)

    def _sites_of(self, node: fx.Node) -> list[Site]:
        """The sites at a node's own value."""
        if node in self._behind:
            return [self._behind[node]]
        return list(self._before.get(node, {}).values())

    def _resolve(self) -> list[Group]:
        known: dict[fx.Node, KnownRange | None] = {}
        for node in self._nodes:
            known_range(node, known)
        members: dict[int, list[Site]] = {}
        sites = [*self._behind.values()]
        for readers in self._before.values():
            sites += readers.values()
        for site in sorted(sites, key=self._site_place):
            members.setdefault(id(self._sets.find(site)), []).append(site)
        groups = []
        for together in members.values():
            requests = [request for site in together for request in site.requests]
            winner = _decisive(requests)
            _warn_about_conflict(together, requests, winner)
            range_of_all = hull(known[site.tensor] for site in together)
            if standing_in():
                spec = _as_the_other_package(winner.spec, range_of_all, requests)
            else:
                spec = within(winner.spec, range_of_all)
            groups.append(Group(together, spec, _schedule(requests)))
        return groups

    def _site_place(self, site: Site) -> tuple[int, int]:
        reader = -1 if site.readers is None else self._place[site.readers[0]]
        return self._place[site.tensor], reader


def _decisive(requests: list[Request]) -> Request:
    return max(requests, key=lambda request: request.precedence)


def _as_the_other_package(
    spec: QuantizationSpec, known: KnownRange | None, requests: list[Request]
) -> QuantizationSpec:
    """All bounds where nobody reads with a spec of its own, and nothing without the producer's."""
    roles = {request.role for request in requests}
    if known is None or "producer" not in roles:
        return spec
    alone = "consumer" not in roles
    return within(spec, known, (known.low, known.high) if alone else (None, None))


def _schedule(requests: list[Request]) -> QATSchedule | None:
    """A reader's schedule goes before the producer's (PLACE-9)."""
    ordered = sorted(requests, key=lambda r: (r.role != "consumer", r.place))
    return next((r.schedule for r in ordered if r.schedule is not None), None)


def _warn_about_conflict(sites: list[Site], requests: list[Request], winner: Request) -> None:
    loser = next((r for r in requests if r.spec != winner.spec), None)
    if loser is not None:
        warn(
            f"{winner.who} and {loser.who} ask for different quantization of "
            f"{sites[0].tensor.name}; the spec of {winner.who} is used"
        )


def _may_share(node: fx.Node, specs: list[QuantizationSpec]) -> bool:
    if all(isinstance(spec.granularity, PerTensorGranularity) for spec in specs):
        return True
    alike = all(spec == specs[0] for spec in specs)
    return alike and _carries(node, specs[0].granularity)


def _carries(node: fx.Node, granularity: QuantizationGranularity) -> bool:
    """Whether qparams mean the same on both sides of an operation."""
    kind = op_type(node)
    if isinstance(granularity, PerTensorGranularity) or kind in _SAME_ELEMENTS:
        return True
    if not isinstance(granularity, PerChannelGranularity) or granularity.axis is None:
        return False
    rank = len(shape_of(node))
    axis = granularity.axis % rank
    if kind in POOLS:
        return axis < rank - int(kind[-2])
    moved = _moved_axes(node, rank)
    return moved is not None and axis not in moved


def _moved_axes(node: fx.Node, rank: int) -> set[int] | None:
    """Axes that an operation moves or cuts; None where that is not known."""
    kind, arguments = op_type(node), node.args[1:]
    if not all(isinstance(a, int | list | tuple | None) for a in arguments):
        return None
    if kind == "transpose":
        return {int(a) % rank for a in arguments[:2]}
    if kind == "t":
        return {0, 1}
    if kind == "permute":
        return {place for place, axis in enumerate(arguments[0]) if axis % rank != place}
    if kind == "slice":
        return {int(arguments[0] if arguments else 0) % rank}
    return None
