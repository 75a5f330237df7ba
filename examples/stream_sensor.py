"""Answer a sensor sample by sample, with the state kept inside.

Usage:
    python examples/stream_sensor.py
"""

from grurt.demo import load_model, load_recordings


def main() -> None:
    """Play one recording of each activity to the network as if the watch were sending it."""
    model = load_model()  # or grurt.load("activity.grurt")
    recordings = load_recordings()
    stream = model.stream()
    for index in (0, 10, 20, 30):
        stream.reset()  # another wearer: the state of the last one must not leak into this
        print(f"a recording of {recordings.classes[recordings.labels[index]].lower()}:")
        for number, sample in enumerate(recordings.samples[index], 1):
            probabilities = stream.step(sample)  # (6,) in, (4,) out: the answer so far
            if number in (5, 10, 20, 100):
                best = probabilities.argmax()
                seconds = number / recordings.sample_rate
                print(f"  after {seconds:4.1f} s: {recordings.classes[best].lower():9} {probabilities[best]:.2f}")


if __name__ == "__main__":
    main()
