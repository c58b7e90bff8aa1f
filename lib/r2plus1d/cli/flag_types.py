"""What the values of options are: functions from text to value, which say what would be right."""

import argparse
import contextlib
import pathlib
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Callable

from r2plus1d.devices import Shard

if TYPE_CHECKING:
    from r2plus1d.sources.file_source import Stride


LARGEST = 2**31 - 1
LARGEST_SEED = 2**63 - 1
# Each of them costs memory, even if it has nothing to do.
MOST_THREADS = 1024
MOST_DEVICES = 1024
MOST_REPLICAS = 64
MOST_LABELS = 2**17
MOST_CHANNELS = 1024
MOST_FRAMES = 10_000  # that VideoInput decodes
MOST_IN_BATCH = 2**14
LONGEST_SIDE = 4096  # of a resized frame
LONGEST_SHOWN = 40
GPU_NAME = r'(GPU|MIG)-[-/0-9A-Za-z]+'  # nvidia-smi -L prints them


def integer(low: int, high: int = LARGEST) -> Callable[[str], int]:
    """An argparse type: an integer of `low` to `high`."""

    def convert(text):
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'{_short(text)!r} is not an integer') from None
        if value < low:
            raise argparse.ArgumentTypeError(f'{_short(text)} is less than {low}')
        if value > high:
            raise argparse.ArgumentTypeError(f'{_short(text)} is more than {high}')
        return value

    return convert


def _short(text):
    return text if len(text) <= LONGEST_SHOWN else f'{text[:LONGEST_SHOWN]}...'


def number_from_0(text: str) -> float:
    """An argparse type: a float of at least 0."""
    return 0.0 if text in ('0', '0.0') else number(text)


def number(text: str) -> float:
    """An argparse type: a float above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number') from None
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return value


def share(text: str) -> float:
    """An argparse type: a float above 0 and below 1."""
    value = number(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f'{text} is not below 1')
    return value


def bit(text: str) -> bool:
    """An argparse type: 0 or 1, as a bool."""
    if text not in ('0', '1'):
        raise argparse.ArgumentTypeError(f'{text!r} is not 0 or 1')
    return text == '1'


def word(*words: str) -> Callable[[str], str]:
    """An argparse type: one of `words`, or its position among them."""
    shown = ', '.join(f'{number} {name}' for number, name in enumerate(words))

    def convert(text):
        if text in words:
            return text
        if text.isdigit() and int(text) < len(words):
            return words[int(text)]
        raise argparse.ArgumentTypeError(f'{text!r} is unknown; {shown}')

    convert.shown = shown  # type: ignore[attr-defined]
    return convert


def integers(text: str) -> list[int]:
    """An argparse type: integers from 0 on between commas; an empty string is none."""
    return [integer(0)(part) for part in text.split(',') if part.strip()]


def gpus(text: str) -> 'list[int] | list[str]':
    """An argparse type: numbers of GPUs, or UUIDs as in CUDA_VISIBLE_DEVICES, between commas."""
    parts = [part.strip() for part in text.split(',') if part.strip()]
    if any(re.fullmatch(GPU_NAME, part) for part in parts):
        for part in parts:
            if not re.fullmatch(GPU_NAME, part):
                raise argparse.ArgumentTypeError(
                    f'{_short(part)!r} is not a UUID (GPU-..., MIG-...); give UUIDs or numbers'
                )
        return parts
    return integers(text)


def paths(text: str) -> pathlib.Path:
    """An argparse type: a path; the option takes several, with spaces between them."""
    return _path(text)


def written(text: str) -> pathlib.Path:
    """An argparse type: a path at which the tool writes."""
    return _path(text)


def _path(text):
    if not text:  # as of a shell variable that is not set; Path('') is the current folder
        raise argparse.ArgumentTypeError('an empty text is no path')
    return pathlib.Path(text)


def clips(text: str) -> 'int | str':
    """An argparse type: a number of clips, or `dense`."""
    if text == 'dense':
        return text
    with contextlib.suppress(ValueError):
        float(text)
        return integer(1, MOST_FRAMES)(text)
    raise argparse.ArgumentTypeError(
        f'{_short(text)!r} is neither a number of clips, such as 10, nor dense'
    )


def stride(text: str) -> 'Stride':
    """An argparse type: a Stride of frames, or of seconds with an s behind them."""
    from r2plus1d.sources.file_source import Stride

    try:
        if text.endswith('s'):
            return Stride(seconds=number(text[:-1]))
        return Stride(frames=integer(1)(text))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f'{text!r} is neither frames, such as 8, nor seconds, such as 0.5s'
        ) from None


def shard(text: str) -> 'Shard':
    """An argparse type: i/n, shard number i of n; the first is 0/n."""
    index, slash, count = text.partition('/')
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise argparse.ArgumentTypeError(f'{_short(text)!r} is not i/n, such as 0/40')
    shards = integer(1)(count)
    return Shard(integer(0, shards - 1)(index), shards)


def alphas(text: str) -> tuple[float, ...]:
    """An argparse type: numbers of 0 to 1 between commas, or `sweep`; ascending, each once."""
    if text == 'sweep':
        from r2plus1d.evaluation.fusion import SWEEP

        return SWEEP
    return tuple(sorted({_alpha(part) for part in text.split(',')}))


def _alpha(text):
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number, nor sweep') from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not in 0 to 1')
    return value


def one_of(*values: str, also: Collection[str] = ()) -> Callable[[str], str]:
    """An argparse type: one of `values`, spelled out in the error, or of `also`, which are not."""
    shown = ', '.join(values)

    def convert(text):
        if text not in values and text not in also:
            raise argparse.ArgumentTypeError(f'{text!r} is unknown; known: {shown}')
        return text

    convert.shown = shown  # type: ignore[attr-defined]
    return convert
