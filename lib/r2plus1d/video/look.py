"""What one video is: its container, codec, size, rate and length, and whether it decodes."""

import hashlib
import os
import pathlib
from typing import NamedTuple, Optional, Union

from r2plus1d.errors import RecordError
from r2plus1d.video.budget import Budget, memory_errors_named
from r2plus1d.video.decode import Video

CHUNK = 1 << 20
SIZE = (171, 128)  # width and height of the frame that is converted, VideoInput's own


class Look(NamedTuple):
    """What was found of a video.

    Attributes:
        container, codec: FFmpeg's names of them.
        width, height: of its frames as stored, in pixels.
        rate: frames per second on average, None if the container does not say.
        frames: how many decode, at most sampling.MAX_FRAMES.
        damaged: packets or frames that do not decode, or only in part; 0 where all was not decoded.
        digest: of the file's bytes, in hexadecimal.
        complaint: what else is wrong with it, as Video.complaint says.
    """

    container: str
    codec: str
    width: int
    height: int
    rate: Optional[float]
    frames: int
    damaged: int
    digest: str
    complaint: Optional[str] = None


def look_at_video(
    source: Union[bytes, str, 'os.PathLike[str]'], budget: Budget, *, decode_all: bool
) -> Look:
    """Return the Look of a video, whose packets are read to the end.

    Args:
        source: bytes of an encoded file, or the path of one.
        decode_all: decode every frame; otherwise the first one, and those without which frames
            cannot be counted.

    Raises:
        RecordError: not a video, cut short, over budget, or no frame decodes.
    """
    with memory_errors_named(), Video(source, budget) as video:
        if decode_all:
            frames = video.count_frames()
            damaged = video.num_undecodable
        else:
            first = next(video.frames_at({0}, SIZE), None)
            frames, damaged = video.count_frames_exactly() if first else 0, 0
        if not frames:
            raise RecordError('no frame decodes')
        rate = video.frames_a_second
        return Look(
            video.container_name, video.codec_name, video.width, video.height,
            None if rate is None else float(rate), frames, damaged, digest_of(source),
            video.complaint,
        )  # fmt: skip


def digest_of(source: Union[bytes, str, 'os.PathLike[str]']) -> str:
    """Return the digest of a file, given as its bytes or its path."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(source, bytes):
        digest.update(source)
        return digest.hexdigest()
    with pathlib.Path(source).open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
