"""Replace onnxruntime's `session.run` by grurt, for an ONNX file that PyTorch exported; then stream through it.

Usage:
    pip install "grurt[onnx]" onnxruntime
    python examples/from_onnx.py [MODEL.onnx]
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

from grurt.converters import convert
from grurt.demo import load_recordings

DEFAULT = Path(__file__).parent / "activity.onnx"  # what train_activity.py exports


def main(path: Path) -> None:
    """Compare the two engines on a batch of recordings, and a stream with both."""
    session = onnxruntime.InferenceSession(path)
    model = convert(path)
    print(f"converted: {model!r}")

    batch = load_recordings().samples[::10]
    inputs = {session.get_inputs()[0].name: batch}
    (expected,) = session.run(None, inputs)
    answers = model.run(inputs)  # by the ONNX names, in the ONNX shapes
    for name, answer in answers.items():
        print(f"{name} {answer.shape}: largest difference {np.abs(answer - expected).max():.1e}")

    # The ONNX file wants 100 timesteps at once and keeps no state. A stream answers each sample.
    stream = model.stream()
    steps = np.array([stream.step(sample) for sample in batch[0]])
    print(f"sample by sample: largest difference {np.abs(steps - expected[0]).max():.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
