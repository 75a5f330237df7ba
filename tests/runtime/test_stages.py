"""Sequences that begin where others ended: encoders and decoders, and the stages that stream one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from bits import assert_same_bits, named, run_in_blocks, stepped
from encoders import HIDDEN, encoder_decoder

import grurt
from grurt import reference
from grurt.lowering.lower import plan_of
from grurt.network.layers import AnyLayer


def random_batch(rng: np.random.Generator) -> dict[str, Any]:
    return {"source": rng.normal(size=(3, 11, 5)).astype(np.float32), "target": rng.integers(0, 9, (3, 7))}


def test_sequences_of_different_lengths_agree_with_the_oracle() -> None:
    rng = np.random.default_rng(1)
    model = encoder_decoder(rng)
    batch = random_batch(rng)
    found = model.run(batch)["y"]
    assert found.shape == (3, 7, 9)
    for row in range(3):
        expected = reference.run(model, {name: xs[row] for name, xs in batch.items()})[0]["y"]
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=2e-6)


def test_lengths_are_those_of_the_first_stage() -> None:
    rng = np.random.default_rng(2)
    model = encoder_decoder(rng)
    batch = random_batch(rng)
    found = model.run(batch, lengths=[11, 4, 1])["y"]
    for row, length in enumerate((11, 4, 1)):
        alone = model.run({"source": batch["source"][row, None, :length], "target": batch["target"][row, None]})
        np.testing.assert_array_equal(found[row], alone["y"][0])


def test_the_decoder_streams_with_what_the_encoder_hands_over() -> None:
    rng = np.random.default_rng(3)
    model = encoder_decoder(rng)
    batch = random_batch(rng)
    encoder, decoder = model.stages
    assert [port.name for port in encoder.inputs] == ["source"]
    assert [port.name for port in decoder.inputs] == ["target", "both"]
    assert encoder.outputs == (grurt.Output("both", "both"), grurt.Output("context", "context"))
    assert decoder.stages == (decoder,)
    handed = encoder.run(batch["source"])
    expected = model.run(batch)["y"]
    pool = decoder.pool(3)
    for row in range(3):
        inputs = {"target": batch["target"][row], "both": np.tile(handed["both"][row], (7, 1))}
        state = {"decoder": handed["context"][row]}
        stream, blocks = decoder.stream(), decoder.stream()
        stream.state = blocks.state = state
        pool.set_state(row, state)
        answers = stepped(stream, inputs)
        assert_same_bits(answers, {"y": expected[row]})
        assert_same_bits(run_in_blocks(blocks, inputs, [2, 5]), answers)
        pooled = pool.run([row], {name: xs[np.newaxis] for name, xs in inputs.items()})
        assert_same_bits(named(decoder, pooled[0]), answers)


def test_the_whole_does_not_stream_and_says_what_does() -> None:
    model = encoder_decoder(np.random.default_rng(4))
    message = r"layer 'fed' begins at the end of another sequence, 'both': Model.stages stream"
    assert model.unstreamable_reason is not None
    for make in (model.stream, model.pool, lambda: model.plan):
        with pytest.raises(grurt.StreamingError, match=message):
            make()
    with pytest.raises(grurt.StreamingError, match=rf"^the model cannot stream: {message} one by one$"):
        plan_of(model)


def test_inputs_of_one_stage_have_one_length() -> None:
    rng = np.random.default_rng(5)
    layers: list[AnyLayer] = [
        grurt.Add(name="sum", inputs=("a", "b")),
        grurt.LastStep(name="last"),
        grurt.GRU(name="gru", inputs=("c", "last"), input_size=3, hidden_size=3, initial_state="value"),
    ]
    model = models.layer_model(*layers, rng=rng, inputs=[grurt.Input(name, 3) for name in "abc"])
    xs = np.zeros((1, 5, 3), np.float32)
    assert model.run({"a": xs, "b": xs, "c": xs[:, :2]})["y"].shape == (1, 2, 3)
    with pytest.raises(grurt.InputShapeError, match="input 'b': expected a time size of 5, as 'a' has, got 4"):
        model.run({"a": xs, "b": xs[:, :4], "c": xs})
    with pytest.raises(grurt.InputShapeError, match="expected a batch size of 1, as 'a' has, got 2"):
        model.run({"a": xs, "b": xs, "c": np.zeros((2, 2, 3), np.float32)})
    with pytest.raises(grurt.InputTypeError, match=r"expected a mapping with the inputs \['a', 'b', 'c'\]"):
        model.run(xs)


def test_states_go_in_and_out_by_ports() -> None:
    rng = np.random.default_rng(6)
    plain = encoder_decoder(rng)
    signature = grurt.Signature(
        (
            *plain.signature.inputs,
            grurt.StatePort(name="h0", states=("forward",), dtype="float32", axes=("batch", "feature")),
        ),
        (
            *plain.signature.outputs,
            grurt.StatePort(
                name="hn", states=("forward", "decoder"), dtype="float32", axes=("state", "batch", "feature")
            ),
        ),
    )
    model = grurt.Model(
        layers=plain.layers, weights=plain.weights, inputs=plain.inputs, outputs=plain.outputs, signature=signature
    )
    batch = random_batch(rng)
    h0 = rng.uniform(-0.9, 0.9, (3, HIDDEN)).astype(np.float32)
    found = model.run(batch | {"h0": h0})
    for row in range(3):
        inputs = {name: xs[row] for name, xs in batch.items()}
        expected, states = reference.run(model, inputs, {"forward": h0[row]})
        np.testing.assert_allclose(found["y"][row], expected["y"], rtol=0, atol=2e-6)
        np.testing.assert_allclose(found["hn"][:, row], [states["forward"], states["decoder"]], rtol=0, atol=2e-6)


def test_a_file_keeps_the_stages(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    model = encoder_decoder(rng)
    batch = random_batch(rng)
    run = grurt.ReferenceRun(batch, model.run(batch), "tests")
    model = grurt.Model(
        layers=model.layers, weights=model.weights, inputs=model.inputs, outputs=model.outputs, reference_run=run
    )
    model.save(tmp_path / "model.grurt")
    loaded = grurt.load(tmp_path / "model.grurt")
    assert_same_bits(loaded.run(batch), model.run(batch))
    assert loaded.verify().ok


def test_three_stages_and_a_mask_in_the_last() -> None:
    rng = np.random.default_rng(8)
    size: dict[str, Any] = {"input_size": 4, "hidden_size": 4}
    layers: list[AnyLayer] = [
        grurt.GRU(name="a", inputs=("x",), **size),
        grurt.LastStep(name="y"),
        grurt.GRU(name="b", inputs=("u", "y"), initial_state="value", **size),
        grurt.LastStep(name="b_end"),
        grurt.FeatureMask(name="mask", inputs=("v",)),
        grurt.GRU(name="c", inputs=("v", "mask", "b_end"), initial_state="value", masked=True, **size),
    ]
    outputs = [grurt.Output("y", "a"), grurt.Output("c", "c")]
    inputs = [grurt.Input(name, 4) for name in "xuv"]
    model = models.layer_model(*layers, rng=rng, inputs=inputs, outputs=outputs)
    assert [len(stage.layers) for stage in model.stages] == [2, 2, 2]
    assert model.stages[0].outputs == (grurt.Output("y", "a"), grurt.Output("y'", "y"))
    batch = {name: rng.normal(size=(1, n, 4)).astype(np.float32) for name, n in (("x", 3), ("u", 5), ("v", 8))}
    batch["v"][:, 2:4] = 0
    expected, _ = reference.run(model, {name: xs[0] for name, xs in batch.items()})
    found = model.run(batch)
    for name, answer in expected.items():
        np.testing.assert_allclose(found[name][0], answer, rtol=0, atol=2e-6)


def test_an_encoder_and_decoder_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    encoder, decoder = torch.nn.GRU(5, HIDDEN, batch_first=True), torch.nn.GRU(4, HIDDEN, batch_first=True)
    source, target = torch.randn(3, 8, 5), torch.randn(3, 13, 4)
    with torch.no_grad():
        expected = decoder(target, encoder(source)[1])[0].numpy()
    layers: list[AnyLayer] = [
        grurt.GRU(name="encoder", inputs=("source",), input_size=5, hidden_size=HIDDEN),
        grurt.LastStep(name="state"),
        grurt.GRU(name="decoder", inputs=("target", "state"), input_size=4, hidden_size=HIDDEN, initial_state="value"),
    ]
    weights = {
        f"{name}.{parameter.removesuffix('_l0')}": np.concatenate([rows[HIDDEN : 2 * HIDDEN], rows[:HIDDEN], rest])
        for name, module in (("encoder", encoder), ("decoder", decoder))
        for parameter, tensor in module.state_dict().items()
        for rows in [tensor.numpy()]
        for rest in [rows[2 * HIDDEN :]]
    }
    model = grurt.Model(layers=layers, weights=weights, inputs=[grurt.Input("source", 5), grurt.Input("target", 4)])
    found = model.run({"source": source.numpy(), "target": target.numpy()})["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
