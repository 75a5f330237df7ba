"""Snapshots: restored anywhere, refused where they do not belong, and never half applied."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import golden_snapshot
import models
import msgspec
import numpy as np
import pytest

import grurt
from grurt import reference
from grurt.errors import SnapshotError
from grurt.network.fingerprint import fingerprint

HEADER = struct.Struct("<8sH6x16sQ")
CHECKSUM_SIZE = 16


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(31)


@pytest.fixture
def model(rng: np.random.Generator) -> grurt.Model:
    return models.layer_model(
        grurt.Conv1d(name="conv", input_size=2, output_size=3, kernel_size=3, dilation=2),
        grurt.GRU(name="gru", input_size=3, hidden_size=5, initial_state="learned"),
        rng=rng,
    )


@pytest.fixture
def xs(rng: np.random.Generator) -> Any:
    return rng.normal(size=(30, 2)).astype(np.float32)


def with_checksum(content: bytes) -> bytes:
    return content + hashlib.blake2b(content, digest_size=CHECKSUM_SIZE).digest()


def assert_refused(stream: grurt.Stream, saved: Any, message: str) -> None:
    before = stream.snapshot()
    with pytest.raises(SnapshotError, match=message):
        stream.restore(saved)
    assert stream.snapshot() == before


def test_the_bytes_are_as_documented(model: grurt.Model, xs: Any) -> None:
    stream = model.stream()
    stream.run(xs[:7])
    state = stream.state
    header = HEADER.pack(b"GRURTSN\0", 1, model.fingerprint, 7)
    numbers = np.concatenate([state["conv"].ravel(), state["gru"]]).astype("<f4")
    assert stream.snapshot() == with_checksum(header + numbers.tobytes())


@pytest.mark.slow
def test_restored_in_another_process(model: grurt.Model, xs: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model.grurt")
    stream = model.stream()
    stream.run(xs[:13])
    (tmp_path / "snapshot").write_bytes(stream.snapshot())
    np.save(tmp_path / "xs.npy", xs[13:])
    program = (
        "import grurt, numpy, pathlib\n"
        "stream = grurt.load('model.grurt').stream()\n"
        "stream.restore(pathlib.Path('snapshot').read_bytes())\n"
        "numpy.save('ys.npy', stream.run(numpy.load('xs.npy')))\n"
        "pathlib.Path('after').write_bytes(stream.snapshot())\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "ys.npy"), stream.run(xs[13:]))
    assert (tmp_path / "after").read_bytes() == stream.snapshot()


@pytest.mark.parametrize("taken_after", [0, 1, 3, 4, 5, 9])
@pytest.mark.parametrize("restored_after", [0, 2, 4, 7])
def test_restored_after_another_number_of_timesteps(
    model: grurt.Model, xs: Any, taken_after: int, restored_after: int
) -> None:
    """The history of a convolution is a ring, whose start depends on the number of timesteps."""
    stream, other = model.stream(), model.stream()
    stream.run(xs[:taken_after])
    saved = stream.snapshot()
    other.run(xs[10 : 10 + restored_after])
    other.restore(saved)
    assert other.steps == taken_after
    assert other.snapshot() == saved
    np.testing.assert_array_equal(other.run(xs[20:]), stream.run(xs[20:]))
    assert other.snapshot() == stream.snapshot()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_bytes(model: grurt.Model, xs: Any, kind: Any) -> None:
    stream, other = model.stream(), model.stream()
    stream.run(xs)
    other.restore(kind(stream.snapshot()))
    assert other.snapshot() == stream.snapshot()


def test_a_snapshot_stays_as_it_was_taken(model: grurt.Model, xs: Any) -> None:
    stream = model.stream()
    stream.run(xs[:5])
    saved = bytearray(stream.snapshot())
    kept = bytes(saved)
    stream.run(xs)
    stream.restore(saved)
    saved[:] = bytes(len(saved))
    assert stream.snapshot() == kept


def test_a_model_without_states(rng: np.random.Generator) -> None:
    stream = models.layer_model(grurt.Linear(name="fc", input_size=2, output_size=2), rng=rng).stream()
    stream.run(np.zeros((3, 2)))
    saved = stream.snapshot()
    assert len(saved) == HEADER.size + CHECKSUM_SIZE
    stream.reset()
    stream.restore(saved)
    assert (stream.steps, stream.state) == (3, {})


def test_numbers_that_are_not_finite(model: grurt.Model) -> None:
    stream, other = model.stream(nonfinite="propagate"), model.stream(nonfinite="propagate")
    stream.step([np.nan, np.inf])
    other.restore(stream.snapshot())
    assert other.snapshot() == stream.snapshot()
    np.testing.assert_array_equal(other.state["conv"], stream.state["conv"])


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(
            lambda model: (model.layers, dict(model.weights) | {"gru.initial_state": np.zeros(5)}), id="weights"
        ),
        pytest.param(
            lambda model: ((model.layers[0], msgspec.structs.replace(model.layers[1], clip=3.0)), model.weights),
            id="clip",
        ),
    ],
)
def test_of_another_model(model: grurt.Model, xs: Any, other: Any) -> None:
    layers, weights = other(model)
    stranger = grurt.Model(layers=layers, weights=weights)
    stream = stranger.stream()
    stream.run(xs[:2])
    expected = (
        f"^restore: the snapshot belongs to another model: expected fingerprint {stranger.fingerprint.hex()}, "
        f"got {model.fingerprint.hex()}; load the model that it was taken from$"
    )
    assert_refused(stream, model.stream().snapshot(), expected)


def test_a_field_that_a_later_release_adds_makes_no_snapshot_unreadable() -> None:
    """As long as a model leaves it at its default, which stands for what the layer did before."""

    class Layer(msgspec.Struct, frozen=True, tag="layer"):
        size: int
        function: Any = grurt.Tanh()

    class LaterFunction(msgspec.Struct, frozen=True, tag="tanh"):
        slope: float = 1.0

    class LaterLayer(msgspec.Struct, frozen=True, tag="layer"):
        size: int
        function: Any = grurt.Tanh()
        groups: int = 1

    weights = {"a": np.zeros(3, np.float32)}
    today = fingerprint([Layer(4)], weights)
    assert fingerprint([LaterLayer(4)], weights) == today
    assert fingerprint([Layer(4, function=grurt.Relu())], weights) != today
    others = (LaterLayer(5), LaterLayer(4, groups=2), LaterLayer(4, function=LaterFunction(2.0)))
    assert len({today, *(fingerprint([layer], weights) for layer in others)}) == 4
    by_function = [fingerprint([Layer(4, function=f)], weights) for f in (LaterFunction(), grurt.Relu(), grurt.Elu(2))]
    assert len(set(by_function)) == 3


def test_everything_that_decides_an_answer_is_in_the_fingerprint(rng: np.random.Generator) -> None:
    gru = grurt.GRU(name="gru", input_size=2, hidden_size=2)
    weights = models.random_weights([gru], rng)
    changed = {"clip": 3.0, "linear_before_reset": False, "direction": "reverse", "gate_activation": grurt.Softsign()}
    found = [grurt.Model(layers=[gru], weights=weights)]
    found += [
        grurt.Model(layers=[msgspec.structs.replace(gru, **{name: value})], weights=weights)
        for name, value in changed.items()
    ]
    for name, array in weights.items():
        other = array.copy()
        other.flat[-1] += 1e-6
        found.append(grurt.Model(layers=[gru], weights=weights | {name: other}))
    last = grurt.LastStep(name="last")
    found.append(grurt.Model(layers=[gru, last], weights=weights))
    found.append(grurt.Model(layers=[gru, last], weights=weights, outputs=[grurt.Output("y", "gru")]))
    assert len({model.fingerprint for model in found}) == len(found)


def test_of_the_same_model_loaded_again(model: grurt.Model, xs: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model.grurt")
    stream, again = model.stream(), grurt.load(tmp_path / "model.grurt").stream()
    stream.run(xs)
    again.restore(stream.snapshot())
    assert again.snapshot() == stream.snapshot()


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_a_change_of_any_byte_is_refused(model: grurt.Model, xs: Any, mask: int) -> None:
    stream = model.stream()
    stream.run(xs[:6])
    saved = stream.snapshot()
    stream.run(xs[6:])
    for position in range(len(saved)):
        altered = bytearray(saved)
        altered[position] ^= mask
        message = "^restore: the snapshot is damaged: its checksum does not fit$"
        if position < 8:
            message = "^restore: expected the bytes that Stream.snapshot returns, got something else$"
        elif position == 9 or (position == 8 and mask > 1):
            message = "^restore: the snapshot has format version [0-9]+, newer than 2: upgrade grurt$"
        assert_refused(stream, bytes(altered), message)


def mutated(saved: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return a snapshot with one to three changes of any kind; half of them with a checksum that fits again."""
    content = bytearray(saved)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(content) or 1))
        match int(rng.integers(7)):
            case 0:
                content[at : at + 1] = bytes([int(rng.integers(256))])
            case 1:
                del content[at : at + int(rng.integers(1, 9))]
            case 2:
                content[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case 3:
                del content[at:]
            case 4:
                content[at : at + 8] = other[at : at + 8]
            case 5:
                content[32:40] = rng.bytes(8)  # the number of timesteps
            case _:
                content[at : at + 4] = np.float32(rng.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45])).tobytes()
    if rng.integers(2):
        return with_checksum(bytes(content[:-CHECKSUM_SIZE]))
    return bytes(content)


def restore_mutations_and_check(model: grurt.Model, xs: Any, count: int) -> tuple[int, int]:
    """Restore damaged snapshots; return how many were refused and taken. What is taken must be usable."""
    rng = np.random.default_rng(32)
    stream, strict, loose = model.stream(), model.stream(), model.stream(nonfinite="propagate")
    stream.run(xs[:6])
    saved = stream.snapshot()
    other = models.gru_model(4, 6, rng).stream().snapshot()
    n_refused = n_taken = 0
    for i in range(count):
        bytes_ = mutated(saved, other, rng)
        target = loose if i % 2 else strict
        before = target.steps
        try:
            target.restore(bytes_)
        except SnapshotError as error:
            n_refused += str(error).startswith("restore: ") and target.steps == before
        else:
            assert bytes_[: HEADER.size - 8] == saved[: HEADER.size - 8]
            assert target.step(xs[0]).shape == (5,)
            n_taken += 1
    strict.restore(saved)
    assert strict.run(xs[6:]).tobytes() == stream.run(xs[6:]).tobytes()
    return n_refused, n_taken


def test_thousands_of_mutations_are_refused_or_sound(model: grurt.Model, xs: Any) -> None:
    n_refused, n_taken = restore_mutations_and_check(model, xs, 5_000)
    assert n_refused + n_taken == 5_000
    assert n_taken > 200  # those whose checksum was made to fit, and whose header is still that of the model


@pytest.mark.long
def test_a_million_mutations_are_refused_or_sound(model: grurt.Model, xs: Any) -> None:
    assert sum(restore_mutations_and_check(model, xs, 1_000_000)) == 1_000_000


def test_a_truncated_snapshot_is_refused(model: grurt.Model, xs: Any) -> None:
    stream = model.stream()
    stream.run(xs[:6])
    saved = stream.snapshot()
    for size in range(len(saved)):
        assert_refused(
            stream, saved[:size], rf"^restore: the snapshot is (truncated: {size} bytes|damaged: its checksum)"
        )
    for size in range(1, 9):
        assert_refused(stream, saved + bytes(size), "^restore: the snapshot is (truncated|damaged)")


def test_a_newer_version_is_refused_whatever_it_holds(model: grurt.Model) -> None:
    newer = with_checksum(HEADER.pack(b"GRURTSN\0", 3, bytes(16), 0) + bytes(4))
    expected = "^restore: the snapshot has format version 3, newer than 2: upgrade grurt$"
    assert_refused(model.stream(), newer, expected)


@pytest.mark.parametrize(
    ("version", "steps", "n_numbers", "message"),
    [
        (0, 0, 13, "its checksum does not fit"),
        (1, 0, 12, "its state does not have the model's size"),
        (1, 0, 14, "its state does not have the model's size"),
        (1, 1 << 62, 13, "its state does not have the model's size"),
        (2, 0, 13, "the model's are not of version 2"),
    ],
)
def test_a_forged_snapshot_is_refused(
    model: grurt.Model, version: int, steps: int, n_numbers: int, message: str
) -> None:
    forged = with_checksum(HEADER.pack(b"GRURTSN\0", version, model.fingerprint, steps) + bytes(4 * n_numbers))
    assert_refused(model.stream(), forged, f"^restore: the snapshot is damaged: {message}$")


def test_the_largest_number_of_timesteps(model: grurt.Model, xs: Any) -> None:
    """Such a count leaves room: it does not overflow in any stream's lifetime, and one more is refused."""
    last = with_checksum(HEADER.pack(b"GRURTSN\0", 1, model.fingerprint, (1 << 62) - 1) + bytes(4 * 13))
    stream = model.stream()
    stream.restore(last)
    assert stream.steps == (1 << 62) - 1
    assert np.isfinite(stream.run(xs)).all()


@pytest.mark.parametrize(
    "saved", [None, "GRURTSN", 3, [1, 2], np.zeros(100, np.uint8)], ids=lambda saved: type(saved).__name__
)
def test_what_is_not_bytes_is_refused(model: grurt.Model, saved: Any) -> None:
    assert_refused(model.stream(), saved, f"^restore: expected bytes, got {type(saved).__name__}$")


def test_what_is_not_a_snapshot_is_refused(model: grurt.Model) -> None:
    assert_refused(model.stream(), b"", "^restore: the snapshot is truncated: 0 bytes$")
    assert_refused(model.stream(), bytes(108), "^restore: expected the bytes that Stream.snapshot returns")


def test_a_snapshot_from_the_past() -> None:
    model = golden_snapshot.model()
    stream = model.stream()
    stream.restore(bytes.fromhex(golden_snapshot.FILE.read_text()))
    assert stream.steps == golden_snapshot.N_STEPS
    xs = golden_snapshot.inputs(golden_snapshot.N_STEPS + 5)
    _, states = reference.run(model, {"x": xs[: golden_snapshot.N_STEPS]})
    for name, state in stream.state.items():
        np.testing.assert_allclose(state, states[name], rtol=0, atol=2e-6)
    expected = reference.run(model, {"x": xs})[0]["y"][golden_snapshot.N_STEPS :]
    np.testing.assert_allclose(stream.run(xs[golden_snapshot.N_STEPS :]), expected, rtol=0, atol=2e-6)
