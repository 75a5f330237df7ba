"""Parts that grurt refuses by design, each with the reason.

Those "in front" show it also before a GRU has told which axis is time.
"""

from __future__ import annotations

from generated.parts import part
from generated.writer import Steps, Writer
from grurt.errors import DesignReason


@part("traps in front")
def lstm(w: Writer, x: Steps) -> Steps:
    w.refuses(DesignReason.OTHER_RECURRENCE)
    size = w.size()
    kind = w.rng.choice(("LSTM", "RNN"))
    both = ", bidirectional=True" * w.maybe(0.3)
    module = w.module(f"nn.{kind}({x.size}, {size}{', batch_first=True' * w.batch_first}{both})")
    return w.steps(f"{module}({x.name})[0]", size * (1 + bool(both)))


@part("traps in front")
def attention(w: Writer, x: Steps) -> Steps:
    w.refuses(DesignReason.WHOLE_SEQUENCE)
    y = x.name if w.batch_first else w.let("t", f"{x.name}.transpose(0, 1)")
    q, k = (w.let(name, f"{w.module(f'nn.Linear({x.size}, 4)', name)}({y})") for name in ("query", "key"))
    if w.maybe():
        mixed = f"torch.softmax({q} @ {k}.transpose(1, 2) / 2.0, dim=-1) @ {y}"
    else:
        mixed = f"F.scaled_dot_product_attention({q}, {k}, {y})"
    return w.steps(mixed if w.batch_first else f"({mixed}).transpose(0, 1)", x.size)


@part("traps")
def pooled_attention(w: Writer, x: Steps) -> Steps:
    w.refuses(DesignReason.WHOLE_SEQUENCE)
    scores = f"{w.module(f'nn.Linear({x.size}, 1)', 'score')}({x.name})"
    weights = w.let("weights", f"torch.softmax({scores}, dim={w.time_axis})")
    return w.steps(f"{x.name} + ({weights} * {x.name}).sum({w.time_axis}, keepdim=True)", x.size)


@part("traps", 2)
def over_time(w: Writer, x: Steps) -> Steps:
    """Statistics over all timesteps."""
    w.refuses(DesignReason.WHOLE_SEQUENCE)
    kind = w.rng.choice(("mean", "amax", "sum", "cumsum", "softmax"))
    if kind in ("cumsum", "softmax"):
        return w.steps(f"{x.name} + torch.{kind}({x.name}, {w.time_axis})", x.size)
    return w.steps(f"{x.name} - {x.name}.{kind}({w.time_axis}, keepdim=True)", x.size)


@part("traps in front")
def instance_norm(w: Writer, x: Steps) -> Steps:
    w.refuses(DesignReason.WHOLE_SEQUENCE)
    norm = w.rng.choice((f"nn.InstanceNorm1d({x.size})", f"nn.GroupNorm(1, {x.size})"))
    return w.steps(w.channels_last(f"{w.module(norm, 'norm')}({w.channels_first(x.name)})"), x.size)


@part("traps")
def layer_of_time(w: Writer, x: Steps) -> Steps:
    """A layer of which the number of timesteps is a size."""
    w.refuses(DesignReason.SEQUENCE_LENGTH)
    layer = w.module(f"nn.Linear({w.time}, {w.time})", "over_time")
    return w.steps(w.channels_last(f"{layer}({w.channels_first(x.name)})"), x.size)


@part("traps")
def upsampled(w: Writer, x: Steps) -> Steps:
    w.refuses(DesignReason.SEQUENCE_LENGTH)
    forms = (
        w.channels_last(f"F.interpolate({w.channels_first(x.name)}, scale_factor=2)"),
        f"torch.repeat_interleave({x.name}, 2, {w.time_axis})",
    )
    return w.steps(w.rng.choice(forms), x.size)


@part("traps", 2)
def across_batch(w: Writer, x: Steps) -> Steps:
    w.refuses(DesignReason.ACROSS_BATCH)
    forms = (
        f"{x.name} - {x.name}.mean({w.batch_axis}, keepdim=True)",
        f"{x.name}.cumsum({w.batch_axis})",
        f"{x.name} / {x.name}.abs().amax(({w.batch_axis}, 2), keepdim=True)",
    )
    w.batch = max(w.batch, 2)
    return w.steps(w.rng.choice(forms), x.size)


@part("traps in front")
def image(w: Writer, x: Steps) -> Steps:
    w.refuses(DesignReason.IMAGES)
    conv = w.module("nn.Conv2d(1, 2, 3, padding=1)", "conv")
    y = x.name if w.batch_first else f"{x.name}.transpose(0, 1)"
    image = w.let("image", f"{conv}({y}.unsqueeze(1)).sum(1)")
    return w.steps(image if w.batch_first else f"{image}.transpose(0, 1)", x.size)


@part("traps in front")
def spectrum(w: Writer, x: Steps) -> Steps:
    """Over the features of one timestep, where an FFT is a matrix, or over the timesteps."""
    w.refuses(DesignReason.ELEMENT_TYPE, DesignReason.WHOLE_SEQUENCE)
    return w.steps(f"torch.fft.fft({x.name}, dim={w.time_axis}).abs()", x.size)
