"""Small files of every format, for the fuzzer to damage: several a format, each by its writer.

What another library writes is written by it; text and the simpler headers are spelled out here.
"""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RNG = np.random.default_rng(1)
RATE = 48000
SOUND_FORMATS = {
    "wav": ("PCM_16", "FLOAT", "PCM_24", "ULAW"),
    "flac": ("PCM_16", "PCM_24"),
    "ogg": ("VORBIS", "OPUS"),
    "aiff": ("PCM_16", "DOUBLE"),
    "mp3": ("MPEG_LAYER_III",),
}
CODECS: dict[str, tuple[str | None, str | None]] = {
    "mp4": ("h264", "aac"), "mov": ("mpeg4", "pcm_s16le"), "mkv": ("h264", "libopus"),
    "webm": ("libvpx", "libopus"), "avi": ("mpeg4", "mp3"), "mpg": ("mpeg2video", "mp2"),
    "ts": ("mpeg2video", "aac"), "m4a": (None, "aac"), "aac": (None, "aac"),
}  # fmt: skip
"""The codecs of pictures and of sound that a container is written with here."""
MUXERS = {"mkv": "matroska", "mpg": "mpeg", "m4a": "ipod", "aac": "adts", "ts": "mpegts"}


def write_media(path: Path, codecs: tuple[str | None, str | None] | None = None) -> None:
    """Write a second and a half of noise, and of moving pictures where the format has any."""
    import av

    picture, sound = codecs or CODECS[path.suffix[1:]]
    ending = path.suffix[1:]
    with av.open(str(path), "w", format=MUXERS.get(ending, ending)) as out:
        audio = None if sound is None else out.add_stream(sound, rate=RATE)
        if audio is not None:
            audio.layout = "mono"
        if picture is not None:
            video = out.add_stream(picture, rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for k in range(38):
                pixels = np.full((48, 64, 3), k * 6, np.uint8)
                pixels[:, k : k + 8] = RNG.integers(0, 255, (48, 8, 3))
                out.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(video.encode(None))
        if audio is not None:
            samples = (RNG.normal(size=RATE * 3 // 2) * 3000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
            frame.sample_rate = RATE
            out.mux(audio.encode(frame))
            out.mux(audio.encode(None))


def write_hdf5(path: Path, packed: bool = True) -> None:
    """Write a dataset with times and names beside it."""
    import h5py

    how: dict[str, Any] = {"chunks": (50, 4), "compression": "gzip", "shuffle": True}
    with h5py.File(path, "w") as file:
        group = file.create_group("take")
        group.create_dataset("values", data=RNG.normal(size=(200, 4)), **(how if packed else {}))
        group.create_dataset("times", data=np.arange(200) / 50)
        group.create_dataset("columns", data=["a", "b", "c", "d"], dtype=h5py.string_dtype())
        file.attrs["rate"] = 50.0


def write_arrow(path: Path, compression: str | None = "lz4") -> None:
    """Write a table of times, numbers, gaps and labels."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    columns = {"time": np.arange(300) / 100, "x": RNG.normal(size=300), "n": np.arange(300)}
    table = pa.table({**columns, "label": ["a", "b", "c"] * 100})
    if path.suffix == ".parquet":
        parquet.write_table(table, path, compression=compression or "none")
    else:
        feather.write_feather(table, str(path), compression=compression or "uncompressed")


def _sounds(folder: Path, ending: str) -> list[Path]:
    import soundfile

    paths = []
    for k, subtype in enumerate(SOUND_FORMATS[ending]):
        paths.append(folder / f"seed{k}.{ending}")
        samples = RNG.normal(size=(4000, 1 + k % 2)) / 5
        soundfile.write(paths[-1], samples, 8000, subtype=subtype)
    return paths


def _media(folder: Path, ending: str) -> list[Path]:
    others = {"mp4": ("mpeg4", "aac"), "mkv": ("mpeg4", "pcm_s16le"), "avi": ("mpeg4", "pcm_s16le")}
    paths = [folder / f"seed{k}.{ending}" for k in range(2 if ending in others else 1)]
    write_media(paths[0])
    if ending in others:
        write_media(paths[1], others[ending])
    return paths


def _arrays(folder: Path, ending: str) -> list[Path]:
    values = RNG.normal(size=(40, 3))
    kinds = (values, np.asfortranarray(values.astype(">f4")), (values * 99).astype("i2"))
    paths = [folder / f"seed{k}.{ending}" for k in range(len(kinds))]
    for path, array in zip(paths, kinds, strict=True):
        if ending == "npy":
            np.save(path, array)
        elif ending == "npz":
            save = np.savez if array is values else np.savez_compressed
            save(path, x=array, times=np.arange(40) / 10, columns=np.array(["a", "b", "c"]))
        else:
            _write_mat(path, array)
    return paths


def _write_mat(path: Path, array: Any) -> None:
    from scipy.io import savemat

    version = "4" if array.dtype.kind == "i" else "5"
    variables = {"x": array.astype("f8"), "fs": 10.0}
    savemat(path, variables, format=version, do_compression=array.dtype == ">f4")


def _stores(folder: Path, ending: str) -> list[Path]:
    paths = [folder / f"seed{k}.{ending}" for k in range(2)]
    for path, packed in zip(paths, (True, False), strict=True):
        if ending == "h5":
            write_hdf5(path, packed)
        else:
            write_arrow(path, "lz4" if packed and ending == "feather" else None)
    return paths


def _texts(*texts: str) -> Callable[[Path, str], list[Path]]:
    def write(folder: Path, ending: str) -> list[Path]:
        paths = [folder / f"seed{k}.{ending}" for k in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, "utf-8")
        return paths

    return write


def _table(sep: str, *head: str) -> str:
    t = np.arange(30) / 10
    rows = np.column_stack([t, np.sin(t), np.cos(2 * t)]).round(4)
    return "\n".join([*head, *(sep.join(map(str, row)) for row in rows), ""])


BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Knee
  {
    OFFSET 1 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 1 0 0
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.0333667
1 2 3 90 0 0 90 0 0
0 0 0 0 0 90 0 0 0
0 0 0 0 90 0 90 0 0
"""
ASF = """# a skeleton
:version 1.10
:units
  angle deg
  length 0.45
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name upper
    direction 1 0 0
    length 2
    axis 0 0 90 XYZ
    dof rx
    limits (-160.0 20.0)
  end
  begin
    id 2
    name lower
    direction 1 0 0
    length 3
    axis 0 0 0 XYZ
    dof rx ry rz
  end
:hierarchy
  begin
    root upper
    upper lower
  end
"""
AMC = (
    "#!OML:ASF\n:FULLY-SPECIFIED\n:DEGREES\n"
    "1\nroot 1 2 3 0 0 0\nupper 0\nlower 0 0 90\n"
    "2\nroot 0 0 0 0 0 0\nupper 90\nlower 0 0 0\n"
)
TRC = (
    "PathFileType\t4\t(X/Y/Z)\tx.trc\n"
    "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\n"
    "100.00\t100.00\t3\t2\tmm\n"
    "Frame#\tTime\tL.ASIS\t\t\tR.ASIS\t\t\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n\n"
    "1\t0.00\t1\t2\t3\t4\t5\t6\n2\t0.01\t1.5\t2\t3\t\t\t\n3\t0.02\t1\t2\t3\t4\t5\t7\n"
)
STO = (
    "Coordinates\nversion=1\nnRows=3\nnColumns=3\ninDegrees=yes\n\nendheader\n"
    "time\tpelvis_tilt\thip_r\n0.0\t1\t2\n0.01\t3\t4\n0.02\t5\t6\n"
)
OPTITRACK = """Format Version,1.23,Take Name,T,Export Frame Rate,120.000000,Length Units,Meters

,Type,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Marker
,Name,RB,RB,RB,RB,RB,RB,RB,RB,RB:M1
,ID,1,1,1,1,1,1,1,1,2
,,Rotation,Rotation,Rotation,Rotation,Position,Position,Position,Mean Marker Error,Position
Frame,Time (Seconds),X,Y,Z,W,X,Y,Z,,X
0,0.000000,0,0,0,1,1,2,3,0.001,1
1,0.008333,0,0,0,1,1,2,4,0.002,
2,0.016667,0,0,0,1,1,2,3,0.003,3
"""
VICON = """Devices
1000
,,Plate 1 - Force,,
Frame,Sub Frame,Fx,Fy,Fz
,,N,N,N
11,0,1,2,3
11,1,1,2,4
12,0,1,2,3
12,1,1,2,5

Trajectories
500
,,Anna:LASI,,,Anna:RASI,,
Frame,Sub Frame,X,Y,Z,X,Y,Z
,,mm,mm,mm,mm,mm,mm
11,0,1,2,3,4,5,6
12,0,1,2,3,,,
13,0,1,2,4,4,5,6
"""
MUSICXML = """<?xml version="1.0" encoding="UTF-8"?>
<score-partwise version="3.1"><part-list><score-part id="P1"><part-name>P</part-name>
</score-part></part-list><part id="P1"><measure number="1"><attributes><divisions>2</divisions>
<time><beats>2</beats><beat-type>4</beat-type></time></attributes>
<direction><sound tempo="60"/></direction>
<note><pitch><step>C</step><octave>4</octave></pitch><duration>2</duration></note>
<note><pitch><step>E</step><octave>4</octave></pitch><duration>2</duration></note>
<note><chord/><pitch><step>G</step><octave>4</octave></pitch><duration>2</duration></note>
<barline location="right"><repeat direction="backward"/></barline></measure>
<measure number="2"><direction><sound tempo="120"/></direction>
<note><pitch><step>B</step><octave>3</octave></pitch><duration>4</duration></note></measure>
</part></score-partwise>
"""
SRT = "1\n00:00:00,500 --> 00:00:01,000\nhello\nthere\n\n2\n00:00:01,000 --> 00:00:02,000\nyou\n"
VTT = "WEBVTT\n\n" + SRT.replace(",", ".")
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 2
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "so"
        intervals [2]:
            xmin = 0.5
            xmax = 2
            text = "and"
    item [2]:
        class = "TextTier"
        name = "beats"
        xmin = 0
        xmax = 2
        points: size = 1
        points [1]:
            number = 0.3
            mark = "b"
"""


def _bvh(folder: Path, ending: str) -> list[Path]:
    return _texts(BVH, BVH.replace("Frame Time: 0.0333667", "Frame Time:\t.01"))(folder, ending)


def _amc(folder: Path, ending: str) -> list[Path]:
    (folder / "x.asf").write_text(ASF)
    return _texts(AMC)(folder, ending)


def _c3d(folder: Path, ending: str) -> list[Path]:
    """Write markers with a gap, and analog channels, by ezc3d."""
    import ezc3d

    paths = [folder / f"seed{k}.{ending}" for k in range(2)]
    for n_analog, path in enumerate(paths):
        file = ezc3d.c3d()
        points = np.ones((4, 2, 12))
        points[:3] = RNG.normal(size=(3, 2, 12)) * 100
        points[:3, 1, 5:8] = np.nan
        file["parameters"]["POINT"]["RATE"]["value"] = [100.0]
        file["parameters"]["POINT"]["LABELS"]["value"] = ("LASI", "RASI")
        file["data"]["points"] = points
        if n_analog:
            file["parameters"]["ANALOG"]["RATE"]["value"] = [500.0]
            file["parameters"]["ANALOG"]["LABELS"]["value"] = ("Fx",)
            file["data"]["analogs"] = RNG.normal(size=(1, 1, 60))
        file.write(str(path))
    return paths


def xdf_chunk(tag: int, content: bytes) -> bytes:
    """Return a chunk of an XDF file, its length in four bytes."""
    return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content


def xdf() -> bytes:
    """Return a recording of two streams, one with clock offsets."""
    parts = [b"XDF:", xdf_chunk(1, b"<info><version>1.0</version></info>")]
    for number, name in ((1, "Gaze"), (2, "Acc")):
        labels = "".join(f"<channel><label>{c}</label></channel>" for c in "xy")
        about = f"<name>{name}</name><type>T</type><channel_count>2</channel_count>"
        about += "<nominal_srate>100</nominal_srate><channel_format>float32</channel_format>"
        about += f"<desc><channels>{labels}</channels></desc>"
        text = f"<info>{about}</info>".encode()
        parts.append(xdf_chunk(2, struct.pack("<I", number) + text))
    for number in (1, 2):
        rows = b"".join(
            b"\x08" + struct.pack("<d", 10 + k / 100) + RNG.random(2).astype("<f4").tobytes()
            for k in range(30)
        )
        head = struct.pack("<IBI", number, 4, 30)
        parts.append(xdf_chunk(3, head + rows))
    parts += [xdf_chunk(4, struct.pack("<Idd", 1, 10 + k / 10, -9.0)) for k in range(5)]
    return b"".join(parts)


def _xdf(folder: Path, ending: str) -> list[Path]:
    path = folder / f"seed.{ending}"
    path.write_bytes(gzip.compress(xdf(), mtime=0) if ending == "xdfz" else xdf())
    return [path]


def _mxl(folder: Path, ending: str) -> list[Path]:
    path = folder / f"seed.{ending}"
    write_mxl(path, MUSICXML)
    return [path]


def write_mxl(path: Path, score: str) -> None:
    """Write a compressed score: the container names the file that holds it."""
    inner = '<container><rootfiles><rootfile full-path="s.xml"/></rootfiles></container>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", inner)
        archive.writestr("s.xml", score)


def _midi(folder: Path, ending: str) -> list[Path]:
    import mido

    paths = [folder / f"seed{k}.{ending}" for k in range(2)]
    for kind, path in enumerate(paths):
        file = mido.MidiFile(type=kind)
        for _ in range(1 + kind):
            track = mido.MidiTrack()
            track.append(mido.MetaMessage("set_tempo", tempo=400_000))
            for key in (60, 64, 67):
                track.append(mido.Message("note_on", note=key, velocity=70, time=0))
                track.append(mido.Message("note_off", note=key, time=240))
            file.tracks.append(track)
        file.save(path)
    return paths


def _poses() -> list[str]:
    points = RNG.random((3, 25, 3)).round(3)
    openpose = [{"people": [{"pose_keypoints_2d": p.ravel().tolist()}]} for p in points]
    coco = [{"image_id": k, "keypoints": p[:17].ravel().tolist()} for k, p in enumerate(points, 1)]
    marks = [
        {"timestamp_ms": 40 * k, "landmarks": [[{"x": a, "y": b, "z": c} for a, b, c in p]]}
        for k, p in enumerate(RNG.random((3, 33, 3)).round(3).tolist())
    ]
    return [json.dumps(openpose), json.dumps(coco), "\n".join(map(json.dumps, marks))]


def _pose(folder: Path, ending: str) -> list[Path]:
    return _texts(*_poses())(folder, ending)


SEEDS: dict[str, Callable[[Path, str], list[Path]]] = {
    **dict.fromkeys(SOUND_FORMATS, _sounds),
    **dict.fromkeys(CODECS, _media),
    **dict.fromkeys(("npy", "npz", "mat"), _arrays),
    **dict.fromkeys(("h5", "parquet", "feather"), _stores),
    "csv": _texts(_table(",", "time,x,y"), _table(";"), _table(",", '"a ""b""",c,d')),
    "tsv": _texts(_table("\t", "time\tx\ty"), _table("\t")),
    "txt": _texts(_table(" "), _table(",", "# note", "t,x,y")),
    "bvh": _bvh,
    "amc": _amc,
    "c3d": _c3d,
    "trc": _texts(TRC),
    "sto": _texts(STO, STO.replace("\t", "   ")),
    "optitrack.csv": _texts(OPTITRACK),
    "vicon.csv": _texts(VICON),
    "xdf": _xdf,
    "xdfz": _xdf,
    "mid": _midi,
    "musicxml": _texts(MUSICXML),
    "mxl": _mxl,
    "srt": _texts(SRT),
    "vtt": _texts(VTT),
    "TextGrid": _texts(TEXTGRID),
    "json": _pose,
}
"""By the ending of the name, the writer of a format's seeds."""

ASS = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Text
Dialogue: 0,0:00:00.50,0:00:01.00,Default,hello, you
Comment: 0,0:00:01.00,0:00:02.00,Default,there
"""
EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" FORMAT="3.0" VERSION="3.0">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///x/b.wav" TIME_ORIGIN="500" MIME_TYPE="audio/x-wav"/>
    </HEADER>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>
        <TIME_SLOT TIME_SLOT_ID="ts2"/>
        <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="2000"/>
    </TIME_ORDER>
</ANNOTATION_DOCUMENT>
"""
LABELS = {
    "srt": SRT,
    "vtt": VTT,
    "ass": ASS,
    "TextGrid": TEXTGRID,
    "eaf": EAF,
    "txt": "1.000000\t2.000000\tone\n\\\t100.0\t200.0\n2.5\t3.25\n",
    "csv": _table(",", "time,x,y"),
}
"""By ending, files of times that are carried from clock to clock."""
