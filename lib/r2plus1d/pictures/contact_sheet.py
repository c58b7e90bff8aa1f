"""Clips for people to look at: arrays in an npz, and a contact sheet."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, Optional

import cv2
import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.inference.prediction import predict
from r2plus1d.networks.input import XY
from r2plus1d.pictures.captions import Caption, draw_caption, make_captions
from r2plus1d.pictures.lettering import require_matplotlib
from r2plus1d.results.complete import complete_file, require_place
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import Sample, label_rows
from r2plus1d.video.clip import normalize
from r2plus1d.video.clip_settings import ClipSettings

MAX_SHEET_ROWS = 500
FULL_BRIGHTNESS_PIXELS = 4.0  # optical flow of this many pixels is shown at full brightness
NO_VIDEO_ID = -1
PNG_SMALLEST = (cv2.IMWRITE_PNG_COMPRESSION, 9)


@dataclasses.dataclass(frozen=True)
class Shown:
    """Rows of every clip and crop, in the database's order, and the records that failed.

    Attributes:
        pixels: rows x C x T x H x W, see Clips.pixels.
        labels: int32 (rows,) or 0/1 (rows, num_labels); video_ids: int64 (rows,), -1 for none.
        keys, starts: the record's key and the clip's first frame of each row.
        failed: Samples.
        probabilities: float32 (rows, num_labels) of a network; None if none was run.
    """

    pixels: np.ndarray
    labels: np.ndarray
    video_ids: np.ndarray
    keys: np.ndarray
    starts: np.ndarray
    failed: tuple[Sample, ...]
    probabilities: Optional[np.ndarray] = None


def check(
    *,
    output: Optional[pathlib.Path],
    sheet: Optional[pathlib.Path],
    raw: bool,
    settings: ClipSettings,
) -> None:
    """Refuse, before anything is decoded, a call that could show nothing."""
    if output is None and sheet is None:
        raise InputError('nothing to write: give --output=x.npz, --sheet=x.png or both')
    if output is not None and output.suffix != '.npz':
        raise InputError(f'output is {output}; its name has to end in .npz')
    if sheet is not None and sheet.suffix != '.png':
        raise InputError(f'sheet is {sheet}; its name has to end in .png')
    require_place(output)
    require_place(sheet)
    if sheet is not None:
        require_matplotlib()
    if raw and settings.flow:
        raise InputError('raw=1 shows RGB pixels; optical flow has none before normalization')


def require_rows(count: int) -> None:
    """Raise InputError if a sheet of so many rows would be too large."""
    if count > MAX_SHEET_ROWS:
        raise InputError(f'a sheet of {count} rows; at most {MAX_SHEET_ROWS}: use --num_records')


def collect(reader: DatabaseSource, engine: Any = None, *, batch_size: int = 1) -> Shown:
    """Read all of a DatabaseSource into a Shown.

    Args:
        engine: with `run(pixels)`, which gives the class probabilities and nothing else; None
            runs no network.
        batch_size: videos that the engine gets at a time.

    Raises:
        InputError: no record can be used.
    """
    if engine is None:
        samples, outputs = list(reader), []
    else:
        pairs = list(predict(reader, engine, batch_size=batch_size))
        samples = [sample for sample, _ in pairs]
        outputs = [rows for _, blobs in pairs if blobs for rows in blobs.values()]
    good = [sample for sample in samples if sample.failure is None]
    failed = tuple(sample for sample in samples if sample.failure is not None)
    if not good:
        raise InputError(f'none of {len(samples)} records can be used: {_reasons(failed)}')
    rows = reader.settings.rows
    ids = [NO_VIDEO_ID if sample.video_id is None else sample.video_id for sample in good]
    clips = [sample.clips for sample in good if sample.clips is not None]
    return Shown(
        pixels=np.concatenate([each.pixels for each in clips]),
        labels=label_rows(good, rows, reader.needs),
        video_ids=np.repeat(np.array(ids, np.int64), rows),
        keys=np.repeat([sample.key for sample in good], rows),
        starts=np.concatenate([each.starts for each in clips]),
        failed=failed,
        probabilities=np.concatenate(outputs) if outputs else None,
    )


def save_arrays(path: pathlib.Path, shown: Shown, settings: ClipSettings, *, raw: bool) -> None:
    """Write an npz: `data` float32 or `rgb_u8`, N x C x T x H x W, and each row's label, ids.

    Where a network was run, `probabilities` float32 N x num_labels too.
    """
    pixels = {'rgb_u8': shown.pixels} if raw else {'data': normalize(shown.pixels, settings)}
    others = {'label': shown.labels, 'video_id': shown.video_ids}
    if shown.probabilities is not None:
        others['probabilities'] = shown.probabilities
    with complete_file(path) as file:
        np.savez(file, **pixels, **others, key=shown.keys, start=shown.starts)


def save_sheet(
    path: pathlib.Path,
    shown: Shown,
    settings: ClipSettings,
    *,
    class_names: Optional[Sequence[str]] = None,
) -> None:
    """Write a PNG with one row per clip, its frames from left to right, under a caption."""
    require_rows(len(shown.pixels))
    captions = make_captions(
        labels=shown.labels,
        keys=shown.keys,
        starts=shown.starts,
        probabilities=shown.probabilities,
        class_names=class_names,
    )
    rows = [_row(clip, caption, settings) for clip, caption in zip(shown.pixels, captions)]
    done, data = cv2.imencode('.png', np.concatenate(rows)[..., ::-1], PNG_SMALLEST)
    if not done:
        raise InputError(f'{path}: the sheet could not be encoded')
    with complete_file(path) as file:
        file.write(data.tobytes())


def _row(clip: np.ndarray, caption: Caption, settings: ClipSettings) -> np.ndarray:
    frames = _flow_pictures(clip) if settings.flow else clip.transpose(1, 2, 3, 0)
    band = draw_caption(caption, frames.shape[2] * len(frames))
    return np.concatenate([band, np.concatenate(list(frames), axis=1)])


def _flow_pictures(clip):
    """T x H x W x 3 RGB of normalized flow: its direction as hue, its length as brightness."""
    mean, std = (np.array(numbers, np.float32).reshape(2, 1, 1, 1) for numbers in XY)
    x, y = clip[:2] * std + mean
    length, angle = cv2.cartToPolar(x.reshape(-1, 1), y.reshape(-1, 1), angleInDegrees=True)
    hsv = np.empty((length.size, 1, 3), np.uint8)
    hsv[..., 0] = angle / 2  # OpenCV's hue is in units of two degrees
    hsv[..., 1] = 255
    hsv[..., 2] = np.minimum(length / FULL_BRIGHTNESS_PIXELS, 1) * 255
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(*x.shape, 3)


def _reasons(failed):
    shown = '; '.join(f'{sample.name}: {sample.failure}' for sample in failed[:3])
    return shown + ('; ...' if len(failed) > 3 else '')
