"""Networks as people deploy them to run frame by frame, small but true to their architecture; each is one timestep."""

from collections.abc import Callable, Mapping

from benchmarks.step_networks import cells
from benchmarks.step_networks.base import StepNetwork, onnx_of, pt2_of
from benchmarks.step_networks.decoders import bahdanau_decoder, luong_decoder
from benchmarks.step_networks.deep_filter import deep_filter
from benchmarks.step_networks.detectors import detector, tcn
from benchmarks.step_networks.dual_path import dpcrn, dprnn
from benchmarks.step_networks.fast_enhancer import fast_enhancer
from benchmarks.step_networks.gtcrn import gtcrn
from benchmarks.step_networks.policies import gru_policy, lstm_policy
from benchmarks.step_networks.state_space import mamba, s4d
from benchmarks.step_networks.ulunas import ulunas
from benchmarks.step_networks.voices import dtln, nsnet2, voice_detector

__all__ = [
    "NETWORKS",
    "StepNetwork",
    "bahdanau_decoder",
    "deep_filter",
    "dprnn",
    "fast_enhancer",
    "gru_policy",
    "lstm_policy",
    "luong_decoder",
    "onnx_of",
    "pt2_of",
    "ulunas",
]

NETWORKS: Mapping[str, Callable[[], StepNetwork]] = {
    "gtcrn": gtcrn,
    "ulunas": ulunas,
    "fast_enhancer": fast_enhancer,
    "dprnn": dprnn,
    "dpcrn": dpcrn,
    "dtln": dtln,
    "voice_detector": voice_detector,
    "deep_filter": deep_filter,
    "nsnet2": nsnet2,
    "gru_policy": gru_policy,
    "lstm_policy": lstm_policy,
    "bahdanau_decoder": bahdanau_decoder,
    "luong_decoder": luong_decoder,
    "detector": detector,
    "tcn": tcn,
    "mamba": mamba,
    "s4d": s4d,
    "conv_gru": cells.conv_gru,
    "min_gru": lambda: cells.of_vectors(cells.MinGRU(3, 8)),
    "li_gru": lambda: cells.of_vectors(cells.LiGRU(3, 8)),
    "memory_cell": lambda: cells.of_vectors(cells.MemoryCell(3, 8), memory=0.5),
    "input_candidate": lambda: cells.of_vectors(cells.InputCandidateCell(3, 8, bounded=False)),
    "bounded_candidate": lambda: cells.of_vectors(cells.InputCandidateCell(3, 8, bounded=True)),
    "difference_gate": lambda: cells.of_vectors(cells.DifferenceGate(3, 8)),
    "joined_keeping": lambda: cells.of_vectors(cells.JoinedCell(3, 8, update=False)),
    "joined_updating": lambda: cells.of_vectors(cells.JoinedCell(3, 8, update=True)),
}
"""Each by name, of a size for tests."""
