"""Translate dates: PyTorch, an encoder and a decoder, with attention and without.

"the 3rd of march, 1998" becomes "1998-03-03", symbol by symbol. The encoder reads letters; the decoder begins with the
last state of the encoder. Without attention it reads that beside each symbol, too; with attention it looks at all that
the encoder answered, by the products of its own answer with them. It is exported as one timestep, of which that memory
is a context. `Translator` does the rest in one call. The dates are generated; training takes seconds.

    pip install torch onnx
    python examples/networks/dates.py
"""

from __future__ import annotations

import datetime
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from showing import Array, Shown, compared, export, largest_difference, main, microseconds, use_torch

import grurt
from grurt.converters import convert

LETTERS = grurt.Vocabulary(tokens=("", *"abcdefghijklmnopqrstuvwxyz0123456789 ,."), split="characters", padding=0)
SYMBOLS = grurt.Vocabulary(tokens=("<", ">", *"0123456789-"), split="characters", start=0, end=1)
LONGEST, ANSWER, HIDDEN = 32, 11, 56


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Return dates as people write them, and as ISO 8601 does."""
    draw, found = random.Random(seed), []
    for _ in range(count):
        day = datetime.date(1970, 1, 1) + datetime.timedelta(draw.randrange(22_000))
        month, short = f"{day:%B}".lower(), f"{day:%b}".lower()
        number = day.day
        ending = "th" if 10 < number < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        written = draw.choice(
            (
                f"{month} {number}, {day.year}",
                f"{number} {month} {day.year}",
                f"the {number}{ending} of {month}, {day.year}",
                f"{short} {number} {day.year}",
                f"{number}. {short} {day.year}",
            )
        )
        found.append((written, day.isoformat()))
    return found


def batch(dates: list[tuple[str, str]]) -> tuple[Array, Array, Array]:
    """Return letters ``(count, LONGEST)``, zeros behind the ends, lengths ``(count,)``, and symbols ``(count, 12)``."""
    letters = np.zeros((len(dates), LONGEST), np.int64)
    lengths = np.empty(len(dates), np.int64)
    for i, (written, _) in enumerate(dates):
        tokens = LETTERS.encode(written)
        letters[i, : len(tokens)], lengths[i] = tokens, len(tokens)
    return letters, lengths, np.array([SYMBOLS.encode(iso, start=True, end=True) for _, iso in dates])


def networks(torch: Any) -> tuple[type, type]:
    """Return the classes of the encoder and the decoder."""
    nn = torch.nn

    class Encoder(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(len(LETTERS.tokens), 16)
            self.encoder = nn.GRU(16, HIDDEN, batch_first=True)

        def forward(self, letters: Any) -> Any:
            return self.encoder(self.embedding(letters))[0]

    class Decoder(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, attention: bool) -> None:
            super().__init__()
            self.symbols = nn.Embedding(len(SYMBOLS.tokens), 16)
            self.decoder = nn.GRU(16 + (0 if attention else HIDDEN), HIDDEN, batch_first=True)
            if attention:
                self.key = nn.Linear(HIDDEN, HIDDEN, bias=False)
                self.joined = nn.Linear(2 * HIDDEN, HIDDEN)
            self.attention = attention
            self.fc = nn.Linear(HIDDEN, len(SYMBOLS.tokens))

        def forward(self, symbol: Any, memory: Any, h: Any, ends: Any = None) -> Any:
            x = self.symbols(symbol)
            if not self.attention:
                y, h = self.decoder(torch.cat([x, memory.expand(-1, x.shape[1], -1)], 2), h)
                return self.fc(y), h
            y, h = self.decoder(x, h)
            scores = y @ self.key(memory).transpose(1, 2)
            if ends is not None:
                scores = scores.masked_fill(torch.arange(memory.shape[1]) >= ends[:, None, None], -torch.inf)
            found = torch.softmax(scores, -1) @ memory
            return self.fc(torch.tanh(self.joined(torch.cat([y, found], 2)))), h

    return Encoder, Decoder


def train(torch: Any, attention: bool) -> tuple[Any, Any]:
    """Return a trained encoder and decoder."""
    make_encoder, make_decoder = networks(torch)
    torch.manual_seed(1)
    encoder, decoder = make_encoder(), make_decoder(attention)
    parameters, steps = [*encoder.parameters(), *decoder.parameters()], 800
    letters, lengths, symbols = map(torch.from_numpy, batch(pairs(30_000, seed=1)))
    optimizer = torch.optim.Adam(parameters)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(0, len(letters), (64,))
        memory = encoder(letters[rows, : lengths[rows].max()])
        last = memory[torch.arange(len(rows)), lengths[rows] - 1][:, None]
        h = last.transpose(0, 1).contiguous()
        scores, _ = decoder(symbols[rows, :-1], memory if attention else last, h, lengths[rows])
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), symbols[rows, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    return encoder.eval(), decoder.eval()


def translated(torch: Any, encoder: Any, decoder: Any, letters: Array) -> tuple[list[int], Array]:
    """Return the symbols for letters ``(n,)``, the best one always, and all scores; in PyTorch."""
    found, rows = [SYMBOLS.start], []
    with torch.inference_mode():
        memory = encoder(torch.from_numpy(letters[np.newaxis]))
        last = memory[:, -1:]
        h = last.contiguous()
        while len(found) <= ANSWER and found[-1] != SYMBOLS.end:
            scores, h = decoder(torch.tensor([found[-1:]]), memory if decoder.attention else last, h)
            rows.append(scores[0, 0].numpy())
            found.append(int(rows[-1].argmax()))
    return found[1:], np.array(rows)


def exported(torch: Any, encoder: Any, decoder: Any, folder: Path, name: str) -> None:
    """Write the encoder as a checkpoint, and the decoder as one timestep in ONNX."""
    torch.save(encoder.state_dict(), folder / f"{name}_encoder.pt")
    n_places = 20 if decoder.attention else 1
    example = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, n_places, HIDDEN), torch.zeros(1, 1, HIDDEN)
    places: dict[int, str] = {1: "letters"} if decoder.attention else {}
    axes: dict[str, dict[int, str]] = {"symbol": {}, "memory": places, "h": {}, "scores": {}, "next_h": {}}
    export(decoder, example, folder / f"{name}_decoder.onnx", axes, ["scores", "next_h"])


def converted(folder: Path, name: str, attention: bool, **options: Any) -> tuple[grurt.Model, grurt.Model]:
    """Return both files as models; a memory is what a stream of the decoder is given once."""
    if attention:
        options |= {"imported": "literal", "context": ["memory"], "size": {"letters": LONGEST}}
    encoder = convert(folder / f"{name}_encoder.pt", layers="embedding(embedding), encoder")
    decoder = convert(folder / f"{name}_decoder.onnx", **options)
    return (
        encoder.replaced(vocabularies={encoder.inputs[0].name: LETTERS}),
        decoder.replaced(vocabularies={"symbol": SYMBOLS}),
    )


def translator_of(encoder: grurt.Model, decoder: grurt.Model) -> grurt.Translator:
    """Return both as one function: what the encoder hands over is its only output, or the last timestep of that."""
    handed = {name: "y" for name in ("memory",) if name not in decoder.context_shapes}
    return grurt.Translator(encoder, decoder, inputs=handed)


def answers(encoder: grurt.Model, decoder: grurt.Model, letters: Array, symbols: list[int]) -> Array:
    """Return a decoder's scores, timestep by timestep, where it reads symbols behind letters."""
    memory = encoder.run(letters)
    context = dict.fromkeys(decoder.context_shapes, memory)
    stream = decoder.stream(context=context or None)
    stream.state = {name: memory[-1].reshape(shape) for name, shape in decoder.state_shapes.items()}
    if context:
        return np.array([stream.step(symbol) for symbol in symbols])
    return np.array([stream.step({"symbol": symbol, "memory": memory[-1]}) for symbol in symbols])


def show(folder: Path, attention: int = 1) -> Shown:
    """Train, convert, compare, quantize, time."""
    torch = use_torch()
    name = "dates_attention" if attention else "dates"
    begun = time.process_time()
    encoder, decoder = train(torch, bool(attention))
    seconds = time.process_time() - begun
    exported(torch, encoder, decoder, folder, name)
    models = converted(folder, name, bool(attention))
    translator, small = translator_of(*models), translator_of(*(model.quantize("int8") for model in models))

    dates = pairs(500, seed=2)
    sources = [LETTERS.encode(written) for written, _ in dates]
    expected = [translated(torch, encoder, decoder, source) for source in sources]
    kept = [{"date": date, "symbols": symbols} for (date, _), (symbols, _) in zip(dates[:40], expected, strict=False)]
    (folder / f"{name}.json").write_text(json.dumps(kept))

    def right(translator: grurt.Translator, beam: int) -> str:
        texts = [translator(source, beam=beam, max_tokens=ANSWER).text for source in sources]
        return f"{np.mean([text == iso for text, (_, iso) in zip(texts, dates, strict=True)]):.1%}"

    count = sum(array.size for model in models for array in model.weights.values())
    off = max(
        largest_difference(answers(*models, source, [SYMBOLS.start, *symbols[:-1]]), scores)
        for source, (symbols, scores) in zip(sources[:100], expected, strict=False)
    )
    source = sources[0]
    times = microseconds(
        {
            "grurt": lambda: translator(source, max_tokens=ANSWER),
            "PyTorch": lambda: translated(torch, encoder, decoder, source),
            "four beams": lambda: translator(source, beam=4, max_tokens=ANSWER),
        }
    )
    scores = f"{right(translator, 1)} of {len(dates)} dates", f"{right(small, 1)} of {len(dates)} dates"
    shown = Shown(name, "PyTorch", count, *scores, off, times[0], times[1], None)
    trained = f"{count:,} weights, trained in {seconds:.0f} s of a core"
    shown.say(f"{trained}: {scores[0]}; with a beam of 4, {right(translator, 4)}")
    same = sum(
        translator(source, max_tokens=ANSWER).tokens.tolist() == symbols
        for source, (symbols, _) in zip(sources, expected, strict=True)
    )
    shown.say(f"{same} of {len(dates)} have the same symbols as in PyTorch; largest difference of scores {off:.1e}")
    shown.say(f"in int8: {scores[1]}")
    beams = f"with a beam of 4, {times[2]:.1f} us"
    shown.say(f"a date of {len(source)} letters: {compared(times[1], times[0], 'PyTorch')}; {beams}")
    shown.say(f"  {dates[0][0]} -> {translator(dates[0][0], max_tokens=ANSWER).text}")
    return shown


if __name__ == "__main__":
    main(__doc__, show, attention=1)
