"""From alignment documents, or a time map as a file, to one map; and a file carried through it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmalign_cli.carry.files import Carried, Settings, carry, check_request
from mmalign_cli.errors import InputError, UsageError, did_you_mean
from mmalign_cli.model import Alignment, InvalidValueError, StreamInfo, TimeMap
from mmalign_cli.runtime import Progress
from mmalign_cli.streams.knots import read_knots
from mmalign_cli.write.atomic import Outputs, check_outputs
from mmalign_cli.write.document import read_document
from mmalign_cli.write.knots import write_knots


@dataclass(frozen=True)
class Request:
    """What `mmalign apply` is asked for.

    Parameters
    ----------
    documents : tuple of str
        Alignments, each leading on from the one before; empty with `map_file`.
    map_file : str or None
        A time map as a file, in their place.
    file, output : str or None
        What to carry, and where to; None writes the map alone.
    write_map : str or None
        Where the map goes.
    start, to : str or None
        The names of the clock that `file` is on and of the one it goes to.
    inverse : bool
        Go the other way where neither `start` nor `to` says which.
    """

    documents: tuple[str, ...]
    map_file: str | None
    file: str | None
    output: str | None
    write_map: str | None
    start: str | None
    to: str | None
    inverse: bool


def apply(
    request: Request, settings: Settings, *, force: bool, progress: Progress
) -> tuple[TimeMap, Carried | None]:
    """Carry a file, write the map, or both; return the map and what was done to the file.

    Raises
    ------
    UsageError
        If the names of the streams do not tell from which clock to which.
    InputError
        If an input is rejected.
    OutputError
        If an output cannot be written.
    """
    outputs = [name for name in (request.output, request.write_map) if name is not None]
    inputs = [n for n in (*request.documents, request.map_file, request.file) if n is not None]
    check_outputs(outputs, inputs, force)
    if request.file is not None and request.output is not None:
        check_request(request.file, request.output, settings)
    if request.map_file is not None:
        time_map, recording, rate = _of_file(request), "", None
    else:
        chain = [read_document(name) for name in request.documents]
        start, to = _ends(request, chain)
        time_map = _chained(request, chain, start, to)
        recording, rate = _about(time_map.stream, chain)
    done = None
    with Outputs(force) as written:
        if request.write_map is not None:
            write_knots(written, request.write_map, time_map)
        if request.file is not None and request.output is not None:
            settings = replace(settings, stream_rate=rate, recording=recording)
            done = carry(written, request.file, request.output, time_map, settings, progress)
    return time_map, done


def _of_file(request: Request) -> TimeMap:
    time_map = read_knots(str(request.map_file))
    names = (time_map.stream, time_map.to)
    for option, name in (("--from", request.start), ("--to", request.to)):
        if name is not None and name not in names:
            raise _unknown(option, name, names)
    if request.start is not None and request.start == request.to:
        raise UsageError("--to", f"{request.to!r} is the clock it comes from")
    goes_back = request.start == time_map.to or request.to == time_map.stream
    is_told = request.start is not None or request.to is not None
    return time_map.inverse() if (goes_back if is_told else request.inverse) else time_map


def _unknown(option: str, name: str, names: Sequence[str]) -> UsageError:
    hint = did_you_mean(name, names) or f"streams: {', '.join(names)}"
    return UsageError(option, f"there is no stream {name!r}", hint)


def _ends(request: Request, chain: Sequence[Alignment]) -> tuple[str, str | None]:
    """Return the streams that the map leads from and, if it is told, to, before `inverse`."""
    first, last = ([s.name for s in a.streams] for a in (chain[0], chain[-1]))
    start, to = (request.to, request.start) if request.inverse else (request.start, request.to)
    options = ("--to", "--from") if request.inverse else ("--from", "--to")
    for option, name, names in ((options[0], start, first), (options[1], to, last)):
        if name is not None and name not in names:
            raise _unknown(option, name, names)
    if start is None:
        start = _start(request, chain[0], to if len(chain) == 1 else None, options[0])
    return start, to


def _goal(last: Alignment, here: str, option: str) -> str:
    """Return where the map leads if nobody says: to the reference, or away from it."""
    if here != last.reference.name:
        return last.reference.name
    others = [s.name for s in last.streams[1:]]
    if len(others) > 1:
        raise UsageError(option, "is needed", f"one of: {', '.join(others)}")
    return others[0]


def _start(request: Request, first: Alignment, to: str | None, option: str) -> str:
    """Return the stream that a file belongs to: by its name, or the only one there can be."""
    candidates = [s for s in first.streams if s.name != to]
    if request.inverse:
        candidates = [s for s in candidates if s.name != first.reference.name] or candidates
    named = [] if request.file is None else _same_name(request.file, candidates)
    if len(named) == 1:
        return named[0].name
    further = [s for s in named or candidates if s.name != first.reference.name]
    if len(further) == 1:
        return further[0].name
    names = ", ".join(s.name for s in candidates)
    what = "is needed" if request.file is None else f"is needed: {request.file} is no stream's file"
    raise UsageError(option, what, f"one of: {names}")


def _same_name(path: str, streams: Sequence[StreamInfo]) -> list[StreamInfo]:
    """Return the streams whose file is this one, or else has its name, or else its stem."""
    name = os.path.basename(path)
    tests = (
        lambda source: os.path.abspath(source) == os.path.abspath(path),
        lambda source: os.path.basename(source) == name,
        lambda source: _stem(source) == _stem(path),
    )
    for is_same in tests:
        found = [s for s in streams if is_same(s.source)]
        if found:
            return found
    return []


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _chained(request: Request, chain: Sequence[Alignment], start: str, to: str | None) -> TimeMap:
    """Return the map through all documents, turned round where `inverse` asks for it."""
    here, whole = start, None
    option = "--from" if request.inverse else "--to"
    for k, alignment in enumerate(chain):
        if k < len(chain) - 1:
            there = _meeting(request, chain, k, here)
        else:
            there = to or _goal(alignment, here, option)
        step = _between(alignment, here, there)
        if step is not None:
            whole = step if whole is None else _then(whole, step, request)
        here = there
    if whole is None:
        raise UsageError(option, f"{here!r} is the clock it comes from")
    return whole.inverse() if request.inverse else whole


def _then(first: TimeMap, after: TimeMap, request: Request) -> TimeMap:
    try:
        return first.then(after)
    except InvalidValueError:
        raise InputError(request.documents[-1], "the maps cannot be chained") from None


def _meeting(request: Request, chain: Sequence[Alignment], k: int, here: str) -> str:
    """Return the stream at which the next document leads on."""
    names, after = ([s.name for s in a.streams] for a in chain[k : k + 2])
    common = [name for name in names if name in after]
    if here not in names or not common:
        subject = request.documents[k + 1]
        what = f"does not lead on from {request.documents[k]}: no stream in common"
        raise InputError(subject, what, f"{', '.join(names)}; and {', '.join(after)}")
    further = [name for name in common if name != here] or common
    return further[0]  # the reference, where it is among them


def _between(alignment: Alignment, start: str, to: str) -> TimeMap | None:
    """Return the map between the clocks of two streams; None where they are one."""
    if start == to:
        return None
    maps = {m.stream: m for m in alignment.time_maps}
    if to == alignment.reference.name:
        return maps[start]
    back = maps[to].inverse()
    return back if start == alignment.reference.name else maps[start].then(back)


def _about(name: str, chain: Sequence[Alignment]) -> tuple[str, float | None]:
    """Return the base name of a stream's file, and its rate."""
    stream = next(s for a in chain for s in a.streams if s.name == name)
    is_array = stream.features == "raw" and stream.kind == "array"
    return os.path.basename(stream.source), stream.rate if is_array else None
