"""Clips for people to look at: arrays in an npz, and a contact sheet."""

import dataclasses
import pathlib
from typing import Optional

import cv2
import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks.input import XY
from r2plus1d.results.complete import complete_file, require_place
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import Sample, label_rows
from r2plus1d.video.clip import normalize
from r2plus1d.video.clip_settings import ClipSettings

MAX_SHEET_ROWS = 500
CAPTION_HEIGHT = 16
FULL_BRIGHTNESS_PIXELS = 4.0  # optical flow of this many pixels is shown at full brightness
NO_VIDEO_ID = -1


@dataclasses.dataclass(frozen=True)
class Shown:
    """Rows of every clip and crop, in the database's order, and the records that failed.

    Attributes:
        pixels: rows x C x T x H x W, see Clips.pixels.
        labels: int32 (rows,) or 0/1 (rows, num_labels); video_ids: int64 (rows,), -1 for none.
        keys, starts: the record's key and the clip's first frame of each row.
        failed: Samples.
    """

    pixels: np.ndarray
    labels: np.ndarray
    video_ids: np.ndarray
    keys: np.ndarray
    starts: np.ndarray
    failed: tuple[Sample, ...]


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
    if raw and settings.flow:
        raise InputError('raw=1 shows RGB pixels; optical flow has none before normalization')


def collect(reader: DatabaseSource) -> Shown:
    """Read all of a DatabaseSource into a Shown."""
    samples = list(reader)
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
    )


def save_arrays(path: pathlib.Path, shown: Shown, settings: ClipSettings, *, raw: bool) -> None:
    """Write an npz: `data` float32 or `rgb_u8`, N x C x T x H x W, and each row's label, ids."""
    pixels = {'rgb_u8': shown.pixels} if raw else {'data': normalize(shown.pixels, settings)}
    others = {'label': shown.labels, 'video_id': shown.video_ids}
    with complete_file(path) as file:
        np.savez(file, **pixels, **others, key=shown.keys, start=shown.starts)


def save_sheet(path: pathlib.Path, shown: Shown, settings: ClipSettings) -> None:
    """Write a PNG with one row a clip, its frames from left to right, under a caption."""
    if len(shown.pixels) > MAX_SHEET_ROWS:
        raise InputError(
            f'a sheet of {len(shown.pixels)} rows; at most {MAX_SHEET_ROWS}: use --num_records'
        )
    rows = [
        _row(clip, f'{key}  label {_label(label)}  from frame {start}', settings)
        for clip, key, label, start in zip(shown.pixels, shown.keys, shown.labels, shown.starts)
    ]
    done, data = cv2.imencode('.png', np.concatenate(rows)[..., ::-1])
    if not done:
        raise InputError(f'{path}: the sheet could not be encoded')
    with complete_file(path) as file:
        file.write(data.tobytes())


def _row(clip, caption, settings):
    frames = _flow_pictures(clip) if settings.flow else clip.transpose(1, 2, 3, 0)
    band = np.zeros((CAPTION_HEIGHT, frames.shape[2] * len(frames), 3), np.uint8)
    white, size = (255, 255, 255), 0.4
    cv2.putText(band, caption, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, size, white, 1, cv2.LINE_AA)
    return np.concatenate([band, np.concatenate(list(frames), axis=1)])


def _flow_pictures(clip):
    """T x H x W x 3 RGB of normalized flow: its direction as hue, its length as brightness."""
    mean, std = (np.array(numbers, np.float32).reshape(2, 1, 1, 1) for numbers in XY)
    x, y = clip[:2] * std + mean
    length, angle = cv2.cartToPolar(x.reshape(-1), y.reshape(-1), angleInDegrees=True)
    hsv = np.empty((length.size, 1, 3), np.uint8)
    hsv[..., 0] = angle / 2  # OpenCV's hue is in units of two degrees
    hsv[..., 1] = 255
    hsv[..., 2] = np.minimum(length / FULL_BRIGHTNESS_PIXELS, 1) * 255
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(*x.shape, 3)


def _label(label):
    return int(label) if np.ndim(label) == 0 else ' '.join(map(str, np.flatnonzero(label)))


def _reasons(failed):
    shown = '; '.join(f'{sample.name}: {sample.failure}' for sample in failed[:3])
    return shown + ('; ...' if len(failed) > 3 else '')
