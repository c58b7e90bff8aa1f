"""The keyword arguments of the functions in api.py, and which values they may have."""

import dataclasses
import difflib
import inspect
import os
import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Any, Callable, Optional, Union

from r2plus1d.backends.base import EngineSettings
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError, require_integer
from r2plus1d.model import Model
from r2plus1d.networks.input import Input
from r2plus1d.results.arguments import of_options
from r2plus1d.results.class_names import read_class_names, require_plain
from r2plus1d.sources.stride import Stride, stride_of
from r2plus1d.video.clip_settings import ClipSettings

AnyPath = Union[str, 'os.PathLike[str]']

ENGINE_FIELDS = {field.name for field in dataclasses.fields(EngineSettings)}
INPUT_FIELDS = {field.name for field in dataclasses.fields(Input)}
CLIP_FIELDS = {field.name for field in dataclasses.fields(ClipSettings)} - INPUT_FIELDS
UNIFORM_CLIPS = 10  # of a video, as the tools take


def names_of_classes(class_names: Any) -> tuple[str, ...]:
    """Return the names of classes in their order, which a set or a dict does not give."""
    has_order = isinstance(class_names, Iterable) and not isinstance(class_names, (Set, Mapping))
    names = tuple(class_names) if has_order else (None,)
    if not all(isinstance(name, str) for name in names):
        raise InputError(f'class_names is {class_names!r}, no list of texts and no file of them')
    for name in names:
        require_plain(name)
    return names


def classes_of(class_names: Any, count: int) -> tuple[str, ...]:
    """Return the names of `count` classes, given as a list, as a file or as a known data set."""
    if isinstance(class_names, (str, os.PathLike)):
        names = read_class_names(pathlib.Path(class_names), count) or ()
    else:
        names = names_of_classes(class_names)
    if len(names) != count:
        raise InputError(f'class_names has {len(names)} names; num_labels is {count}')
    return names


def require_devices(devices: Devices, decode_threads: int) -> None:
    """Raise InputError unless these are Devices, and a number of threads."""
    if not isinstance(devices, Devices):
        raise InputError(f'devices is {devices!r}; r2plus1d.Devices() is the CPU')
    require_integer('decode_threads', decode_threads, 1)


def extraction_stride(
    is_database: bool, clips: ClipSettings, features: Collection[str], stride: Any, is_local: bool
) -> Optional[Stride]:
    """Return the Stride of `extract`; InputError for what its source does not have."""
    step = None if stride is None else stride_of(stride)
    if is_database and step:
        raise InputError('stride is for videos; the records of a database have start frames')
    if is_database:
        return None
    if clips.decode_type != 'frame':
        raise InputError(f'decode_type is {clips.decode_type}; videos give clips at a stride')
    if is_local:
        raise InputError('use_local_file is for databases; videos are named by their paths')
    if 'label' in features:
        raise InputError('features asks for label, and videos have none; a database has')
    return step


def words_of(function: Callable[..., Any]) -> set[str]:
    """The names of a function's own keyword arguments."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}


def split_settings(
    model: Model, settings: dict[str, Any], others: Collection[str]
) -> tuple[ClipSettings, EngineSettings]:
    """ClipSettings and EngineSettings of keyword arguments; InputError for one that is neither.

    Args:
        others: what else the caller takes.
    """
    unknown = sorted(set(settings) - CLIP_FIELDS - ENGINE_FIELDS)
    if unknown:
        known = sorted({*CLIP_FIELDS, *ENGINE_FIELDS, *others})
        near = difflib.get_close_matches(unknown[0], known, n=1)
        meant = f'; did you mean {near[0]}?' if near else ''
        raise InputError(f'{unknown[0]} is no setting here{meant}; known: {", ".join(known)}')
    of_clips = {'clips': UNIFORM_CLIPS, **{n: settings[n] for n in CLIP_FIELDS & set(settings)}}
    of_engine = {name: settings[name] for name in ENGINE_FIELDS & set(settings)}
    if model.onnx is not None and model.onnx.is_int8:
        of_engine.setdefault('precision', 'int8')
    return ClipSettings(**vars(model.input), **of_clips), EngineSettings(**of_engine)


def paths_of(places: Union[AnyPath, Sequence[AnyPath]]) -> list[pathlib.Path]:
    """Return one path or several as a list.

    Raises:
        InputError: there is none, or an empty text, which would be the current folder.
    """
    if isinstance(places, (str, os.PathLike)):
        places = [places]
    try:
        found = [os.fspath(place) for place in places]
    except TypeError:
        raise InputError(f'{places!r} is no path, and no list of paths') from None
    if not found or not all(found):
        raise InputError('no path is given; files, folders and .txt lists are right')
    return [pathlib.Path(place) for place in found]


def decisive(
    model: Model, clips: ClipSettings, settings: EngineSettings, **others: Any
) -> dict[str, Any]:
    """Everything that decides what a model predicts, as plain data by the names of the flags.

    Args:
        others: what decides beside the model and its settings.
    """
    chosen = {**vars(clips), **vars(settings), 'engine_threads': settings.threads}
    chosen['clip_starts'] = list(clips.clip_starts)
    whole = {**model.card, **chosen, 'weights': model.fingerprint, **others}
    return of_options(whole, free=('budget', 'cache', 'labels', 'threads'))


def kept_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as an output keeps them, by the names of the tools' flags."""
    kept = {'engine_threads' if n == 'threads' else n: v for n, v in settings.items()}
    kept.pop('budget', None)  # it decides about no number
    return {name: list(v) if isinstance(v, tuple) else v for name, v in kept.items()}
