"""Save a stream's state, and go on from it later, elsewhere, or twice.

Usage:
    python examples/snapshot_restore.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from grurt import SnapshotError
from grurt.demo import load_model, load_recordings


def main() -> None:
    """Interrupt a recording in its middle, and show that nobody can tell from the answers."""
    model = load_model()
    samples = load_recordings().samples[10]
    uninterrupted = model.stream().run(samples)

    stream = model.stream()
    stream.run(samples[:50])
    with TemporaryDirectory() as folder:
        saved = Path(folder) / "state.bin"
        saved.write_bytes(stream.snapshot())
        print(f"saved the state after {stream.steps} samples: {saved.stat().st_size} bytes")

        later = model.stream()  # in another process, or on another machine
        later.restore(saved.read_bytes())
        answers = later.run(samples[50:])
        print(f"the same bits as without the interruption: {np.array_equal(answers, uninterrupted[50:])}")

        damaged = saved.read_bytes()[:-1]
        try:
            later.restore(damaged)
        except SnapshotError as error:
            print(f"refused: {error}")

    # A fork is the same within a process: what if the watch were held still from here on?
    still = stream.fork()
    answer = still.run(np.repeat(samples[50:51], 50, axis=0))[-1]
    print(f"the fork went its own way: {answer.round(2)}; the stream itself is still at sample {stream.steps}")


if __name__ == "__main__":
    main()
