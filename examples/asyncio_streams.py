"""Serve many streams from one event loop: each connection has a stream of its own, and no thread is needed.

Usage:
    python examples/asyncio_streams.py
"""

import asyncio
import time

import numpy as np

from grurt import Model
from grurt.demo import load_model, load_recordings


async def watch(model: Model, samples: asyncio.Queue[np.ndarray | None]) -> int:
    """Answer the samples of one watch as they arrive, and return the last answer's class."""
    stream = model.stream()
    answer = stream.output
    while (sample := await samples.get()) is not None:
        answer = stream.step(sample)  # a microsecond: shorter than handing it to a thread
    return int(answer.argmax())


async def send(recording: np.ndarray, samples: asyncio.Queue[np.ndarray | None]) -> None:
    """Send a recording, sample by sample, as a network would."""
    for sample in recording:
        await samples.put(sample)
    await samples.put(None)


async def serve() -> None:
    """Let 200 watches send their recordings at once."""
    model, recordings = load_model(), load_recordings()
    chosen = [index % len(recordings.samples) for index in range(200)]
    queues: list[asyncio.Queue[np.ndarray | None]] = [asyncio.Queue(maxsize=4) for _ in chosen]
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(watch(model, queue)) for queue in queues]
        for index, queue in zip(chosen, queues, strict=True):
            tasks.create_task(send(recordings.samples[index], queue))
    seconds = time.perf_counter() - begun
    right = sum(task.result() == recordings.labels[index] for task, index in zip(answers, chosen, strict=True))
    print(f"{len(chosen)} streams of 100 samples in one event loop: {seconds:.1f} s, {right} answers right")

    # A long run would hold up the loop: it goes to a thread, where it leaves the GIL alone.
    history = np.concatenate(list(recordings.samples))
    whole = await asyncio.to_thread(model.run, history)
    print(
        f"a history of {len(history)} samples in a thread: the last answer is {recordings.classes[whole[-1].argmax()]}"
    )


if __name__ == "__main__":
    asyncio.run(serve())
