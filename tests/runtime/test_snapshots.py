"""Snapshots of many streams: what single ones hold, whole or not at all."""

from __future__ import annotations

import pickle
from typing import Any

import models
import numpy as np
import pytest
import step_programs
from hypothesis import given, settings
from hypothesis import strategies as st

import grurt
from grurt.digests import blake2b
from grurt.errors import ConcurrentUseError, InputShapeError, SnapshotError, StreamIdError

N_STREAMS = 20
STATE_START, CHECKSUM = 40, 16
"""Bytes of a single snapshot before its state, and after it."""


def model_of(seed: int) -> grurt.Model:
    """Return a model with a ring, and rows that are not whole vectors."""
    return models.layer_model(
        grurt.Conv1d(name="conv", input_size=3, output_size=4, kernel_size=3, dilation=2),
        grurt.GRU(name="gru", input_size=4, hidden_size=17, initial_state="learned"),
        rng=np.random.default_rng(seed),
    )


MODEL = model_of(160)


def advanced(pool: grurt.StreamPool, seed: int = 161) -> grurt.StreamPool:
    """Return a pool whose streams stand after different numbers of timesteps."""
    rng = np.random.default_rng(seed)
    size = pool.model.inputs[0].size
    for stream_id in pool.ids:
        pool.run([stream_id], rng.normal(size=(1, int(rng.integers(0, 9)), size)).astype(np.float32))
    return pool


def whole(pool: grurt.StreamPool) -> list[bytes]:
    return [pool.snapshot(stream_id) for stream_id in pool.ids]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threads=st.sampled_from([1, 2]))
def test_many_hold_what_single_ones_do(seed: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    model = step_programs.program_or_graph(rng, n_layers=4)
    pool, other = model.pool(N_STREAMS, threads=threads), model.pool([f"s{i}" for i in range(N_STREAMS)])
    for i in range(N_STREAMS):
        xs = {
            port.name: rng.normal(size=(1, i % 7, port.size)).astype(np.float32)
            if isinstance(port, grurt.Input)
            else rng.integers(0, port.vocabulary_size, (1, i % 7))
            for port in model.inputs
        }
        pool.run([i], xs)
    ids = rng.permutation(N_STREAMS)[: rng.integers(0, N_STREAMS + 1)]
    saved = pool.snapshot_many(ids)
    singles = [pool.snapshot(i) for i in ids]
    assert saved.steps.tolist() == [pool.steps(i) for i in ids]
    assert [row.tobytes() for row in saved.states] == [single[STATE_START:-CHECKSUM] for single in singles]
    before = whole(other)
    other.restore_many([f"s{i}" for i in range(len(ids))], saved)
    assert whole(other) == singles + before[len(ids) :]


def test_a_restored_pool_goes_on_with_the_same_bits() -> None:
    pool, other = advanced(MODEL.pool(N_STREAMS)), MODEL.pool(N_STREAMS, threads=2)
    order = np.random.default_rng(162).permutation(N_STREAMS)
    other.restore_many(np.arange(N_STREAMS), pool.snapshot_many(order))
    xs = np.random.default_rng(163).normal(size=(N_STREAMS, 9, 3)).astype(np.float32)
    assert other.run(np.arange(N_STREAMS), xs).tobytes() == pool.run(order, xs).tobytes()


def test_a_snapshot_is_kept_in_any_way() -> None:
    pool, other = advanced(MODEL.pool(3)), MODEL.pool(3)
    steps, states, checksum = saved = pool.snapshot_many([0, 1, 2])
    assert steps.dtype == np.int64
    assert states.dtype == np.uint8
    rows = [row.tobytes() for row in states]
    joined = np.frombuffer(b"".join(rows), np.uint8).reshape(3, -1)
    for form in (
        pickle.loads(pickle.dumps(saved)),
        [steps.tolist(), joined, bytes(checksum)],
        (steps, states[:, :], checksum),
    ):
        other.reset(1)
        other.restore_many(range(3), form)
        assert whole(other) == whole(pool)
    states[:] = 0  # an array of the caller's own
    assert whole(other) == whole(pool)


def test_one_stream_to_several() -> None:
    pool = advanced(MODEL.pool(4))
    pool.restore_many([0, 1, 2], pool.snapshot_many([3, 3, 3]))
    assert len(set(whole(pool))) == 1


def test_none_at_all_and_no_state() -> None:
    pool = advanced(MODEL.pool(2))
    before = whole(pool)
    pool.restore_many([], pool.snapshot_many([]))
    assert whole(pool) == before
    linear = models.layer_model(grurt.Linear(name="fc", input_size=2, output_size=3), rng=np.random.default_rng(164))
    stateless = advanced(linear.pool(3))
    saved = stateless.snapshot_many([0, 1, 2])
    assert saved.states.shape == (3, 0)
    other = linear.pool(3)
    other.restore_many([0, 1, 2], saved)
    assert whole(other) == whole(stateless)


SAVED = advanced(MODEL.pool(3)).snapshot_many([0, 1, 2])


def resealed(steps: Any, states: Any, start: bytes = SAVED.checksum[:32]) -> tuple[Any, Any, bytes]:
    """Return a snapshot whose digest fits, as who wants to deceive would make it."""
    digest = blake2b(start + np.asarray(steps, "<i8").tobytes() + states.tobytes(), digest_size=16).digest()
    return steps, states, start + digest


def test_the_parts_are_as_documented() -> None:
    label = b"GRURTSM\0" + (1).to_bytes(2, "little") + bytes(6) + MODEL.fingerprint
    assert SAVED.checksum == resealed(SAVED.steps, SAVED.states, label)[2]
    assert SAVED.states.shape == (3, 4 * (4 * 3 + 17))
    gru = SAVED.states[1].view("<f4")[-17:]
    assert gru.tobytes() == advanced(MODEL.pool(3)).state(1)["gru"].tobytes()


def flipped(content: Any, place: int) -> Any:
    changed = bytearray(content) if isinstance(content, bytes) else content.copy()
    changed[place] ^= 1
    return bytes(changed) if isinstance(content, bytes) else changed


START = SAVED.checksum[:32]
BAD: dict[str, tuple[Any, str]] = {
    "a state": ((SAVED.steps, flipped(SAVED.states, (1, 7)), SAVED.checksum), "the snapshot is damaged: its checksum"),
    "steps": ((flipped(SAVED.steps, 2), SAVED.states, SAVED.checksum), "the snapshot is damaged: its checksum"),
    "digest": ((SAVED.steps, SAVED.states, flipped(SAVED.checksum, 40)), "the snapshot is damaged: its checksum"),
    "reserved": (resealed(*SAVED[:2], flipped(START, 12)), "the snapshot is damaged: its checksum"),
    "fingerprint": ((SAVED.steps, SAVED.states, flipped(SAVED.checksum, 20)), "the snapshot is damaged: its checksum"),
    "rows": ((SAVED.steps[::-1], SAVED.states, SAVED.checksum), "the snapshot is damaged: its checksum"),
    "a row less": ((SAVED.steps[:2], SAVED.states[:2], SAVED.checksum), "the snapshot is damaged: its checksum"),
    "another kind": ((SAVED.steps, SAVED.states, bytes(48)), "restore_many: expected what StreamPool.snapshot_many"),
    "newer": (resealed(*SAVED[:2], flipped(START, 9)), "format version 257, newer than 2: upgrade grurt"),
    "another model": (resealed(*SAVED[:2], flipped(START, 20)), "the snapshot belongs to another model"),
    "sizes": (resealed(SAVED.steps, SAVED.states[:, :-4]), "damaged: its states do not have the model's size"),
    "more steps": (resealed([0, 0, 0, 0], SAVED.states), "damaged: its states do not have the model's size"),
    "negative steps": (resealed([0, -1, 0], SAVED.states), "damaged: its states do not have the model's size"),
    "endless steps": (resealed([0, 2**62, 0], SAVED.states), "damaged: its states do not have the model's size"),
    "bytes": (b"abc", "expected the three parts of a snapshot of many streams, got b'abc'"),
    "two parts": (SAVED[:2], "expected the three parts of a snapshot of many streams, got "),
    "None": ((SAVED.steps, SAVED.states, None), "expected a checksum of 48 bytes, got None"),
    "short": ((SAVED.steps, SAVED.states, bytes(16)), "expected a checksum of 48 bytes, got b"),
    "float steps": ((SAVED.steps * 1.0, *SAVED[1:]), "restore_many: expected steps, got dtype float64"),
    "a matrix": ((SAVED.steps[np.newaxis], *SAVED[1:]), r"expected steps of shape \(n,\), got \(1, 3\)"),
    "floats": ((SAVED.steps, SAVED.states.view("f4"), SAVED.checksum), r"expected states as an array of uint8 \(n, n_"),
    "flat": ((SAVED.steps, SAVED.states.reshape(-1), SAVED.checksum), r"expected states as an array of uint8 \(n, n_"),
    "a list": ((SAVED.steps, SAVED.states.tolist(), SAVED.checksum), r"expected states as an array of uint8 \(n, n_"),
}


@pytest.mark.parametrize(("saved", "message"), BAD.values(), ids=BAD)
def test_what_is_no_snapshot_changes_nothing(saved: Any, message: str) -> None:
    pool = advanced(MODEL.pool(4), seed=165)
    before = whole(pool)
    with pytest.raises(SnapshotError, match=message):
        pool.restore_many([0, 1, 2], saved)
    assert whole(pool) == before


def test_other_weights_are_another_model() -> None:
    with pytest.raises(SnapshotError, match="the snapshot belongs to another model"):
        model_of(166).pool(3).restore_many([0, 1, 2], SAVED)


def test_any_damaged_byte_is_noticed() -> None:
    pool, rng = MODEL.pool(3), np.random.default_rng(167)
    before = whole(pool)
    for _ in range(300):
        states, checksum = SAVED.states, SAVED.checksum
        if rng.integers(2):
            states = flipped(states, (int(rng.integers(3)), int(rng.integers(states.shape[1]))))
        else:
            checksum = flipped(checksum, int(rng.integers(len(checksum))))
        with pytest.raises(SnapshotError):
            pool.restore_many([0, 1, 2], (SAVED.steps, states, checksum))
    assert whole(pool) == before


def test_inputs_that_a_layer_keeps() -> None:
    loose = MODEL.pool(3, nonfinite="propagate")
    loose.step([1], np.full((1, 3), np.nan, np.float32))
    saved, pool = loose.snapshot_many([0, 1, 2]), advanced(MODEL.pool(3))
    before = whole(pool)
    with pytest.raises(SnapshotError, match="restore_many: the snapshot holds a NaN or an infinity among the inputs"):
        pool.restore_many([0, 1, 2], saved)
    assert whole(pool) == before
    again = MODEL.pool(3, nonfinite="propagate")
    again.restore_many([0, 1, 2], saved)
    assert whole(again) == whole(loose)


IDS: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown": ([0, 1, 9], StreamIdError, r"StreamPool\.restore_many: there is no stream 9"),
    "far": ([0, 1, 2**40], StreamIdError, r"StreamPool\.restore_many: there is no stream 1099511627776"),
    "negative": (np.array([0, 1, -1]), StreamIdError, r"StreamPool\.restore_many: there is no stream -1"),
    "dropped": ([0, 1, 3], StreamIdError, r"StreamPool\.restore_many: there is no stream 3"),
    "twice": ([0, 1, 0], StreamIdError, "expected each target once, got one twice"),
    "fewer": ([0, 1], InputShapeError, "expected an id for each of 3 streams, got 2"),
    "names": (["a", "b", "c"], StreamIdError, "expected integers, as this pool numbers its streams"),
    "None": (None, StreamIdError, "expected a sequence of ids, got NoneType"),
}


@pytest.mark.parametrize(("ids", "error", "message"), IDS.values(), ids=IDS)
def test_ids_that_do_not_fit_change_nothing(ids: Any, error: type[Exception], message: str) -> None:
    pool = advanced(MODEL.pool(4))
    pool.drop(3)
    before = whole(pool)
    with pytest.raises(error, match=message):
        pool.restore_many(ids, SAVED)
    assert whole(pool) == before


def test_streams_that_are_not_there_have_no_snapshot() -> None:
    for ids in ([0, 4], [-1], np.array([2**62])):
        with pytest.raises(StreamIdError, match=r"StreamPool\.snapshot_many: there is no stream"):
            MODEL.pool(4).snapshot_many(ids)
    with pytest.raises(StreamIdError, match=r"StreamPool\.snapshot_many: there is no stream 'b'"):
        MODEL.pool(["a"]).snapshot_many(["a", "b"])


@pytest.mark.parametrize("call", ["snapshot_many", "restore_many"])
def test_a_pool_in_use_is_neither_saved_nor_restored(call: str) -> None:
    pool = advanced(MODEL.pool(3), seed=168)
    before = whole(pool)

    def is_refused() -> None:
        with pytest.raises(ConcurrentUseError):
            pool.snapshot_many([0, 1, 2]) if call == "snapshot_many" else pool.restore_many([0, 1, 2], SAVED)

    pool._front.exclusively(is_refused)
    assert whole(pool) == before
