"""A pickle reader that runs nothing.

Python's own unpickler imports and calls what a pickle names. This one is a small machine of its own: it builds numbers,
strings and containers; a class or function that the pickle names stays a `Global`, which is only a name. Calling one is
a look-up in the caller's table of pure functions, and whatever is not in the table becomes an `Opaque` stub.

Protocol 2 to 5, binary opcodes: what ``torch.save`` has ever written. The meaning of each opcode is documented in
CPython's ``pickletools``.
"""

from __future__ import annotations

import pickle  # for the opcodes' values, nothing else
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from grurt.errors import ConversionError, DesignReason, UnsupportedError

OPERATIONS = 1 << 19
"""How many operations a pickle may have in any file; each makes at most one object of some hundred bytes."""

BYTES_PER_OPERATION = 8
"""For how many bytes of the file there may be one more; but for lists of numbers, ``torch.save`` writes more."""

_LARGEST = 1 << 27
"""What counts of a file's size for that: it may be said to be any, and take no room on the disk."""

MAX_NAME = 1000
_CHARACTERS = 64
"""Of a name that is put together, which count as one operation."""

Function = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function, such as ``"collections.OrderedDict"``. Nothing is imported for it."""

    name: str


@dataclass(slots=True, eq=False)
class Opaque:
    """In place of an object that is not in the table: what made it, by name, and the state that it was given."""

    name: str
    state: object = None


class _Stop(Exception):  # noqa: N818 - the end of a pickle, not an error
    pass


def read_pickle(
    data: bytes | memoryview,
    functions: Mapping[str, Function],
    persistent: Callable[[object], object] | None = None,
    start: int = 0,
    file_size: int | None = None,
) -> tuple[object, int]:
    """Read the pickle at ``start``.

    Parameters
    ----------
    data
        Bytes that hold the pickle; more may follow it.
    functions
        What a pickled call of the global of that name does: a pure function of the pickled arguments.
    persistent
        What a persistent id stands for.
    start
        Where the pickle begins.
    file_size
        Bytes of the file that it is from, if it is not ``data``: they bound the number of operations.

    Returns
    -------
    The object, and the position behind the pickle.

    Raises
    ------
    ConversionError
        If the pickle is damaged or too large.
    UnsupportedError
        If it uses an opcode that no checkpoint needs.
    """
    size = min(_LARGEST, len(data) if file_size is None else file_size)
    operations = OPERATIONS + size // BYTES_PER_OPERATION
    machine = _Machine(memoryview(data), start, functions, persistent, operations)
    try:
        return machine.run(), machine.position
    except ConversionError:
        raise
    except (LookupError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise ConversionError(
            f"pickle: expected a sound pickle, got damage near byte {machine.position} "
            f"({type(error).__name__}: {error}); save the file again"
        ) from error


class _Machine:
    """The stack, the marks on it, and the memo, as ``pickletools`` describes them."""

    def __init__(
        self,
        data: memoryview,
        position: int,
        functions: Mapping[str, Function],
        persistent: Callable[[object], object] | None,
        operations: int,
    ) -> None:
        self.data = data
        self.position = position
        self.functions = functions
        self.persistent = persistent
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.operations = operations
        self.left = operations
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        try:
            while True:
                self.charge(1)
                opcode = self.take(1)[0]
                if opcode not in _OPCODES:
                    raise UnsupportedError(
                        f"pickle: expected the opcodes that torch.save writes, got {bytes([opcode])!r} "
                        f"at byte {self.position - 1}; save the state dict again with torch.save",
                        reason=DesignReason.OWN_CODE,
                    )
                _OPCODES[opcode](self)
        except _Stop:
            return self.stack.pop()

    def charge(self, operations: int) -> None:
        self.left -= operations
        if self.left < 0:
            raise ConversionError(
                f"pickle: expected at most {self.operations} operations, got more; save only the state dict, "
                "without the training's history"
            )

    def take(self, size: int) -> memoryview:
        """Return the next ``size`` bytes."""
        if size > len(self.data) - self.position:
            raise ValueError(f"{size} bytes wanted, {len(self.data) - self.position} left")
        self.position += size
        return self.data[self.position - size : self.position]

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self, size_bytes: int) -> str:
        return str(self.take(self.unsigned(size_bytes)), "utf-8", "replace")

    def line(self) -> str:
        length = bytes(self.data[self.position : self.position + MAX_NAME]).index(b"\n")
        return str(self.take(length + 1)[:-1], "utf-8", "replace")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[object]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop_many(self, count: int) -> list[object]:
        if count > len(self.stack):
            raise IndexError("the stack is too short")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def extend(self, values: list[object]) -> None:
        """Put the values into the list on top; what is not a list takes nothing in."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def update(self, items: list[object]) -> None:
        """Put keys and values into the mapping on top; what is not a mapping takes nothing in."""
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def call(self) -> None:
        """Apply the function of that name to the arguments, which count as operations, as what they hold does."""
        function, arguments = self.pop_many(2)
        if not isinstance(arguments, tuple):
            raise TypeError(f"arguments of type {type(arguments).__name__}")
        name = function.name if isinstance(function, Global) else "an object"
        if name not in self.functions:
            self.push(Opaque(name))
            return
        self.charge(len(arguments))
        self.charge(sum(len(argument) for argument in arguments if isinstance(argument, list | tuple)))
        self.push(self.functions[name](*arguments))

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Opaque):
            self.stack[-1].state = state

    def reference(self) -> None:
        if self.persistent is None:
            raise ValueError("a persistent id where none is known")
        self.push(self.persistent(self.stack.pop()))


def _key(key: object) -> object:
    """Return a string as it is, and a stub for any other key: hashing a hostile one can take forever."""
    return key if isinstance(key, str) else Opaque("key")


def _stop(_: _Machine) -> None:
    raise _Stop


def _long(machine: _Machine, size_bytes: int) -> None:
    machine.push(int.from_bytes(machine.take(machine.unsigned(size_bytes)), "little", signed=True))


def _global(machine: _Machine) -> None:
    module, name = machine.line(), machine.line()
    machine.push(Global(f"{module}.{name}"))


def _stack_global(machine: _Machine) -> None:
    module, name = machine.pop_many(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError("a global that is not named by strings")
    if len(module) + len(name) > MAX_NAME:
        raise ValueError(f"a global with a name longer than {MAX_NAME} characters")
    machine.charge((len(module) + len(name)) // _CHARACTERS)
    machine.push(Global(f"{module}.{name}"))


def _memoize(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _new_object_with_keywords(machine: _Machine) -> None:
    machine.stack.pop()
    machine.call()


_OPCODES: dict[int, Callable[[_Machine], None]] = {
    ord(opcode): action
    for opcode, action in {
        pickle.PROTO: lambda m: m.take(1),
        pickle.FRAME: lambda m: m.take(8),
        pickle.STOP: _stop,
        pickle.MARK: lambda m: m.marks.append(len(m.stack)),
        pickle.POP: lambda m: m.stack.pop(),
        pickle.POP_MARK: lambda m: m.pop_to_mark(),
        pickle.DUP: lambda m: m.push(m.stack[-1]),
        pickle.NONE: lambda m: m.push(None),
        pickle.NEWTRUE: lambda m: m.push(True),
        pickle.NEWFALSE: lambda m: m.push(False),
        pickle.BININT: lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True)),
        pickle.BININT1: lambda m: m.push(m.unsigned(1)),
        pickle.BININT2: lambda m: m.push(m.unsigned(2)),
        pickle.LONG1: lambda m: _long(m, 1),
        pickle.LONG4: lambda m: _long(m, 4),
        pickle.BINFLOAT: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
        pickle.BINUNICODE: lambda m: m.push(m.text(4)),
        pickle.SHORT_BINUNICODE: lambda m: m.push(m.text(1)),
        pickle.BINUNICODE8: lambda m: m.push(m.text(8)),
        pickle.BINSTRING: lambda m: m.push(str(m.take(m.unsigned(4)), "latin-1")),
        pickle.SHORT_BINSTRING: lambda m: m.push(str(m.take(m.unsigned(1)), "latin-1")),
        pickle.BINBYTES: lambda m: m.push(bytes(m.take(m.unsigned(4)))),
        pickle.SHORT_BINBYTES: lambda m: m.push(bytes(m.take(m.unsigned(1)))),
        pickle.BINBYTES8: lambda m: m.push(bytes(m.take(m.unsigned(8)))),
        pickle.BYTEARRAY8: lambda m: m.push(bytes(m.take(m.unsigned(8)))),
        pickle.EMPTY_TUPLE: lambda m: m.push(()),
        pickle.TUPLE: lambda m: m.push(tuple(m.pop_to_mark())),
        pickle.TUPLE1: lambda m: m.push(tuple(m.pop_many(1))),
        pickle.TUPLE2: lambda m: m.push(tuple(m.pop_many(2))),
        pickle.TUPLE3: lambda m: m.push(tuple(m.pop_many(3))),
        pickle.EMPTY_LIST: lambda m: m.push([]),
        pickle.LIST: lambda m: m.push(m.pop_to_mark()),
        pickle.APPEND: lambda m: m.extend(m.pop_many(1)),
        pickle.APPENDS: lambda m: m.extend(m.pop_to_mark()),
        pickle.EMPTY_SET: lambda m: m.push([]),
        pickle.ADDITEMS: lambda m: m.extend(m.pop_to_mark()),
        pickle.FROZENSET: lambda m: m.push(m.pop_to_mark()),
        pickle.EMPTY_DICT: lambda m: m.push({}),
        pickle.SETITEM: lambda m: m.update(m.pop_many(2)),
        pickle.SETITEMS: lambda m: m.update(m.pop_to_mark()),
        pickle.BINPUT: lambda m: _memoize(m, m.unsigned(1)),
        pickle.LONG_BINPUT: lambda m: _memoize(m, m.unsigned(4)),
        pickle.MEMOIZE: lambda m: _memoize(m, len(m.memo)),
        pickle.BINGET: lambda m: m.push(m.memo[m.unsigned(1)]),
        pickle.LONG_BINGET: lambda m: m.push(m.memo[m.unsigned(4)]),
        pickle.GLOBAL: _global,
        pickle.STACK_GLOBAL: _stack_global,
        pickle.REDUCE: lambda m: m.call(),
        pickle.NEWOBJ: lambda m: m.call(),
        pickle.NEWOBJ_EX: _new_object_with_keywords,
        pickle.BUILD: lambda m: m.build(),
        pickle.BINPERSID: lambda m: m.reference(),
    }.items()
}
