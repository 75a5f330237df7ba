"""Every model file under tests/data gives its framework's answers, or is refused for the expected reason."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest
import supported
from collection import Outcome

from grurt.converters import convert_onnx

pytestmark = pytest.mark.slow

ROUNDED = ("torch/sd_bf16.pt", "keras/k3_half.keras", "keras/k3_bfloat16.keras")
"""Whose frameworks rounded every result to 16 bits."""

NOT_FOR_ONNXRUNTIME = ("gru_operator/layout1.onnx", "pytorch/f_cell.dyn.op17.onnx", "pytorch/f_cell.dyn.da.op17.onnx")
"""It does not know layout 1, nor an attribute that the exporter uses before the operators have it."""

REFUSED = {
    "pytorch_faulty/*": r"node '\w+' \(GRU\): PyTorch wrote it with linear_before_reset=0.*export again.*--repair",
    "onnxruntime/*.qdyn.onnx": r"\(DynamicQuantizeLinear\): the model was quantized.*convert the model from before",
    "keras2/k2_cudnngru.tf2onnx.onnx": r"\(CudnnRNNV3\): the operator is not supported; convert the \.keras or",
    "keras/k3_masked_backwards.keras": r"layer 'gru_1' \(GRU\): .* go_backwards=True .*; use Bidirectional",
    "torch/list_params.pt": r"got a list of tensors, without names; save module\.state_dict\(\) instead",
    "torch/sd_dynquant.pt": r"tensor 'gru\..*': .* that torch has quantized; convert the float model",
}
"""The reason, by a pattern of the file's name."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("collection")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> list[Outcome]:
    return supported.outcomes(folder)


def test_the_page_is_current(outcomes: list[Outcome]) -> None:
    assert supported.PAGE.read_text(encoding="utf-8") == supported.page(outcomes)


def test_files_that_convert_agree(outcomes: list[Outcome]) -> None:
    compared = [outcome for outcome in outcomes if outcome.difference is not None and outcome.file not in ROUNDED]
    assert len(compared) > 350
    assert [outcome.file for outcome in compared if outcome.difference >= supported.TOLERANCE] == []


@pytest.mark.parametrize("pattern", REFUSED)
def test_refused_with_the_reason(outcomes: list[Outcome], pattern: str) -> None:
    refused = [outcome for outcome in outcomes if fnmatch(outcome.file, pattern)]
    assert refused
    for outcome in refused:
        with pytest.raises(ValueError, match=REFUSED[pattern]):
            raise ValueError(outcome.refusal)


def test_nothing_else_is_refused(outcomes: list[Outcome]) -> None:
    refused = [outcome.file for outcome in outcomes if outcome.refusal]
    assert [file for file in refused if not any(fnmatch(file, pattern) for pattern in REFUSED)] == []


def test_answers_and_steps_from_random_states(outcomes: list[Outcome], folder: Path) -> None:
    """With onnxruntime's answers to other inputs and random states; whole, and sample by sample."""
    files = {outcome.file for outcome in outcomes if outcome.file.endswith(".onnx") and outcome.model is not None}
    assert len(files) > 220
    for file in sorted(files - set(NOT_FOR_ONNXRUNTIME)):
        verification = convert_onnx(folder / file).verify()
        assert verification.max_error < supported.TOLERANCE, file
        assert verification.same_bits, file
