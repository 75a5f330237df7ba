"""Timesteps out of CSV, JSON lines, .npy and .npz, one at a time as they arrive; all of them may be packed by gzip."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from grurt.cli.array_rows import rows_of_npy, rows_of_npz
from grurt.cli.formats import Format, LineError, format_of_start, is_archive, undamaged, unpacked
from grurt.cli.layout import Layout
from grurt.cli.places import naming
from grurt.escaping import listed

_NUMBERS = re.compile(r"\s*[-+]?[.\d][-+.\deE]*(?:[\s,;|:/]+[-+]?[.\d][-+.\deE]*)+\s*")
"""Several numbers in one field: no name of a column, but a line that is cut in another way."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)

MAX_LINE = 1 << 20
"""Characters of a line, or of a record of CSV whose quotes reach over several lines."""

MAX_NUMBER = 64
"""Characters for each number that the model reads, where that makes a line longer."""

_INFINITIES = {math.inf: math.inf, -math.inf: -math.inf}

_CONSTANTS = {"NaN": math.nan, "Infinity": _INFINITIES[math.inf], "-Infinity": _INFINITIES[-math.inf]}
"""What stands for no finite number; a number that is too large for a float becomes another infinity than these."""


class TimestepReader:
    """Reads timesteps from an open file.

    Parameters
    ----------
    file
        Open for reading bytes, and for peeking.
    name
        What messages call it.
    layout
        The model's inputs.
    file_format
        The format; None finds out from the first bytes.
    delimiter
        Stands between the fields of a CSV line.
    columns
        The fields of a CSV line that are the model's, in the model's order: names of the header, or numbers from 1.
        Empty for all.
    """

    def __init__(
        self,
        file: io.BufferedReader,
        name: str,
        layout: Layout,
        *,
        file_format: Format | None = None,
        delimiter: str = ",",
        columns: tuple[str, ...] = (),
    ) -> None:
        self._file = file
        self._name = name
        self._layout = layout
        self._delimiter = delimiter
        self._columns = columns
        self._left = self._max_line = max(MAX_LINE, MAX_NUMBER * layout.width)
        self.where = name
        """The place of the latest timestep, for messages."""
        with naming(name), undamaged(lambda: name):
            self._file = unpacked(file)
            self._start = self._file.peek(4)
        self.format: Format = file_format or format_of_start(self._start)
        self.has_header = False
        self.n_sequences: int | None = None
        """How many there are, where the data are an array of several; else they are one."""
        self.begins_sequence = True
        """Whether the latest timestep is the first of a sequence."""
        self.has_only_header = False
        """Whether all that there was is a line without numbers."""

    def __iter__(self) -> Iterator[Any]:
        rows = {"csv": self._csv_rows, "jsonl": self._json_rows, "npy": self._npy_rows}[self.format]
        try:
            with naming(self._name), undamaged(lambda: self.where):
                for row in rows():
                    yield self._layout.split(row)
                    self.begins_sequence = False
        except UnicodeDecodeError as error:
            raise LineError(
                f"{self._name}: expected text in UTF-8, got the byte 0x{error.object[error.start]:02x}"
            ) from None
        self.has_only_header = self.has_header and self.begins_sequence

    def _csv_rows(self) -> Iterator[list[float]]:
        reader = csv.reader(self._lines(newline=""), delimiter=self._delimiter, skipinitialspace=True)
        picked: list[int] | None = None
        try:
            for fields in reader:
                self._left = self._max_line
                self.where = f"{self._name}, line {reader.line_num}"
                if not any(field.strip() for field in fields):
                    continue
                if picked is None:
                    self.has_header = all(isinstance(_parsed(field), str) for field in fields)
                    picked = self._pick(fields)
                    if self.has_header:
                        self._check_width(fields, picked)
                        self._check_names(fields)
                        continue
                yield self._csv_row(fields, picked)
        except csv.Error as error:
            raise LineError(f"{self._name}, line {reader.line_num}: {error}") from None

    def _check_names(self, fields: list[str]) -> None:
        """Raise LineError if a field of the header holds several numbers, and is no name."""
        if any(map(_NUMBERS.fullmatch, fields)):
            wanted = "token ids" if all(self._layout.field_is_token) else "numbers"
            raise LineError(
                f"{self.where}: expected {wanted}, one timestep a line, or a header, got "
                f"{_short(self._delimiter.join(fields))}; --delimiter chooses what separates the numbers of a timestep"
            )

    def _pick(self, first: list[str]) -> list[int]:
        """Return the indices of the model's fields, from the first line."""
        if not self._columns:
            return list(range(self._layout.width))
        names = [field.strip() for field in first] if self.has_header else []
        places = {name: index for index, name in reversed(list(enumerate(names)))}
        picked = []
        for column in self._columns:
            if column in places:
                picked.append(places[column])
            elif column.isdecimal() and len(column) < 10 and 1 <= int(column) <= len(first):
                picked.append(int(column) - 1)
            else:
                found = f"the columns {listed(names, 20)}" if names else f"{len(first)} columns without names"
                raise LineError(f"{self.where}: expected a column {column!r}, got {found}; see --columns")
        if len(picked) != self._layout.width:
            raise LineError(f"--columns: the model takes {self._layout.width} columns, got {len(picked)}")
        return picked

    def _check_width(self, fields: list[str], picked: list[int]) -> None:
        fits = len(fields) > max(picked) if self._columns else len(fields) == len(picked)
        if not fits:
            raise LineError(
                f"{self.where}: expected {max(picked) + 1} fields ({self._describe()}) separated by "
                f"{self._delimiter!r}, got {len(fields)}: {_short(self._delimiter.join(fields))}; "
                "choose with --columns or --delimiter"
            )

    def _csv_row(self, fields: list[str], picked: list[int]) -> list[float]:
        self._check_width(fields, picked)
        tokens = self._layout.field_is_token
        return [
            self._number(_parsed(fields[index]), f"column {index + 1}", token=token)
            for index, token in zip(picked, tokens, strict=True)
        ]

    def _json_rows(self) -> Iterator[list[float]]:
        for number, line in enumerate(self._lines(newline=None), 1):
            self._left = self._max_line
            self.where = f"{self._name}, line {number}"
            if line.strip():
                yield self._json_row(line)

    def _json_row(self, line: str) -> list[float]:
        try:
            value = json.loads(line, parse_constant=_CONSTANTS.__getitem__)
        except (ValueError, RecursionError) as error:
            raise LineError(f"{self.where}: expected JSON, got {_short(line.strip())}: {error}") from None
        if isinstance(value, dict):
            names = [part.name for part in self._layout.parts]
            if sorted(value) != sorted(names):
                raise LineError(f"{self.where}: expected the keys {listed(names)}, got {listed(value)}")
            parts = [(part.name, part.size, value[part.name]) for part in self._layout.parts]
        else:
            parts = [("", self._layout.width, value)]
        row: list[float] = []
        for name, size, numbers in parts:
            items = numbers if isinstance(numbers, list) else [numbers]
            if len(items) != size:
                label = f"{name!r}: " if name else ""
                raise LineError(f"{self.where}: {label}expected {size} numbers ({self._describe()}), got {len(items)}")
            row += items
        tokens = self._layout.field_is_token
        return [
            self._number(item, f"number {index}", token=token)
            for index, (item, token) in enumerate(zip(row, tokens, strict=True), 1)
        ]

    def _npy_rows(self) -> Iterator[list[float]]:
        tokens = self._layout.field_is_token
        is_npz = is_archive(self._start)
        try:
            found = (rows_of_npz if is_npz else rows_of_npy)(self._file, self._layout)
            self.n_sequences = found.n_sequences
            for index, values in enumerate(found.rows):
                self.where = f"{self._name}, row {index}"
                self.begins_sequence = index % found.length == 0
                yield [
                    self._number(_INFINITIES.get(value, value), f"column {column}", token=token)
                    for column, (value, token) in enumerate(zip(values.tolist(), tokens, strict=True))
                ]
        except LookupError as error:
            raise LineError(f"{self._name}: {error.args[0]}") from None
        except ValueError as error:
            what = "the .npz archive" if is_npz else "the .npy array"
            raise LineError(f"{self._name}: {what} is damaged: {error}") from None

    def _number(self, item: object, place: str, *, token: bool) -> float:
        """Return a field as a number; LineError if it is none, or not one that the model can take."""
        if isinstance(item, bool) or not isinstance(item, int | float) or (token and not _is_token(item)):
            wanted = "a token id" if token else "a number"
            raise LineError(f"{self.where}: {place}: expected {wanted}, got {_short(item)}")
        if not token and abs(item) > _FLOAT32_MAX and item is not _INFINITIES.get(item):
            raise LineError(f"{self.where}: {place}: expected a float32, got {_short(item)}, which is beyond its range")
        return item

    def _describe(self) -> str:
        return listed(part.name if part.size == 1 else f"{part.name} of {part.size}" for part in self._layout.parts)

    def _lines(self, newline: str | None) -> Iterator[str]:
        """Yield the lines of the text; `_left` says how many characters may come before it is set again."""
        self._text = io.TextIOWrapper(self._file, encoding="utf-8-sig", newline=newline)
        # Kept, because a TextIOWrapper closes its file when it is collected.
        while line := self._text.readline(self._left + 1):
            self._left -= len(line)
            if self._left < 0:
                most = f"{self._max_line:,} characters"
                raise LineError(f"{self.where}: expected the next line to have at most {most}, got more")
            yield line


def _parsed(field: str) -> int | float | str:
    """Return the number that a field holds, or the field if it holds none."""
    if "_" in field:
        return field
    for kind in (int, float):
        try:
            number = kind(field)
        except ValueError:
            continue
        if math.isinf(number) and "n" in field.lower():  # a word, and not a number that is too large for a float
            return _INFINITIES[number]
        return number
    return field


def _is_token(number: float) -> bool:
    """Say whether a number is an integer that an int64 can hold."""
    return number == number // 1 and abs(number) < 1 << 63


def _short(item: object) -> str:
    text = repr(item)
    return text if len(text) <= 60 else f"{text[:57]}..."
