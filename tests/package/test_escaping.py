"""Messages are one printable line, no longer than a screen, whatever stands in them."""

from __future__ import annotations

import pickle
import traceback

import numpy as np
import pytest
from hostile_texts import CONTROLS, PAYLOAD, assert_printable
from hypothesis import given
from hypothesis import strategies as st

import grurt
from grurt import errors
from grurt.escaping import MAX_MESSAGE, escaped, listed, shown

KINDS = [getattr(errors, name) for name in errors.__all__ if name != "DesignReason"]
TEXTS = st.text(alphabet=st.characters(codec=None)) | st.text(alphabet=CONTROLS)


@given(TEXTS)
def test_text_is_escaped_as_python_does_it(text: str) -> None:
    line = escaped(text)
    assert_printable(line)
    assert "\n" not in line
    assert escaped(line) == line
    if "\\" not in text:
        assert line.replace("'", "") == repr(text).replace("\\'", "'")[1:-1].replace("'", "")
    line.encode()  # no half of a surrogate pair is left


def test_what_can_be_printed_stays() -> None:
    text = "Größe 価格 цена 🎛 a\\b {x} %s $y$ e\N{COMBINING ACUTE ACCENT}"
    assert escaped(text) == text
    assert shown(text) == text


@given(TEXTS, st.integers(1, 9), st.integers(100, 300))
def test_text_is_shortened_in_its_middle(text: str, times: int, limit: int) -> None:
    line = shown(text * 50 * times, limit)
    assert len(line) <= limit
    assert_printable(line)
    assert shown(line, limit) == line


def test_a_text_that_is_cut_says_how_long_it_was() -> None:
    text = f"where: {'x' * 50_000}: what to do"
    line = shown(text)
    assert len(line) == MAX_MESSAGE
    assert line.startswith("where: xxx")
    assert "x [... of 50,019 characters ...] x" in line
    assert line.endswith("xxx: what to do")


def test_the_first_items_of_a_list_are_named_and_the_others_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([]) == "none"
    assert listed((f"w{index}" for index in range(4000)), 2, "; ") == "w0; w1 and 3,998 more"


@pytest.mark.parametrize("kind", KINDS)
def test_every_exception_is_printable_however_it_is_looked_at(kind: type[grurt.GrurtError]) -> None:
    error = kind(f"{PAYLOAD}: expected {PAYLOAD * 100}")
    for text in (str(error), repr(error), *error.args, *traceback.format_exception_only(error)):
        assert_printable(text)
    assert len(str(error)) == MAX_MESSAGE
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    nested = kind(f"file: {error}")
    assert_printable(str(nested))
    assert len(str(nested)) <= MAX_MESSAGE


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_end_is_one_only_where_grurt_puts_it(kind: type[grurt.GrurtError]) -> None:
    assert str(kind("a\nb\r\x85\u2028", "c\nd")) == "a\\nb\\r\\x85\\u2028\nc\\nd"
    assert str(kind()) == ""
    assert str(kind("key 'x'")) == "key 'x'"  # KeyError itself would show its repr


def test_many_lines_fit_a_screen_together() -> None:
    error = grurt.DescriptionError("what", *["tensor"] * 20, "x" * 5000, "what to do")
    assert len(error.args) == 23
    assert 0.9 * MAX_MESSAGE < len("".join(error.args)) <= MAX_MESSAGE
    assert error.args[0] == "what"
    assert error.args[-1] == "what to do"


def test_thousands_of_weights_are_counted() -> None:
    layers = [grurt.Linear(name=f"fc{index}", input_size=1, output_size=1) for index in range(2000)]
    with pytest.raises(grurt.ModelError, match=r"^weights are missing: fc0\.bias, .* and [\d,]+ more$"):
        grurt.Model(layers=layers, weights={})
    with pytest.raises(grurt.ModelError, match=r"^weights that no layer uses: .* and [\d,]+ more$"):
        grurt.Model(
            layers=[grurt.Activation(name="a", function=grurt.Relu(), inputs=("x",))],
            inputs=[grurt.Input("x", 1)],
            weights={f"w{index}": np.zeros(1) for index in range(4000)},
        )


def test_an_id_of_a_stream_may_be_anything(pool: grurt.StreamPool) -> None:
    with pytest.raises(grurt.StreamIdError) as caught:
        pool.step([PAYLOAD * 1000], np.zeros((1, 1), np.float32))
    assert_printable(str(caught.value))
    assert len(str(caught.value)) <= MAX_MESSAGE


@pytest.fixture
def pool() -> grurt.StreamPool:
    layer = grurt.Activation(name="a", function=grurt.Relu(), inputs=("x",))
    return grurt.Model(layers=[layer], inputs=[grurt.Input("x", 1)], weights={}).pool(["a"])


@pytest.mark.parametrize(
    "lines", [["x" * 99] * 40, ["x" * 5000, *["y" * 100] * 30], ["z" * 80] * 24, ["a", "b" * 1998]]
)
def test_messages_of_many_lines_fit_with_their_line_ends(lines: list[str]) -> None:
    found = str(errors.ModelError(*lines))
    assert len(found) <= MAX_MESSAGE
    first, *_, last = found.split("\n")
    assert first.startswith(lines[0][:20])
    assert last.endswith(lines[-1][-20:])
