"""The people in each frame of a pose file: OpenPose, COCO and MediaPipe JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.times import units_per_second

_OPENPOSE = {
    "pose_keypoints_2d": "body",
    "face_keypoints_2d": "face",
    "hand_left_keypoints_2d": "left_hand",
    "hand_right_keypoints_2d": "right_hand",
}
_LANDMARKS = {
    "landmark": "body",
    "landmarks": "body",
    "poselandmarks": "body",
    "worldlandmarks": "world",
    "poseworldlandmarks": "world",
    "facelandmarks": "face",
    "lefthandlandmarks": "left_hand",
    "righthandlandmarks": "right_hand",
}
_IDS = ("person_id", "track_id", "idx")
_MOST_MISSING = 10  # times the frames that there are
_MAX_DEPTH = 4


@dataclass
class Person:
    """A person in a frame.

    Parameters
    ----------
    id : str or None
        What the file calls the person in every frame, if it does.
    parts : dict
        Points of each part, (n_points, 4): x, y, z, confidence; NaN where there is none.
    """

    id: str | None = None
    parts: dict[str, Float64Array] = field(default_factory=dict)


@dataclass
class Frame:
    """A frame: who is in it, and its time in seconds where the file says it."""

    people: list[Person] = field(default_factory=list)
    time_s: float | None = None


@dataclass
class Poses:
    """The frames of a file, and the names of the body's points where it has them."""

    frames: list[Frame] = field(default_factory=list)
    names: tuple[str, ...] = ()


def read_poses(text: str, subject: str) -> Poses:
    """Return the frames of JSON documents that follow each other.

    Parameters
    ----------
    text : str
        One document for all frames, or one for each; ``null`` is a frame without people.
    subject : str
        The file, for messages.

    Raises
    ------
    InputError
        If it is no JSON, or JSON of something else.
    """
    poses = Poses()
    for document in _documents(text, subject):
        _take(document, poses, subject, 0)
    if not any(frame.people for frame in poses.frames):
        raise InputError(subject, "holds nobody: no people, keypoints or landmarks")
    return poses


def _documents(text: str, subject: str) -> Iterator[Any]:
    decoder, at = json.JSONDecoder(), 0
    blank = re.compile(r"\s*")
    while at < len(text):
        try:
            document, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            what = f"line {error.lineno} column {error.colno}: is not JSON: {error.msg}"
            raise InputError(subject, what) from None
        except (ValueError, RecursionError):
            raise InputError(subject, "is not JSON: a number or a nesting beyond reason") from None
        yield document
        match = blank.match(text, at)
        at = match.end() if match else at


def _take(document: Any, poses: Poses, subject: str, depth: int) -> None:
    """Add the frames of a document."""
    if document is None or _is_frame(document):
        poses.frames.append(_frame(document, f"frame {len(poses.frames) + 1}", subject))
    elif isinstance(document, dict) and "annotations" in document:
        _take_annotations(document["annotations"], document, poses, subject)
    elif _is_list_of(document, "keypoints"):
        _take_annotations(document, {}, poses, subject)
    elif isinstance(document, dict) and "frames" in document and depth < _MAX_DEPTH:
        _take(document["frames"], poses, subject, depth + 1)
    elif isinstance(document, list) and depth < _MAX_DEPTH:
        for part in document:
            _take(part, poses, subject, depth + 1)
    else:
        hint = "OpenPose has people, COCO keypoints, MediaPipe landmarks"
        raise InputError(subject, "JSON of something else than poses", hint)


def _is_list_of(document: Any, key: str) -> bool:
    is_list = isinstance(document, list) and bool(document)
    return is_list and isinstance(document[0], dict) and key in document[0]


def _is_frame(document: Any) -> bool:
    if isinstance(document, dict):
        return "people" in document or any(_plain(key) in _LANDMARKS for key in document)
    return _is_list_of(document, "x")


def _plain(key: str) -> str:
    """Return a key of MediaPipe's without what its languages add: ``poseLandmarks``."""
    return key.replace("_", "").lower()


def _frame(document: Any, place: str, subject: str) -> Frame:
    """Return the people of one frame of OpenPose or MediaPipe."""
    if document is None:
        return Frame()
    if isinstance(document, list):
        return Frame([Person(None, {"body": _landmarks(document, place, subject)})])
    times = [
        float(value) / (units_per_second(key) or 1)
        for key, value in document.items()
        if units_per_second(key) and isinstance(value, (int, float)) and abs(value) < 1e15
    ]
    time_s = times[0] if times else None
    if "people" in document:
        people = _list(document["people"], place, subject)
        return Frame([_openpose(person, place, subject) for person in people], time_s)
    return Frame(_mediapipe(document, place, subject), time_s)


def _openpose(person: Any, place: str, subject: str) -> Person:
    if not isinstance(person, dict):
        raise _broken(place, subject)
    found = Person(_id(person))
    for key, part in _OPENPOSE.items():
        cells = _list(person.get(key) or [], place, subject)
        if cells:
            found.parts[part] = _triples(cells, place, subject)
    return found


def _id(person: dict[str, Any]) -> str | None:
    for key in _IDS:
        value = person.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, (int, str)) and value not in (-1, ""):
            return str(value)[:40]
    return None


def _mediapipe(document: dict[str, Any], place: str, subject: str) -> list[Person]:
    people: list[Person] = []
    for key, value in document.items():
        part = _LANDMARKS.get(_plain(key))
        if part is None or not value:
            continue
        points = _list(value.get("landmark") if isinstance(value, dict) else value, place, subject)
        groups = points if points and isinstance(points[0], list) else [points]
        for number, group in enumerate(groups):
            if number == len(people):
                people.append(Person())
            people[number].parts[part] = _landmarks(group, place, subject)
    return people


def _landmarks(points: Any, place: str, subject: str) -> Float64Array:
    """Return x, y, z and visibility of MediaPipe's landmarks, (n_points, 4)."""
    keys = ("x", "y", "z", "visibility")
    if not all(isinstance(point, dict) for point in _list(points, place, subject)):
        raise _broken(place, subject)
    rows = [[point.get(key) for key in keys] for point in points]
    return _array([cell for row in rows for cell in row], place, subject).reshape(-1, 4)


def _triples(cells: list[Any], place: str, subject: str) -> Float64Array:
    """Return x, y, no z, and confidence, (n_points, 4); points that were not found are NaN."""
    if len(cells) % 3:
        raise _broken(place, subject)
    rows = _array(cells, place, subject).reshape(-1, 3)
    points = np.full((len(rows), 4), np.nan)
    points[:, [0, 1, 3]] = rows
    points[(rows == 0).all(axis=1), :2] = np.nan
    return points


def _take_annotations(annotations: Any, dataset: Any, poses: Poses, subject: str) -> None:
    """Add frames of COCO: a person an annotation, in whatever order."""
    place = "annotations"
    rows = [a for a in _list(annotations, place, subject) if isinstance(a, dict)]
    images = [a.get("image_id") for a in rows]
    order = _order(images, dataset, subject)
    first = len(poses.frames)
    poses.frames += [Frame() for _ in range(1 + max(order.values(), default=-1))]
    for number, (row, image) in enumerate(zip(rows, images, strict=True), 1):
        cells = _list(row.get("keypoints") or [], f"annotation {number}", subject)
        if cells:
            points = _triples(cells, f"annotation {number}", subject)
            person = Person(_id(row), {"body": points})
            poses.frames[first + order[_key(image)]].people.append(person)
    poses.names = _category_names(dataset)


def _key(image: Any) -> str:
    return json.dumps(image)[:100]


def _order(images: list[Any], dataset: Any, subject: str) -> dict[str, int]:
    """Return the frame of each image: its place among the dataset's, else its last number."""
    listed = dataset.get("images") if isinstance(dataset, dict) else None
    if isinstance(listed, list) and all(isinstance(i, dict) for i in listed):
        known = [_key(i.get("id")) for i in listed]
        order = {key: rank for rank, key in enumerate(dict.fromkeys(known))}
        if all(_key(image) in order for image in images):
            return order
    numbers = [re.findall(r"[0-9]{1,15}", _key(image)) for image in images]
    if not all(numbers):
        raise InputError(subject, "an annotation names no image_id with a number")
    frames = [int(found[-1]) for found in numbers]
    first, span = min(frames, default=0), max(frames, default=0) - min(frames, default=0)
    if span > _MOST_MISSING * len(frames):
        raise InputError(subject, f"images are numbered over {span}: too many are missing")
    return {_key(image): frame - first for image, frame in zip(images, frames, strict=True)}


def _category_names(dataset: Any) -> tuple[str, ...]:
    categories = dataset.get("categories") if isinstance(dataset, dict) else None
    if not isinstance(categories, list) or not _is_list_of(categories, "keypoints"):
        return ()
    names = categories[0]["keypoints"]
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _list(value: Any, place: str, subject: str) -> list[Any]:
    if not isinstance(value, list):
        raise _broken(place, subject)
    return value


def _array(cells: list[Any], place: str, subject: str) -> Float64Array:
    if not all(cell is None or isinstance(cell, (int, float)) for cell in cells):
        raise _broken(place, subject)
    try:
        return np.array(cells, dtype=np.float64)
    except OverflowError:
        raise _broken(place, subject) from None


def _broken(place: str, subject: str) -> InputError:
    return InputError(subject, f"{place}: its points are not lists of numbers")
