"""A source's axis orders: to batch-first arrays and back."""

from __future__ import annotations

import numpy as np
import pytest

from grurt.errors import InputShapeError
from grurt.network.axes import batch_first, port_shape, shared_sizes, source_order, tensor_shape
from grurt.network.signature import Axis, LengthsPort, StatePort, ValuePort
from grurt.network.value import Value


def value_port(*axes: Axis, dtype: str = "float32") -> ValuePort:
    return ValuePort(name="p", value="v", dtype=dtype, axes=axes)  # type: ignore[arg-type]


VALUES: list[tuple[tuple[Axis, ...], tuple[int, ...], tuple[int, ...]]] = [
    (("batch", "time", "feature"), (2, 3, 4), (2, 3, 4)),
    (("time", "batch", "feature"), (3, 2, 4), (2, 3, 4)),
    (("feature", "one", "batch", "time"), (4, 1, 2, 3), (2, 3, 4)),
    (("time", "feature"), (3, 4), (1, 3, 4)),
    (("batch", "feature"), (2, 4), (2, 1, 4)),
    (("feature",), (4,), (1, 1, 4)),
    (("one", "time", "one", "batch"), (1, 3, 1, 2), (2, 3, 1)),
]


@pytest.mark.parametrize(("axes", "shape", "expected"), VALUES)
def test_values_come_batch_first_and_go_back(
    axes: tuple[Axis, ...], shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    tensor = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    port = value_port(*axes)
    array = batch_first(port, tensor)
    assert array.shape == expected
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(source_order(port, array, ("batch", "time", "feature")), tensor, strict=True)


def test_an_axis_moves_with_what_it_holds() -> None:
    tensor = np.random.default_rng(1).normal(size=(3, 1, 2, 4))
    array = batch_first(value_port("time", "one", "batch", "feature"), tensor)
    np.testing.assert_array_equal(array[1, 2], tensor[2, 0, 1])


def test_tokens_have_no_features() -> None:
    port = value_port("time", "batch", dtype="int64")
    assert batch_first(port, np.zeros((3, 2), np.int64), tokens=True).shape == (2, 3)
    assert batch_first(value_port(dtype="int64"), np.int64(3), tokens=True).shape == (1, 1)


def test_axes_that_merge_the_batch_with_time() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    port = value_port("batch_time", "feature")
    flat = source_order(port, array, ("batch", "time", "feature"))
    np.testing.assert_array_equal(flat, array.reshape(6, 4))
    np.testing.assert_array_equal(batch_first(port, flat, batch=2), array)
    port = value_port("time_batch", "feature")
    flat = source_order(port, array, ("batch", "time", "feature"))
    np.testing.assert_array_equal(flat, array.transpose(1, 0, 2).reshape(6, 4))
    np.testing.assert_array_equal(batch_first(port, flat, batch=2), array)


def test_numbers_of_an_input_have_features() -> None:
    assert batch_first(value_port("batch", "time", dtype="int64"), np.zeros((2, 3), np.int64)).shape == (2, 3, 1)


def test_states_come_by_state() -> None:
    tensor = np.random.default_rng(2).normal(size=(2, 3, 4))
    port = StatePort(name="h", states=("a", "b", "c"), dtype="float16", axes=("batch", "state", "feature"))
    array = batch_first(port, tensor)
    np.testing.assert_array_equal(array[1], tensor[:, 1])
    back = source_order(port, array, ("state", "batch", "feature"))
    np.testing.assert_array_equal(back, tensor.astype(np.float16), strict=True)


def test_an_axis_that_the_source_lacks_must_have_size_1() -> None:
    with pytest.raises(InputShapeError, match=r"output 'p' has no time axis in the source, but .* a time size of 3"):
        source_order(value_port("batch", "feature"), np.zeros((2, 3, 4)), ("batch", "time", "feature"))


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (("batch", "feature", "time", "position"), (2, 4, 3, 5)),
        (("time", "position", "batch", "feature"), (3, 5, 2, 4)),
        (("batch_position", "time", "feature"), (10, 3, 4)),
    ],
)
def test_positions_lie_one_after_the_other(axes: tuple[Axis, ...], shape: tuple[int, ...]) -> None:
    tensor = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    port = ValuePort(name="p", value="v", dtype="float32", axes=axes, positions=5)
    array = batch_first(port, tensor)
    assert array.shape == (2, 3, 20)
    np.testing.assert_array_equal(source_order(port, array, ("batch", "time", "feature")), tensor, strict=True)
    values = {"v": Value(20, tokens=False, per_step=True)}
    assert tensor_shape(port, values, {}, batch=2, time=3) == shape
    assert [size for size in port_shape(port, values, {}) if isinstance(size, int)] == [
        {"feature": 4, "position": 5, "one": 1}[axis] for axis in axes if axis in ("feature", "position", "one")
    ]
    assert shared_sizes(port, shape) == {"batch": 2, "time": 3}


def test_states_of_groups_lie_side_by_side() -> None:
    tensor = np.random.default_rng(4).normal(size=(2, 3, 8)).astype(np.float32)
    axes: tuple[Axis, ...] = ("state", "batch", "feature")
    port = StatePort(name="h", states=("a", "b", "c", "d"), dtype="float32", axes=axes, groups=2)
    array = batch_first(port, tensor)
    np.testing.assert_array_equal(array[1], tensor[0, :, 4:])
    np.testing.assert_array_equal(array[2], tensor[1, :, :4])
    np.testing.assert_array_equal(source_order(port, array, axes), tensor, strict=True)
    assert port_shape(port, {}, dict.fromkeys("abcd", (4,))) == (2, "batch", 8)


def test_states_of_positions() -> None:
    tensor = np.random.default_rng(5).normal(size=(1, 10, 6)).astype(np.float32)
    axes: tuple[Axis, ...] = ("state", "batch_position", "feature")
    port = StatePort(name="h", states=("a",), dtype="float32", axes=axes, positions=5)
    array = batch_first(port, tensor)
    assert array.shape == (1, 2, 5, 6)
    np.testing.assert_array_equal(source_order(port, array, ("state", "batch", "feature")), tensor, strict=True)
    with pytest.raises(InputShapeError, match=r"input 'h': expected a multiple of 5 along the axis .* got 9"):
        shared_sizes(port, (1, 9, 6))


def test_lengths_have_a_batch() -> None:
    port = LengthsPort(name="lens", dtype="int32", axes=("one", "batch"))
    assert batch_first(port, np.array([[3, 1]], np.int32)).tolist() == [3, 1]
    assert shared_sizes(port, (1, 2)) == {"batch": 2}
    assert port_shape(port, {}, {}) == (1, "batch")
