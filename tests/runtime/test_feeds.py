"""One sequence by the source's names and shapes: the quick way gives the bits of the general one."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx_graphs import DATA
from paths import DATA as ALL_DATA

import grurt
from grurt.converters import convert, convert_onnx
from grurt.errors import GrurtError, InputShapeError, InputTypeError, InputValueError
from grurt.network.axes import tensor_shape
from grurt.network.signature import LengthsPort, ValuePort
from grurt.runtime.feeds import run_feed
from grurt.runtime.sequences import run_mapping

REFUSED = ("oss062", "qdyn", "k3_masked_backwards", "t_copies_open_length")
SOURCES = sorted(
    path
    for path in [*DATA.glob("*.onnx"), *(ALL_DATA / "keras").glob("*.keras"), *(ALL_DATA / "torch").glob("*.pt2")]
    if not any(part in path.name for part in REFUSED)
)
Feed = dict[str, np.ndarray]


def random_feed(model: grurt.Model, batch: int, n_steps: int, seed: int = 0) -> Feed:
    rng = np.random.default_rng([batch, n_steps, seed])
    feed: Feed = {}
    for port in model.signature.inputs:
        shape = tensor_shape(port, model.values, model.state_shapes, batch=batch, time=n_steps)
        if isinstance(port, ValuePort) and model.values[port.value].tokens:
            feed[port.name] = rng.integers(0, model.values[port.value].size, shape).astype(port.dtype)
        elif isinstance(port, LengthsPort):
            feed[port.name] = np.full(shape, n_steps, port.dtype)
        else:
            feed[port.name] = rng.uniform(-0.9, 0.9, shape).astype(port.dtype)
    return feed


def general(model: grurt.Model, feed: Feed) -> Feed:
    return run_mapping(model, feed, lengths=None, nonfinite="refuse")


def assert_same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_bits_are_those_of_the_general_way(path: Path) -> None:
    model = convert(path, reference=False)
    for batch, n_steps in ((1, 1), (1, 7), (1, 300), (2, 5), (9, 1), (7, 3), (1, 7)):
        feed = random_feed(model, batch, n_steps)
        try:
            expected = general(model, feed)
        except GrurtError as error:
            with pytest.raises(type(error)):
                model.run(feed)
            continue
        assert_same(model.run(feed), expected)
        if (quick := run_feed(model, feed)) is not None:
            assert_same(quick, expected)


STATEFUL = convert_onnx(DATA / "a_h0_bf.ts.da.op23.onnx", reference=False)
STATES = [port.name for port in STATEFUL.signature.inputs if not isinstance(port, ValuePort)]


def test_states_go_the_quick_way() -> None:
    feed = random_feed(STATEFUL, 1, 4)
    assert STATES
    assert_same(run_feed(STATEFUL, feed) or {}, general(STATEFUL, feed))
    without = {name: array for name, array in feed.items() if name not in STATES}
    assert_same(run_feed(STATEFUL, without) or {}, general(STATEFUL, without))


@pytest.mark.parametrize("name", ["a_h0_bf.ts.da.op23", "a_h0_tf.ts.da.op18", "c_eachstep_state2.ts.da.op18"])
def test_batches_go_the_quick_way(name: str) -> None:
    """With sequences or timesteps outermost, of one layer or two, of more sequences than one group has."""
    model = convert_onnx(DATA / f"{name}.onnx", reference=False)
    for batch, n_steps in ((2, 1), (3, 5), (70, 2), (2000, 2), (3, 5)):
        feed = random_feed(model, batch, n_steps)
        assert_same(run_feed(model, feed) or {}, general(model, feed))
        without = {port: array for port, array in feed.items() if port == "x"}
        assert_same(run_feed(model, without) or {}, general(model, without))


def test_of_one_sequence_after_another_none_sees_more_than_its_own() -> None:
    last = convert_onnx(DATA / "b_lasthidden.ts.da.op23.onnx", reference=False)
    feeds = [random_feed(last, batch, n_steps) for batch in (5, 1, 8, 6) for n_steps in (4, 1)]
    for feed in feeds:
        assert_same(run_feed(last, feed) or {}, general(last, feed))


@pytest.mark.parametrize(
    "name", ["d_bi.ts.da.op18", "gru_op_bi_lbr1", "p_split_states.ts.op18", "s_loop_masked_tokens"]
)
def test_whole_sequences_go_the_quick_way_one_at_a_time(name: str) -> None:
    model = convert_onnx(DATA / f"{name}.onnx", reference=False)
    for n_steps in (1, 7, 300, 2):
        feed = random_feed(model, 1, n_steps)
        assert_same(run_feed(model, feed) or {}, general(model, feed))
    assert run_feed(model, random_feed(model, 2, 7)) is None


@pytest.mark.parametrize(
    ("name", "n_sequences"),
    [("n_complex_mask.ts.op18", 3), ("a_h0_bf.decomp.op18", 3), ("gru_op_bi_lbr1", 1), ("m_dualpath_step.ts.op18", 2)],
)
def test_axes_in_another_order_go_the_quick_way(name: str, n_sequences: int) -> None:
    """Features before time, states behind sequences, directions between timesteps and sequences, and bins last."""
    model = convert_onnx(DATA / f"{name}.onnx", reference=False)
    for batch, n_steps in ((1, 1), (1, 6), (n_sequences, 5)):
        feed = random_feed(model, batch, n_steps)
        assert_same(run_feed(model, feed) or {}, general(model, feed))
    x = next(iter(feed))
    strided = {**feed, x: np.repeat(feed[x], 2, axis=-1)[..., ::2]}
    assert_same(model.run(strided), general(model, feed))
    with pytest.raises(InputShapeError, match=f"input '{x}': expected shape"):
        model.run({**feed, x: feed[x][..., np.newaxis]})


def test_tokens_of_int32_go_the_quick_way() -> None:
    model = convert_onnx(DATA / "s_loop_tokens.onnx", reference=False)
    (port,) = model.signature.inputs
    for batch, n_steps in ((1, 5), (3, 4)):
        feed = random_feed(model, batch, n_steps)
        assert feed[port.name].dtype == np.int32
        expected = general(model, feed)
        assert_same(run_feed(model, feed) or {}, expected)
        wide = {port.name: feed[port.name].astype(np.int64)}
        assert run_feed(model, wide) is None
        assert_same(model.run(wide), expected)
    feed[port.name][0, 1] = -1
    with pytest.raises(InputValueError, match=r"expected a token id in \[0, "):
        model.run(feed)
    with pytest.raises(InputTypeError, match="expected an array of int32, got int64"):
        grurt.InferenceSession(model).run(None, wide)


def test_the_answers_are_the_callers_own() -> None:
    first = STATEFUL.run(random_feed(STATEFUL, 1, 4))
    before = {name: array.copy() for name, array in first.items()}
    STATEFUL.run(random_feed(STATEFUL, 1, 4, seed=1))
    assert_same(first, before)


def test_what_is_refused_says_why() -> None:
    feed = random_feed(STATEFUL, 1, 4)
    (x,) = (name for name in feed if name not in STATES)
    expected = general(STATEFUL, feed)
    bad: list[tuple[Feed, type[Exception], str]] = [
        (feed | {x: np.full_like(feed[x], np.nan)}, InputValueError, "expected finite numbers"),
        (feed | {STATES[0]: np.full_like(feed[STATES[0]], np.inf)}, InputValueError, "expected finite numbers"),
        (feed | {x: feed[x][..., :-1]}, InputShapeError, "expected shape"),
        (feed | {"other": feed[x]}, InputShapeError, "other"),
        ({STATES[0]: feed[STATES[0]]}, InputShapeError, "expected the inputs"),
        (feed | {x: feed[x][:, :0]}, InputShapeError, "timestep"),
    ]
    for given, error, message in bad:
        with pytest.raises(error, match=message):
            STATEFUL.run(given)
        assert_same(STATEFUL.run(feed), expected)
    large = feed | {STATES[0]: np.full_like(feed[STATES[0]], 3e19)}  # whose square is beyond float32
    assert_same(STATEFUL.run(large), general(STATEFUL, large))


def test_from_many_threads() -> None:
    feeds = [random_feed(STATEFUL, 1, n_steps) for n_steps in range(1, 40)]
    expected = [general(STATEFUL, feed) for feed in feeds]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            for found, own in zip(pool.map(STATEFUL.run, feeds), expected, strict=True):
                assert_same(found, own)
