"""The pickle reader: it reads what torch writes, and neither runs nor imports anything."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import checkpoints
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from grurt.converters import read_state_dict
from grurt.converters.torch.checkpoint.pickles import OPERATIONS, Global, Opaque, read_pickle
from grurt.converters.torch.checkpoint.tensors import ALLOWED
from grurt.errors import ConversionError, GrurtError, UnsupportedError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda children: st.lists(children) | st.tuples(children, children) | st.dictionaries(st.text(), children),
)


class Reduced:
    """Pickles as a call of the function with the arguments."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def load(data: bytes) -> object:
    return read_pickle(data, ALLOWED)[0]


@pytest.mark.slow
@given(PLAIN, st.sampled_from([2, 3, 4, 5]))
@settings(max_examples=200, deadline=None)
def test_plain_objects_come_back_as_pickle_reads_them(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assume(b"_codecs" not in data and b"__builtin__" not in data)  # bytes, in protocol 2, are a call
    assert load(data) == value


def test_position_is_behind_the_pickle() -> None:
    first = pickle.dumps({"a": 1}, 2)
    value, position = read_pickle(first + pickle.dumps([2], 2), {})
    assert value == {"a": 1}
    assert read_pickle(first + pickle.dumps([2], 2), {}, start=position)[0] == [2]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "function",
    [os.system, eval, exec, __import__, getattr, open, print, sys.exit, pickle.loads, os.unlink],
    ids=lambda f: f.__name__,
)
def test_calls_are_not_made(function: object, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "called"
    found = load(pickle.dumps({"weights": Reduced(function, f"touch {marker}")}, protocol))
    assert isinstance(found, dict)
    assert isinstance(found["weights"], Opaque)
    assert not marker.exists()


def test_nothing_is_imported() -> None:
    unused = ["antigravity", "this", "turtle", "idlelib.idle", "grurt_no_such_module"]
    assert not sys.modules.keys() & set(unused)
    before = set(sys.modules)
    for module in unused:
        assert load(f"\x80\x02c{module}\nanything\n.".encode("latin-1")) == Global(f"{module}.anything")
        called = load(f"\x80\x02c{module}\nanything\n)R.".encode("latin-1"))
        assert isinstance(called, Opaque)
        assert called.name == f"{module}.anything"
    assert set(sys.modules) == before


def test_objects_of_unknown_classes_keep_their_state_as_data() -> None:
    class_of_user = b"\x80\x02c__main__\nNet\n)\x81}X\x01\x00\x00\x00aK\x01sb."
    found = load(class_of_user)
    assert isinstance(found, Opaque)
    assert found.name == "__main__.Net"
    assert found.state == {"a": 1}


def test_state_cannot_be_set_on_anything_else() -> None:
    # BUILD on a dict, a Global and a string: the state goes nowhere.
    state = b"}X\x09\x00\x00\x00__class__K\x01sb"
    assert load(b"\x80\x02}" + state + b".") == {}
    assert load(b"\x80\x02cos\nsystem\n" + state + b".") == Global("os.system")
    assert load(b"\x80\x02X\x01\x00\x00\x00a" + state + b".") == "a"


def test_ordered_dicts_are_plain_dicts() -> None:
    for protocol in (2, 4):
        found = load(pickle.dumps(OrderedDict(a=1, b=2), protocol))
        assert found == {"a": 1, "b": 2}
        assert type(found) is dict


def test_calls_of_what_a_call_returned_are_not_made() -> None:
    chained = b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\nX\x01\x00\x00\x00a\x86R)R."
    found = load(chained)
    assert isinstance(found, Opaque)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "got damage near byte 0"),
        (b"\x80\x02", "got damage near byte 2"),
        (b"\x80\x02.", "got damage"),
        (b"\x80\x02X\xff\xff\xff\xffabc.", "4294967295 bytes wanted, 4 left"),
        (b"\x80\x02\x8b\xff\xff\xff\x7fabc.", "2147483647 bytes wanted"),
        (b"\x80\x02B\xff\xff\xff\xffabc.", "bytes wanted"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.", "bytes wanted"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "bytes wanted"),
        (b"\x80\x02h\x07.", "KeyError: 7"),
        (b"\x80\x02r\xff\xff\xff\xff.", "IndexError"),
        (b"\x80\x02t.", "IndexError"),
        (b"\x80\x02)R.", "the stack is too short"),
        (b"\x80\x02K\x01K\x02R.", "arguments of type int"),
        (b"\x80\x02}(K\x01u.", "ValueError"),
        (b"\x80\x02K\x01Q.", "a persistent id where none is known"),
        (b"\x80\x02c" + b"a" * 2000 + b"\nb\n.", "got damage"),
        (
            b"\x80\x04X\xe8\x03\x00\x00" + b"a" * 1000 + b"\x8c\x01b\x93.",
            "got damage near byte .*a global with a name longer than 1000 characters",
        ),
        (b"\x80\x04K\x01K\x02\x93.", "a global that is not named by strings"),
    ],
)
def test_damage_is_an_error(data: bytes, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        load(data)


@pytest.mark.parametrize("opcode", [b"i", b"o", b"\x82", b"\x83", b"\x84", b"P", b"I", b"L", b"F", b"S", b"V", b"\xff"])
def test_opcodes_that_torch_never_writes_are_refused(opcode: bytes) -> None:
    with pytest.raises(UnsupportedError, match=r"expected the opcodes that torch.save writes"):
        load(b"\x80\x02" + opcode + b"\x01\n.")


def test_a_memo_of_any_index_takes_no_memory() -> None:
    assert load(b"\x80\x02K\x07r\xff\xff\xff\xff0j\xff\xff\xff\xff.") == 7


@pytest.mark.slow
def test_operations_are_bounded() -> None:
    started = time.perf_counter()
    with pytest.raises(ConversionError, match=f"expected at most {OPERATIONS * 5 // 4} operations"):
        load(b"\x80\x02" + b"]" * (OPERATIONS * 2 - 2))
    assert time.perf_counter() - started < 30


def test_copies_of_a_list_count() -> None:
    pairs = b"](" + b"X\x01\x00\x00\x00aK\x01\x86" * 1000 + b"e\x94"  # a list, in the memo
    copies = b"ccollections\nOrderedDict\nh\x00\x85R0" * 4000
    with pytest.raises(ConversionError, match=r"operations, got more"):
        load(b"\x80\x04" + pairs + copies + b".")


@pytest.mark.slow
@pytest.mark.parametrize(
    "opcodes", [b"]" * 200_000 + b"a" * 199_999, b"K\x01" + b"\x85" * 200_000], ids=["lists", "tuples"]
)
def test_nesting_of_any_depth_is_no_trouble(opcodes: bytes) -> None:
    load(b"\x80\x02" + opcodes + b".")
    load(b"\x80\x02}" + opcodes + b"K\x01s.")  # as a key, which must not be hashed


def test_keys_that_take_forever_to_hash_are_not_hashed() -> None:
    doubled = b"K\x01" + b"2\x86" * 200  # a tuple of itself twice, 200 deep: 2**200 leaves
    assert isinstance(load(b"\x80\x02}" + doubled + b"K\x01s."), dict)


@pytest.mark.parametrize("name", ["sd_zip.pt", "full_module.pt", "ckpt_lightning.ckpt"])
def test_torch_files_need_no_torch(name: str) -> None:
    from subprocess import run

    code = (
        "import sys; from grurt.converters import read_state_dict; read_state_dict(sys.argv[1]);"
        "assert not {'torch', 'numba', 'onnx'} & set(sys.modules)"
    )
    run([sys.executable, "-c", code, checkpoints.DATA / name], check=True)


@pytest.mark.slow
@given(st.binary(max_size=60))
@settings(max_examples=2000, deadline=None)
def test_any_bytes_give_an_object_or_a_grurt_error(data: bytes) -> None:
    with contextlib.suppress(GrurtError):
        load(b"\x80\x02" + data)


def test_hostile_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    marker = tmp_path / "called"
    path.write_bytes(checkpoints.checkpoint(pickle.dumps(Reduced(os.system, f"touch {marker}"), 2)))
    with pytest.raises(ConversionError, match=r"got an object of type '(posix|nt)\.system' without tensors"):
        read_state_dict(path)
    assert not marker.exists()
