"""The cells of a text table, before numbers are made of them: encoding, delimiter, header, rows.

Every row is counted here, because a parser that guesses shifts columns and drops cells in
silence. The counting is done on the bytes of the whole file at once: a table of a million rows
must not become a million strings.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mmalign_cli.errors import InputError
from mmalign_cli.model import BoolArray, IntArray
from mmalign_cli.streams.columns import shortened
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

MAX_COLUMNS = 65_536
BLANKS = " "
_DELIMITERS = ("\t", ";", "|", ",")
_SAMPLE_LINES = 20
_NEWLINE, _BLANK_BYTES = 10, (9, 10, 32)
_UTF8 = ("utf-8", "utf8", "utf-8-sig")
MISSING = frozenset(
    {"", "na", "n/a", "nan", "-nan", "nan(ind)", "-nan(ind)", "null", "none", "<na>", "#n/a"}
)


@dataclass(frozen=True)
class Grid:
    """The cells of a table as text.

    Parameters
    ----------
    names : tuple of str
        Names of the columns, ``column3`` where the header is empty; empty without a header.
    nameless : frozenset of int
        The columns that the file gives no name.
    body : bytes
        The rows, UTF-8, a line each.
    lines : ndarray, shape (n_rows,)
        The line of the file, from 1, of each row.
    delimiter : str
        One character; a blank stands for any run of blanks.
    n_columns : int
        Number of cells in every row.
    notes : tuple of str
        What was found on the way.
    """

    names: tuple[str, ...]
    nameless: frozenset[int]
    body: bytes
    lines: IntArray
    delimiter: str
    n_columns: int
    notes: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """What the columns are called in options: their names, or their numbers from 1."""
        return self.names or tuple(str(c + 1) for c in range(self.n_columns))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Lines of a text: where each starts and ends, and its number in the file."""

    text: bytes
    starts: IntArray
    ends: IntArray
    lines: IntArray

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> str:
        return self.text[self.starts[row] : self.ends[row]].decode()

    def keep(self, which: slice | BoolArray) -> _Rows:
        """Return some of the lines."""
        return replace(
            self, starts=self.starts[which], ends=self.ends[which], lines=self.lines[which]
        )

    @property
    def buffer(self) -> npt.NDArray[np.uint8]:
        """The bytes of the text."""
        return np.frombuffer(self.text, dtype=np.uint8)


def read_grid(source: Source, options: Options) -> Grid:
    """Split a text table into header and rows of equal length.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``header``, ``decimal`` and ``encoding`` concern the grid.

    Raises
    ------
    InputError
        With line and column, where the text is not a table.
    """
    rows = _rows_of(_as_utf8(source, options))
    comments, rows = _without_comments(rows)
    if not len(rows):
        raise InputError(source.path, "holds no rows")
    sample = [rows[k] for k in range(min(len(rows), _SAMPLE_LINES)) if rows[k].strip(" \t")]
    delimiter = _find_delimiter(sample, options)
    first = _cells(rows[0], delimiter, source, int(rows.lines[0]))
    _limit_columns(len(first), int(rows.lines[0]), source)
    below_comment = bool(_commented_names(comments, delimiter, len(first)))
    header = _has_header(sample, delimiter, below_comment, options)
    return _grid(rows, first, comments, delimiter, header, source)


def _grid(
    rows: _Rows,
    first: list[str],
    comments: list[str],
    delimiter: str,
    header: bool,
    source: Source,
) -> Grid:
    line = int(rows.lines[0])
    body = rows.keep(slice(1, None)) if header else rows
    body = _without_blank_lines(body, len(first), delimiter)
    if not len(body):
        raise InputError(source.path, "holds a header and no rows")
    n_columns = len(first)
    counts = _count_cells(body, delimiter, source)
    if header and _all_end_with_delimiter(body, counts, n_columns, delimiter):
        n_columns, first = n_columns + 1, [*first, ""]
    _require_even(body, counts, n_columns, f"line {line}" if not header else "header", source)
    cells = first if header else _commented_names(comments, delimiter, n_columns)
    names = _checked_names(cells, line, source)
    nameless = [c for c in range(n_columns) if not names or not cells[c].strip()]
    notes = () if names else ("no header: the first line is data",)
    if header and all(_is_value(name) for name in names):
        notes = (f"the first line is the header: {shortened(names)}",)
    text = _joined(body)
    return Grid(names, frozenset(nameless), text, body.lines, delimiter, n_columns, notes)


def text_lines(source: Source, options: Options) -> list[str]:
    """Return the lines of a text, without their ends; ``encoding`` concerns it.

    Raises
    ------
    InputError
        If it is not text in that encoding.
    """
    return _as_utf8(source, options).decode().split("\n")[:-1]


def _as_utf8(source: Source, options: Options) -> bytes:
    r"""Return the text as UTF-8 without byte-order mark, its lines ended by ``\n``."""
    data = source.read(options.max_bytes)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") and "16" not in options.encoding:
        raise InputError(source.path, "not UTF-8 (it looks like UTF-16)", "try --encoding utf-16")
    if options.encoding.lower() not in _UTF8:
        data = _decoded(data, options.encoding, source).encode()
    elif not data.isascii():
        _decoded(data, "utf-8", source)
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    nul = data.find(b"\0")
    if nul >= 0:
        where = _place(data, nul)
        raise InputError(source.path, f"{where}: NUL byte in the text")
    return data if data.endswith(b"\n") else data + b"\n"


def _decoded(data: bytes, encoding: str, source: Source) -> str:
    try:
        return data.decode(encoding)
    except LookupError:
        hint = "names such as utf-8, latin-1, utf-16"
        raise InputError(source.path, f"unknown encoding {encoding!r}", hint) from None
    except UnicodeError as error:
        at = error.start if isinstance(error, UnicodeDecodeError) else 0
        what = "UTF-8" if encoding == "utf-8" else encoding
        line = data.count(b"\n", 0, at) + 1
        hint = "try --encoding latin-1, or the encoding that it was saved in"
        raise InputError(source.path, f"line {line}: not {what}", hint) from None


def _place(data: bytes, at: int) -> str:
    start_of_line = data[data.rfind(b"\n", 0, at) + 1 : at]
    column = max(start_of_line.count(d.encode()) for d in _DELIMITERS) + 1
    return f"line {data.count(10, 0, at) + 1} column {column}"


def _rows_of(text: bytes) -> _Rows:
    """Return the lines of a text, less empty ones at its start and end."""
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == _NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    rows = _Rows(text, starts, ends, np.arange(1, len(ends) + 1))
    return _trimmed(rows)


def _trimmed(rows: _Rows) -> _Rows:
    first, last = 0, len(rows)
    while first < last and not rows[first].strip(" \t"):
        first += 1
    while last > first and not rows[last - 1].strip(" \t"):
        last -= 1
    return rows.keep(slice(first, last))


def _without_comments(rows: _Rows) -> tuple[list[str], _Rows]:
    """Return the comments before the table, and the rest."""
    comments: list[str] = []
    while len(rows) and rows[0].lstrip().startswith(("#", "%")):
        comments.append(rows[0].strip())
        rows = _trimmed(rows.keep(slice(1, None)))
    return comments, rows


def _without_blank_lines(rows: _Rows, n_columns: int, delimiter: str) -> _Rows:
    """Leave out blank lines; in a single column they are missing values, and stay."""
    rows = _trimmed(rows)
    if n_columns == 1:
        return rows
    blank = np.isin(rows.buffer[rows.starts], _BLANK_BYTES)
    for row in np.flatnonzero(blank):
        blank[row] = not rows[int(row)].strip(" " if delimiter == "\t" else " \t")
    return rows.keep(~blank) if blank.any() else rows


def _find_delimiter(sample: Sequence[str], options: Options) -> str:
    """Return the delimiter: one that splits all lines alike, if any does.

    The comma comes last, for it may be a decimal mark.
    """
    candidates = [d for d in _DELIMITERS if d != options.decimal]
    counts = {d: [len(_loose_cells(line, d)) for line in sample] for d in (*candidates, BLANKS)}
    for d in candidates:
        if counts[d][0] > 1 and len(set(counts[d])) == 1:
            return d
    for d in candidates:
        if min(counts[d]) > 1:
            return d
    if counts[BLANKS][0] > 1 and len(set(counts[BLANKS])) == 1:
        return BLANKS
    for d in candidates:
        if counts[d][0] > 1:
            return d
    in_columns = min(counts[BLANKS][1:], default=counts[BLANKS][0]) > 1
    return BLANKS if in_columns else candidates[0]


def _loose_cells(line: str, delimiter: str) -> list[str]:
    """Split a line into cells, tolerating what `_cells` refuses."""
    if delimiter == BLANKS:
        return line.split() or [""]
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:  # a quoted cell beyond its size limit
        return [line]


def _cells(line: str, delimiter: str, source: Source, number: int) -> list[str]:
    """Split one line into cells; refuse a quote that stays open."""
    if delimiter == BLANKS or '"' not in line:
        return _loose_cells(line, delimiter)
    return next(_quoted_rows([line], [number], delimiter, source))


def _quoted_rows(
    texts: Sequence[str], lines: Sequence[int], delimiter: str, source: Source
) -> Iterator[list[str]]:
    """Yield the cells of lines that may hold quotes; a cell must end on its line."""
    reader = csv.reader(texts, delimiter=delimiter, strict=True, skipinitialspace=True)
    for row, text in enumerate(texts):
        try:
            cells = next(reader) or [""]
        except csv.Error:
            cells = []
        if reader.line_num != row + 1 or not cells:
            column = _loose_cells(text[: text.rfind('"')], delimiter)
            what = f"line {lines[row]} column {len(column) or 1}: a quote is opened and not closed"
            raise InputError(source.path, what)
        yield [cell.strip() for cell in cells]


def _has_header(
    sample: Sequence[str], delimiter: str, below_comment: bool, options: Options
) -> bool:
    """Tell whether the first row holds names.

    A row without any number does. Of a row with some, text that stands above a number is a name;
    text above text is a label. Column numbers, as pandas writes them, are names too.
    """
    if options.header is not None:
        return options.header
    rows = [_loose_cells(line, delimiter) for line in sample[:2]]
    first, below = rows[0], rows[-1]
    if not below_comment and _counts_columns(first, below):
        return True
    if not any(_is_number(cell) for cell in first):
        return not all(_is_value(cell) for cell in first)
    return any(not _is_value(a) and _is_value(b) for a, b in zip(first, below, strict=False))


def _counts_columns(first: Sequence[str], below: Sequence[str]) -> bool:
    """Tell whether a row is pandas' ``,0,1``, or ``0,1,2`` above numbers that are not whole.

    Without the empty corner two columns do not count: they are as likely a time and a value.
    """
    cells, has_corner = [cell.strip() for cell in first], not first[0].strip()
    if len(below) != len(cells):
        return False
    if has_corner:
        is_index = below[0].strip() == "0" or len(cells) > 2
        return is_index and len(cells) > 1 and cells[1:] == _numbered(len(cells) - 1, 0)
    counts = cells in (_numbered(len(cells), 0), _numbered(len(cells), 1))
    return counts and len(cells) > 2 and not any(cell.strip().isdecimal() for cell in below)


def _numbered(n: int, start: int) -> list[str]:
    return [str(k) for k in range(start, start + n)]


def _is_number(cell: str) -> bool:
    """Tell whether a cell is a number, with a point or a comma."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _is_value(cell: str) -> bool:
    return _is_number(cell) or cell.strip().lower() in MISSING


def _limit_columns(n_columns: int, line: int, source: Source) -> None:
    if n_columns > MAX_COLUMNS:
        what = f"line {line}: {n_columns} columns, the limit is {MAX_COLUMNS}"
        raise InputError(source.path, what)


def _count_cells(rows: _Rows, delimiter: str, source: Source) -> IntArray:
    """Return the number of cells of each row."""
    start, stop = int(rows.starts[0]), int(rows.ends[-1])
    if delimiter != BLANKS and rows.text.find(b'"', start, stop) >= 0:
        texts = [rows[k] for k in range(len(rows))]
        cells = _quoted_rows(texts, rows.lines.tolist(), delimiter, source)
        return np.fromiter(map(len, cells), dtype=np.int64, count=len(rows))
    buffer = rows.buffer
    if delimiter == BLANKS:
        blank = np.isin(buffer, _BLANK_BYTES)
        first_of_cell = ~blank
        first_of_cell[1:] &= blank[:-1]
        return _number_within(np.flatnonzero(first_of_cell), rows)
    return _number_within(np.flatnonzero(buffer == ord(delimiter)), rows) + 1


def _number_within(positions: IntArray, rows: _Rows) -> IntArray:
    """Return how many of the ascending `positions` lie within each row."""
    return np.searchsorted(positions, rows.ends) - np.searchsorted(positions, rows.starts)


def _all_end_with_delimiter(rows: _Rows, counts: IntArray, n_columns: int, delimiter: str) -> bool:
    """Tell whether every row has one cell more than the header, and it is empty."""
    if delimiter == BLANKS or not (counts == n_columns + 1).all():
        return False
    return bool((rows.buffer[rows.ends - 1] == ord(delimiter)).all())


def _require_even(
    rows: _Rows, counts: IntArray, n_columns: int, first: str, source: Source
) -> None:
    bad = np.flatnonzero(counts != n_columns)
    if len(bad):
        count = int(counts[bad[0]])
        fields = "1 field" if count == 1 else f"{count} fields"
        what = f"line {rows.lines[bad[0]]}: {fields}, {first} has {n_columns}"
        raise InputError(source.path, what)


def _commented_names(comments: list[str], delimiter: str, n_columns: int) -> list[str]:
    """Return the names that the last comment holds, as numpy.savetxt writes them, if it does."""
    if not comments:
        return []
    cells = [cell.strip() for cell in _loose_cells(comments[-1].lstrip("#% "), delimiter)]
    return cells if len(set(cells)) == n_columns == len(cells) else []


def _checked_names(cells: Sequence[str], line: int, source: Source) -> tuple[str, ...]:
    """Return the names of a header, empty ones numbered; refuse a name given twice."""
    names: list[str] = []
    seen: set[str] = set()
    for column, cell in enumerate(cells, 1):
        name = cell.strip() or f"column{column}"
        if name in seen:
            what = f"line {line} column {column}: a second column is called {name!r}"
            raise InputError(source.path, what, "rename one of them")
        seen.add(name)
        names.append(name)
    return tuple(names)


def _joined(rows: _Rows) -> bytes:
    """Return the bytes of the rows; they are copied one by one only where lines were left out."""
    if int(rows.lines[-1] - rows.lines[0]) + 1 == len(rows):
        return rows.text[rows.starts[0] : rows.ends[-1] + 1]
    pairs = zip(rows.starts.tolist(), rows.ends.tolist(), strict=True)
    return b"".join(rows.text[start : end + 1] for start, end in pairs)
