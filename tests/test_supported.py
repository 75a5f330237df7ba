"""The page of supported files is what the converters make of them now."""

from __future__ import annotations

import supported


def test_the_page_is_current() -> None:
    assert supported.PAGE.read_text(encoding="utf-8") == supported.page()


def test_no_difference_is_above_the_tolerance() -> None:
    for row in supported.rows():
        if not row.result.startswith("refused: ") and row.file != "torch/sd_bf16.pt":
            assert float(row.result) < 2e-6, row
