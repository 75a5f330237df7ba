"""WAV files of one channel of 16-bit samples, as float32 between -1 and 1."""

import wave
from pathlib import Path

import numpy as np
from spectral_stream import Samples

SCALE = 32768


def read_wav(path: Path, sample_rate: int) -> Samples:
    """Return the samples of a file; ValueError says what is wrong with it, and how to make one that can be read."""
    make = f"Make one by: ffmpeg -i {path.name} -ac 1 -ar {sample_rate} -c:a pcm_s16le mono.wav"
    try:
        with wave.open(str(path), "rb") as file:
            form, data = file.getparams(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        reason = str(error) or "it ends too early"
        raise ValueError(f"{path}: not a WAV file of PCM samples ({reason}). {make}") from None
    if (form.nchannels, form.sampwidth, form.framerate) != (1, 2, sample_rate):
        found = f"{form.nchannels} of {8 * form.sampwidth} bits at {form.framerate} Hz"
        raise ValueError(f"{path}: expected one channel of 16 bits at {sample_rate} Hz, found {found}. {make}")
    if not data or len(data) != 2 * form.nframes:
        raise ValueError(f"{path}: cut short or empty: {form.nframes} samples announced, {len(data) // 2} found")
    return np.frombuffer(data, "<i2").astype(np.float32) / SCALE


def write_wav(path: Path, samples: Samples, sample_rate: int) -> None:
    """Write samples, rounded to 16 bits; what lies beyond -1 and 1 is clipped."""
    data = np.clip(np.rint(samples * SCALE), -SCALE, SCALE - 1).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(data.tobytes())
