"""From a raw stream to the stream that is aligned."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from mmalign_cli.features.conditioning import derive, normalize
from mmalign_cli.features.registry import FEATURES, compute_of, default_feature, feature_named
from mmalign_cli.model import Stream
from mmalign_cli.streams.spec import Options


def decode_rate(options: Options) -> Fraction | None:
    """Return the rate at which to decode audio for the feature that `options` ask for."""
    feature = feature_named(options.features or default_feature("audio", ""))
    return feature.decode_rate(options.feature_hop(is_audio=True))


def compute(stream: Stream, options: Options) -> Stream:
    """Compute the feature, then derivative, then scaling.

    Parameters
    ----------
    stream : Stream
        As read; audio at `decode_rate`.
    options : Options
        ``features``, ``hop``, ``derivative`` and ``normalize``.

    Returns
    -------
    Stream
        On the same clock, under the same name.

    Raises
    ------
    InputError
        If the feature does not take this kind of content, or the stream is too short for it.
    """
    name = options.features or default_feature(stream.kind, stream.source)
    hop = options.feature_hop(is_audio=stream.kind == "audio")
    computed = compute_of(name, stream.kind, stream.source)(stream, hop)
    featured = replace(
        stream,
        values=computed.values,
        times=computed.times,
        rate=computed.rate,
        columns=computed.columns,
        frame_shape=(),
        features=name,
    )
    featured = normalize(derive(featured, options.derivative), options.normalize)
    return replace(featured, warnings=featured.warnings + _stillness(featured))


def _stillness(stream: Stream) -> tuple[str, ...]:
    """Return a warning where no value ever changes: silence, a sensor that was off."""
    still = stream.n_frames > 1 and bool((stream.values == stream.values[0]).all())
    return (f"{stream.source}: no value ever changes ({stream.features})",) if still else ()


def metric_of(stream: Stream) -> str:
    """Return the default metric of a stream's feature."""
    return FEATURES[stream.features].metric
