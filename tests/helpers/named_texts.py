"""The texts that names stand for in source code: constants, tables, arguments, and what functions return."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

Scope = ast.Module | ast.FunctionDef


class NamedTexts:
    """What the names in some modules stand for.

    Nothing is run: a name stands for all that is assigned to it in its scope, a constant of another module for what any
    module calls so, a parameter for the arguments in all calls of functions of that name, a call for what functions of
    that name return that are annotated to return texts.

    Parameters
    ----------
    trees
        The modules, by their paths.
    opaque
        Names of functions whose parameters are not followed to their calls.
    """

    def __init__(self, trees: Mapping[str, ast.Module], opaque: Collection[str]) -> None:
        self._paths = {tree: path for path, tree in trees.items()}
        self._opaque = opaque
        self._scopes: dict[ast.expr, tuple[Scope, ...]] = {}
        self._assigned: dict[tuple[Scope, str], list[ast.expr]] = defaultdict(list)
        self._constants: dict[str, list[ast.expr]] = defaultdict(list)
        self._functions: dict[str, list[ast.FunctionDef]] = defaultdict(list)
        self._calls: dict[str, list[ast.Call]] = defaultdict(list)
        for tree in trees.values():
            self._learn(tree, (tree,))

    def behind(self, expressions: Iterable[ast.expr]) -> Iterator[ast.expr]:
        """Yield each text, or tuple of texts, that names in some expressions stand for, directly or by other names."""
        waiting = [value for expression in expressions for value in self._named(expression)]
        seen = set()
        while waiting:
            value = waiting.pop()
            if value in seen:
                continue
            seen.add(value)
            choices = list(_choices(value))
            if not choices:
                yield value
            waiting += choices or self._named(value)

    def place(self, expression: ast.expr) -> str:
        """Return the path and the line of an expression."""
        module = self._scopes[expression][-1]
        assert isinstance(module, ast.Module)
        return f"{self._paths[module]}:{expression.lineno}"

    def _learn(self, node: ast.AST, scopes: tuple[Scope, ...]) -> None:
        if isinstance(node, ast.expr):
            self._scopes[node] = scopes
        match node:
            case ast.FunctionDef(name=name):
                self._functions[name].append(node)
                scopes = (node, *scopes)
            case (
                ast.Assign(targets=[target], value=ast.expr() as value)
                | ast.AnnAssign(target=target, value=ast.expr() as value)
                | ast.NamedExpr(target=target, value=value)
                | ast.For(target=target, iter=value)
                | ast.comprehension(target=target, iter=value)
                | ast.Call(func=ast.Attribute(value=ast.Name() as target, attr="update"), args=[value])
            ):
                self._assign(target, value, scopes)
        if isinstance(node, ast.Call):
            self._calls[name_of(node.func)].append(node)
        for child in ast.iter_child_nodes(node):
            self._learn(child, scopes)

    def _assign(self, target: ast.expr, value: ast.expr, scopes: tuple[Scope, ...]) -> None:
        for name in (node.id for node in ast.walk(target) if isinstance(node, ast.Name)):
            known = [scope for scope in scopes if (scope, name) in self._assigned]
            scope = known[0] if known else scopes[0]
            self._assigned[scope, name].append(value)
            if isinstance(scope, ast.Module):
                self._constants[name].append(value)

    def _named(self, expression: ast.expr) -> Iterator[ast.expr]:
        """Yield what the names in an expression stand for, but not those in the arguments of a call."""
        match expression:
            case ast.Name(id=name):
                yield from self._values(expression)
            case ast.Attribute(value=ast.Name("self"), attr=name):
                yield from self._constants.get(name, ())
                yield from self._returned(name, "property", "cached_property")
            case ast.Attribute(attr=name):
                yield from self._returned(name, "property", "cached_property")
            case ast.Call(func=ast.Name(name) | ast.Attribute(value=ast.Name("self"), attr=name)):
                yield from self._returned(name)
            case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[_, *default]):
                yield from (table, *default)
            case ast.Call(func=ast.Attribute(value=ast.Name("dict"), attr="fromkeys"), args=[_, value]):
                yield value
            case ast.Call():
                pass
            case _:
                for child in ast.iter_child_nodes(expression):
                    if isinstance(child, ast.expr):
                        yield from self._named(child)

    def _values(self, node: ast.Name) -> Iterator[ast.expr]:
        for scope in self._scopes[node]:
            assigned = self._assigned.get((scope, node.id), [])
            given = list(self._arguments(scope, node.id)) if isinstance(scope, ast.FunctionDef) else []
            if assigned or given:
                yield from (*assigned, *given)
                return
        if node.id.isupper():
            yield from self._constants.get(node.id, ())

    def _arguments(self, function: ast.FunctionDef, name: str) -> Iterator[ast.expr]:
        """Yield what a function is called with, where it is a text."""
        parameters = _parameters(function)
        if function.name in self._opaque or not _is_text(parameters.get(name)):
            return
        index = list(parameters).index(name)
        for call in self._calls.get(function.name, ()):
            yield from (keyword.value for keyword in call.keywords if keyword.arg == name)
            yield from call.args[index : index + 1]

    def _returned(self, name: str, *decorators: str) -> Iterator[ast.expr]:
        for function in self._functions.get(name, ()):
            if _is_text(function.returns) and {*decorators} >= {name_of(node) for node in function.decorator_list}:
                for node in ast.walk(function):
                    if isinstance(node, ast.Return) and node.value is not None:
                        yield node.value


def name_of(node: ast.expr) -> str:
    """Return the last name of ``name`` or ``module.name``; empty for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_text(annotation: ast.expr | None) -> bool:
    """Say whether an annotation is ``str``, or has it as a part."""
    return any(isinstance(node, ast.Name) and node.id == "str" for node in ast.walk(annotation or ast.Constant(None)))


def _parameters(function: ast.FunctionDef) -> dict[str, ast.expr | None]:
    """Return the annotations of what a function is called with, in order, without the object whose method it is."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {argument.arg: argument.annotation for argument in given if argument.arg not in ("self", "cls")}


def _is_part_of_text(value: ast.expr) -> bool:
    """Say whether a value may stand beside others in a tuple that is one text: a text, or why it is said."""
    return isinstance(value, ast.Constant | ast.JoinedStr) or (
        isinstance(value, ast.Attribute) and name_of(value.value) == "DesignReason"
    )


def _choices(value: ast.expr) -> Iterator[ast.expr]:
    """Yield the values of which an expression shows that it is one; nothing for a text, or a tuple of texts."""
    match value:
        case ast.Dict(values=values) | ast.List(elts=values) | ast.Set(elts=values) | ast.BoolOp(values=values):
            yield from values
        case ast.Tuple(elts=values) if not all(map(_is_part_of_text, values)):
            yield from values
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.Subscript(value=table):
            yield table
