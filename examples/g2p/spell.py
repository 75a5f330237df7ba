"""Pronounce English words with the network of the package g2p-en, on grurt instead of NumPy.

The package holds an encoder-decoder in plain NumPy, and its weights as an .npz file (Apache-2.0). The encoder reads the
letters of a word; the decoder starts from the encoder's state, and says one phoneme after the other. Here both become
models, and a `grurt.Translator` of them says a word in one call.

Usage:
    pip install g2p-en
    python examples/g2p/spell.py [WORDS.txt]
"""

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grurt
from grurt.converters import convert

GRAPHEMES = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
LETTERS = grurt.Vocabulary(tokens=tuple(GRAPHEMES), split="characters", unknown=1, end=2)
START, END, LONGEST = 2, 3, 20

# PyTorch's layout, under the author's own names.
GRU = "{0}(gru, weight_ih={0}_w_ih, weight_hh={0}_w_hh, bias_ih={0}_b_ih, bias_hh={0}_b_hh, gates=rzn, reset=after, update=keep)"  # noqa: E501
ENCODER = f"enc_emb(embedding, weight=enc_emb), {GRU.format('enc')}, last"
DECODER = f"dec_emb(embedding, weight=dec_emb), {GRU.format('dec')}, fc(linear, weight=fc_w, bias=fc_b, layout=rows)"


def convert_checkpoint(path: Path) -> tuple[grurt.Model, grurt.Model]:
    """Return the encoder and the decoder of the package's weights; each leaves the other's arrays alone."""
    of_decoder = ", ".join(f"ignore({name})" for name in [*names("dec"), "fc_w", "fc_b"])
    of_encoder = ", ".join(f"ignore({name})" for name in names("enc"))
    return convert(path, f"{ENCODER}, {of_decoder}"), convert(path, f"{DECODER}, {of_encoder}")


def names(part: str) -> list[str]:
    """Return the names of the arrays of the encoder or decoder."""
    return [f"{part}_{array}" for array in ("emb", "w_ih", "w_hh", "b_ih", "b_hh")]


class Speller:
    """The network on grurt."""

    def __init__(self, encoder: grurt.Model, decoder: grurt.Model) -> None:
        self.translator = grurt.Translator(encoder, decoder)

    def predict(self, word: str) -> list[int]:
        """Return the phonemes of a word by number, the likeliest at every step."""
        letters = LETTERS.encode(word, end=True)
        phonemes: list[int] = self.translator(letters, start=START, stop=END, max_tokens=LONGEST).tokens.tolist()
        return phonemes[:-1] if phonemes[-1] == END else phonemes


def load_package() -> Any:
    """Return the package's own network, without the dictionaries that it asks first."""
    from g2p_en.g2p import G2p

    package = G2p.__new__(G2p)
    package.load_variables()
    package.g2idx = {letter: index for index, letter in enumerate(GRAPHEMES)}
    package.idx2p = {index: index for index in range(len(package.dec_emb))}
    return package


def best_time(function: Callable[[str], object], words: list[str], rounds: int = 3) -> float:
    """Return the seconds of the CPU that the words take, in the quickest of some rounds."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        for word in words:
            function(word)
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    """Compare both on a list of words, and say how long each took."""
    spec = importlib.util.find_spec("g2p_en")
    if spec is None or spec.origin is None:
        sys.exit("this example reads the weights of the package g2p-en: pip install g2p-en")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("words.txt")
    words = path.read_text(encoding="utf-8").split()
    speller = Speller(*convert_checkpoint(Path(spec.origin).with_name("checkpoint20.npz")))
    package = load_package()
    same = sum(speller.predict(word) == package.predict(word) for word in words)
    print(f"{same} of {len(words)} words have the same phonemes as in the package")
    theirs, ours = (len(words) / best_time(function, words) for function in (package.predict, speller.predict))
    print(f"words a second: NumPy {theirs:,.0f}, grurt {ours:,.0f}: {ours / theirs:.1f} times as fast")


if __name__ == "__main__":
    main()
