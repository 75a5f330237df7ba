"""Loops over timesteps, taken apart: what their bodies compute at one timestep is computed at every one.

ONNX's ``Loop`` and ``Scan`` repeat a `Body`. Its nodes become nodes of the graph, where a tensor of one timestep stands
for those of all; three operators lead in and out::

    EACH_TIMESTEP    sequences     -> one timestep of each, in the loop's order
    ALL_TIMESTEPS    a timestep    -> the sequence of all of them
    LAST_TIMESTEP    a timestep    -> the one that the loop ends with

What is carried from one timestep to the next must be the state of a cell: `states` makes sure, once the cells are
found. Readers of other formats write their loops as ONNX's ``Loop``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Body, Graph, Node, live_order
from grurt.converters.graph.rewriting.counting import Carried, Count, Counting
from grurt.converters.graph.rewriting.matching import Matcher
from grurt.converters.graph.rewriting.sequences import Collected, collected, without_lists
from grurt.errors import DesignReason

EACH_TIMESTEP = "grurt.EachTimestep"
"""Inputs: sequences, tensors of one integer, and the condition under which the loop begins at all.

Attributes: for each sequence the axis that is scanned (``axes``), 1 or -1 (``steps``), and whether it may begin at a
position counted from its end (``wraps``); how many ``tensors`` the counts speak of; and ``counts``, a constant and a
factor for each tensor: where each sequence begins, and how often the loop runs at most.
"""
ALL_TIMESTEPS = "grurt.AllTimesteps"
"""Attributes: the ``axis`` along which they lie, and whether they are ``reversed`` against the order of the loop."""
LAST_TIMESTEP = "grurt.LastTimestep"

_RESULTS = "grurt.LoopResults"
"""What stands for a loop until it is known to be live. Inputs: what its body computes; outputs: those of the loop."""

_FROM_LAST = Count(-1)
"""Where a sequence begins that is scanned from its end."""


@dataclass(frozen=True)
class _Scanned:
    """A sequence, and the tensor of the body that holds one timestep of it, with the axis still there if it is kept."""

    sequence: str
    timestep: str
    axis: int
    start: Count
    step: int
    kept: bool = False
    wraps: bool = True
    """Whether positions may be counted from the end: a Slice before the first one is empty."""


@dataclass(frozen=True)
class _Stacked:
    """What a body computes at each timestep, and the tensor of all of them."""

    timestep: str
    sequence: str
    axis: int = 0
    reversed: int = 0


@dataclass(frozen=True)
class _Loop:
    node: Node
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    carried: tuple[Carried, ...]
    finals: tuple[str, ...]
    """The tensors that hold what is carried, after the loop."""
    stacked: tuple[_Stacked, ...]
    scanned: tuple[_Scanned, ...] = ()
    iteration: str = ""
    trip_count: str = ""
    begins: str = ""
    """The tensor that says whether the loop begins at all."""
    goes_on: str = ""
    """The tensor of the body that says whether there is another iteration."""
    condition: str = ""
    """The tensor of the body that says that there is this one."""
    lists: Mapping[str, Collected] = field(default_factory=dict)
    """What is collected in lists, by the names of these behind the loop."""

    @property
    def given(self) -> list[str]:
        """What the body reads, and no node writes."""
        names = [self.iteration, self.condition, *(each.name for each in self.carried)]
        return [name for name in (*names, *(each.timestep for each in self.scanned)) if name]

    @property
    def results(self) -> Node:
        """The node that stands for the loop."""
        inputs = [self.trip_count, self.begins, self.goes_on, *(each.handed_on for each in self.carried)]
        inputs += [each.initial for each in self.carried] + [each.timestep for each in self.stacked]
        inputs += [each.sequence for each in self.scanned]
        outputs = (*self.finals, *(each.sequence for each in self.stacked))
        return Node(self.node.name, _RESULTS, tuple(filter(None, inputs)), outputs)


@dataclass(frozen=True)
class Inlined:
    """A graph without its loops.

    Parameters
    ----------
    graph
        The graph, each node after those that it reads.
    carried
        What the loops carry from one timestep to the next, with the nodes that they were.
    given
        The tensors that no node writes, as they differ between timesteps: what is carried, and what is counted.
    """

    graph: Graph
    carried: tuple[tuple[Node, Carried], ...] = ()
    given: tuple[str, ...] = ()

    @property
    def ends(self) -> list[str]:
        """The tensors with which what is carried begins, and which are handed on."""
        return [name for _, each in self.carried for name in (each.initial, each.handed_on)]

    def live_nodes(self) -> list[Node]:
        """Return the nodes that the graph's outputs need, and what is carried, each after those that it reads."""
        given = [*self.graph.constants, *(port.name for port in self.graph.inputs), *self.given]
        return live_order(self.graph.nodes, given, [*(port.name for port in self.graph.outputs), *self.ends])


def without_loops(graph: Graph, budget: Budget) -> Inlined:
    """Return a graph with the bodies of its loops among its nodes.

    Raises
    ------
    UnsupportedError
        If a loop does not scan sequences.
    ConversionError
        If a loop contradicts the specification of ONNX.
    """
    around = graph.producers()
    loops = {id(node): _loop(node, around) for node in graph.nodes if node.op in ("Loop", "Scan")}
    if not loops:
        return Inlined(graph)
    ends = [node for node in graph.nodes if node.op == "ConcatFromSequence" and node.inputs and node.outputs]
    joined = {node.inputs[0]: node for node in ends}
    loops = {key: _with_joined_lists(loop, joined) for key, loop in loops.items()}
    written = {name for loop in loops.values() for name in loop.results.outputs}
    nodes = [
        part
        for node in graph.nodes
        for part in ((*loops[id(node)].nodes, loops[id(node)].results) if id(node) in loops else (node,))
        if not (part.op == "ConcatFromSequence" and written & set(part.outputs))
    ]
    constants = {**graph.constants, **{key: value for loop in loops.values() for key, value in loop.constants.items()}}
    given = tuple(name for loop in loops.values() for name in loop.given)
    graph = replace(graph, nodes=tuple(nodes), constants=constants)
    nodes = Inlined(graph, (), given).live_nodes()
    by_results = {loop.results.outputs: loop for loop in loops.values()}
    nodes = without_lists(nodes, Matcher(replace(graph, nodes=tuple(nodes)), budget))
    matcher = Matcher(replace(graph, nodes=tuple(nodes)), budget)
    live = [by_results[node.outputs] for node in nodes if node.op == _RESULTS]
    bodies = _bodies(live, nodes)
    replaced: dict[str, Node] = {}
    for loop in live:
        replaced.update(_timesteps(loop, bodies[id(loop)], matcher))
    kept = [node for node in nodes if node.op != _RESULTS and not replaced.keys() & set(node.outputs)]
    added = {id(node): node for node in replaced.values()}
    results = [node for loop in live for node in _results(loop)]
    carried = tuple((loop.node, each) for loop in live for each in loop.carried)
    given = tuple(name for name in given if name not in replaced)
    return Inlined(replace(graph, nodes=(*kept, *added.values(), *results)), carried, given)


def _loop(node: Node, around: Mapping[str, Node]) -> _Loop:
    body = node.attributes.get("body")
    if not isinstance(body, Body):
        raise node.invalid("it has no body")
    if any(isinstance(value, Body) for inner in body.nodes for value in inner.attributes.values()):
        raise node.unsupported(
            "its body holds another loop or a branch",
            "export the recurrent layer by itself, without control flow inside of its loop",
            DesignReason.DATA_DEPENDENT,
        )
    stem = next(filter(None, node.outputs), "")
    written = [name for inner in body.nodes for name in inner.outputs]
    local = {name: f"{stem}/{name}" for name in (*body.inputs, *body.constants, *written) if name}
    nodes = tuple(
        replace(
            inner,
            inputs=tuple(local.get(name, name) for name in inner.inputs),
            outputs=tuple(local.get(name, name) for name in inner.outputs),
        )
        for inner in body.nodes
    )
    constants = {local[name]: array for name, array in body.constants.items()}
    inputs = tuple(local.get(name, name) for name in body.inputs)
    outputs = tuple(local.get(name, name) for name in body.outputs)
    results = (*node.outputs, *("",) * (len(outputs) - len(node.outputs)))
    results = tuple(name or f"{stem}/result {index}" for index, name in enumerate(results))
    make = _of_scan if node.op == "Scan" else _of_loop
    loop = _without_constants(make(node, nodes, constants, inputs, outputs, results))
    return _with_lists(loop, around)


def _of_loop(
    node: Node,
    nodes: tuple[Node, ...],
    constants: Mapping[str, Array],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    results: tuple[str, ...],
) -> _Loop:
    trip_count, begins, *initial = (*node.inputs, *("",) * (2 - len(node.inputs)))
    count = len(initial)
    if len(inputs) != 2 + count or len(outputs) < 1 + count or not outputs[0]:
        raise node.invalid(
            f"its body has {len(inputs)} inputs and {len(outputs)} outputs, and it carries {count} tensors"
        )
    handed_on, stacked = outputs[1 : 1 + count], outputs[1 + count :]
    return _Loop(
        node,
        nodes,
        constants,
        tuple(Carried(*each) for each in zip(inputs[2:], initial, handed_on, strict=True)),
        results[:count],
        tuple(_Stacked(*each) for each in zip(stacked, results[count:], strict=False)),
        iteration=inputs[0],
        trip_count=trip_count,
        begins=begins,
        goes_on=outputs[0],
        condition=inputs[1],
    )


def _of_scan(
    node: Node,
    nodes: tuple[Node, ...],
    constants: Mapping[str, Array],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    results: tuple[str, ...],
) -> _Loop:
    scans = node.integer("num_scan_inputs", 0)
    count = len(inputs) - scans
    if len(node.inputs) != len(inputs) or not 0 <= count <= len(outputs) or scans < 1:
        raise node.invalid(
            f"its body has {len(inputs)} inputs and {len(outputs)} outputs, and it scans {scans} sequences"
        )
    every = len(outputs) - count
    axes, directions = (_listed(node, f"scan_input_{name}", scans) for name in ("axes", "directions"))
    out_axes, out_directions = (_listed(node, f"scan_output_{name}", every) for name in ("axes", "directions"))
    return _Loop(
        node,
        nodes,
        constants,
        tuple(Carried(*each) for each in zip(inputs[:count], node.inputs[:count], outputs[:count], strict=True)),
        results[:count],
        tuple(_Stacked(*each) for each in zip(outputs[count:], results[count:], out_axes, out_directions, strict=True)),
        tuple(
            _Scanned(sequence, timestep, axis, _FROM_LAST if backwards else Count(), -1 if backwards else 1)
            for sequence, timestep, axis, backwards in zip(
                node.inputs[count:], inputs[count:], axes, directions, strict=True
            )
        ),
    )


def _listed(node: Node, name: str, count: int) -> tuple[int, ...]:
    found = node.integers(name) or (0,) * count
    if len(found) != count:
        raise node.invalid(f"expected {count} numbers as its attribute {name!r}")
    return found


def _without_constants(loop: _Loop) -> _Loop:
    """Return the loop without what it carries around unchanged, as weights."""
    identities = [node for node in loop.nodes if node.op == "Identity" and node.inputs and node.outputs]
    copies = {node.outputs[0]: node.inputs[0] for node in identities}
    unchanged = {each.name: each.initial for each in loop.carried if _followed(each.handed_on, copies) == each.name}
    ends = zip(loop.carried, loop.finals, strict=True)
    kept = [(each, final) for each, final in ends if each.name not in unchanged]
    finals = [
        Node(loop.node.name, "Identity", (each.initial,), (final,))
        for each, final in zip(loop.carried, loop.finals, strict=True)
        if each.name in unchanged
    ]
    nodes = [replace(node, inputs=tuple(unchanged.get(name, name) for name in node.inputs)) for node in loop.nodes]
    carried = tuple(replace(each, handed_on=unchanged.get(each.handed_on, each.handed_on)) for each, _ in kept)
    stacked = tuple(replace(each, timestep=unchanged.get(each.timestep, each.timestep)) for each in loop.stacked)
    return replace(
        loop, nodes=(*nodes, *finals), carried=carried, finals=tuple(final for _, final in kept), stacked=stacked
    )


def _with_lists(loop: _Loop, around: Mapping[str, Node]) -> _Loop:
    """Return the loop with what it collects in lists apart from what it carries."""
    body = {name: node for node in loop.nodes for name in node.outputs}
    lists = {each.name: found for each in loop.carried if (found := collected(each, body, around)) is not None}
    ends = list(zip(loop.carried, loop.finals, strict=True))
    kept = [(each, final) for each, final in ends if each.name not in lists]
    return replace(
        loop,
        carried=tuple(each for each, _ in kept),
        finals=tuple(final for _, final in kept),
        lists={final: lists[each.name] for each, final in ends if each.name in lists},
    )


def _with_joined_lists(loop: _Loop, joined: Mapping[str, Node]) -> _Loop:
    """Return the loop with the tensors that are made of the lists that it collects."""
    nodes, stacked = list(loop.nodes), list(loop.stacked)
    for name, found in loop.lists.items():
        node = joined.get(name)
        axis = None if node is None else node.attributes.get("axis", 0)
        if node is None or not isinstance(axis, int):
            continue
        timestep = found.timestep
        if not node.attributes.get("new_axis", 0):  # then its elements have that axis, of one timestep
            timestep = f"{node.outputs[0]}/timestep"
            nodes.append(Node(node.name, "Squeeze", (found.timestep,), (timestep,), {"axes": (axis,)}))
        stacked.append(_Stacked(timestep, node.outputs[0], axis, found.reversed))
    return replace(loop, nodes=tuple(nodes), stacked=tuple(stacked))


def _followed(name: str, copies: Mapping[str, str]) -> str:
    for _ in range(len(copies)):
        if name not in copies:
            break
        name = copies[name]
    return name


def _bodies(loops: Iterable[_Loop], nodes: Iterable[Node]) -> dict[int, list[Node]]:
    """Return the nodes of each loop's body, by its identity, each after those that it reads."""
    owners = {name: loop for loop in loops for node in loop.nodes for name in node.outputs if name}
    bodies: dict[int, list[Node]] = {id(loop): [] for loop in loops}
    for node in nodes:
        owner = next((owners[name] for name in node.outputs if name in owners), None)
        if owner is not None:
            bodies[id(owner)].append(node)
    return bodies


def _timesteps(loop: _Loop, body: Sequence[Node], matcher: Matcher) -> dict[str, Node]:
    """Return the node that gives one timestep of each sequence that a loop reads, and others, by what they write.

    Raises
    ------
    UnsupportedError
        If it reads none, or ends in another way than with their end.
    """
    variant = set(loop.given)
    for node in body:
        if variant & set(node.inputs):
            variant.update(node.outputs)
    counting = Counting(loop.iteration, loop.condition, loop.carried, variant, matcher)
    scanned = [*loop.scanned, *(found for node in body if (found := _read_at(node, variant, counting, matcher)))]
    if not scanned:
        raise loop.node.unsupported(
            "it reads no sequence, one timestep after the other: it computes from what it gave before",
            "a GRU reads a sequence; run the model's step in a loop of your own",
            DesignReason.DATA_DEPENDENT,
        )
    limits = _limits(loop, counting)
    counts = [each.start for each in scanned] + limits
    names = list(dict.fromkeys(name for count in counts for name in count.factors))
    outputs = [f"{each.timestep}/timestep" if each.kept else each.timestep for each in scanned]
    inputs = [*(each.sequence for each in scanned), *names, *([loop.begins] if loop.begins else [])]
    reader = Node(
        loop.node.name,
        EACH_TIMESTEP,
        tuple(inputs),
        tuple(outputs),
        {
            "axes": tuple(each.axis for each in scanned),
            "steps": tuple(each.step for each in scanned),
            "wraps": tuple(int(each.wraps) for each in scanned),
            "tensors": len(names),
            "counts": tuple(
                number
                for count in counts
                for number in (count.constant, *(count.factors.get(name, 0) for name in names))
            ),
        },
        loop.node.module,
    )
    kept = {
        each.timestep: Node(loop.node.name, "Unsqueeze", (output,), (each.timestep,), {"axes": (each.axis,)})
        for each, output in zip(scanned, outputs, strict=True)
        if each.kept
    }
    return {**dict.fromkeys(outputs, reader), **kept}


def _limits(loop: _Loop, counting: Counting) -> list[Count]:
    """Return how often a loop runs at most; nothing for a Scan, which ends with its sequences."""
    limits = [counting.count(loop.trip_count)] if loop.trip_count else []
    condition = counting.limits(loop.goes_on) if loop.goes_on else []
    if condition is None or None in limits or (loop.goes_on and not (limits or condition)):
        raise loop.node.unsupported(
            "it ends when a condition says so that is computed from the data",
            "a GRU runs over all timesteps of a sequence",
            DesignReason.DATA_DEPENDENT,
        )
    return [limit for limit in limits if limit is not None] + condition


def _read_at(node: Node, variant: Collection[str], counting: Counting, matcher: Matcher) -> _Scanned | None:
    """Return which sequence a node of a body reads at the position that the loop has reached; None if it does not."""
    if len(node.inputs) < 2 or len(node.outputs) != 1 or node.inputs[0] in variant:
        return None
    count = counting.count(node.inputs[1]) if node.inputs[1] in variant else None
    if count is None or abs(count.step) != 1:
        return None
    axis = node.attributes.get("axis", 0)
    start = replace(count, step=0)
    if node.op == "Gather" and isinstance(axis, int) and (rank := counting.rank(node.inputs[1])) < 2:
        return _Scanned(node.inputs[0], node.outputs[0], axis, start, count.step, kept=rank == 1)
    if node.op == "Slice" and len(node.inputs) in (4, 5):
        end, axes = counting.count(node.inputs[2]), matcher.integers(node.inputs[3])
        steps = matcher.integers(node.inputs[4]) if len(node.inputs) == 5 else (1,)
        if end is None or end.plus(count, -1).number != 1 or axes is None or len(axes) != 1 or steps != (1,):
            return None
        return _Scanned(node.inputs[0], node.outputs[0], axes[0], start, count.step, kept=True, wraps=False)
    return None


def _results(loop: _Loop) -> Iterator[Node]:
    """Yield the nodes that give what a loop gives."""
    for each, final in zip(loop.carried, loop.finals, strict=True):
        yield Node(loop.node.name, LAST_TIMESTEP, (each.handed_on,), (final,))
    for stacked in loop.stacked:
        attributes = {"axis": stacked.axis, "reversed": stacked.reversed}
        yield Node(loop.node.name, ALL_TIMESTEPS, (stacked.timestep,), (stacked.sequence,), attributes)
