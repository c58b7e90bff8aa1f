"""What the values of options are: functions from text to value, which say what would be right."""

import argparse
import pathlib
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from r2plus1d.sources.file_source import Stride


def integer(low: int) -> Callable[[str], int]:
    """An argparse type: an integer of at least `low`."""

    def convert(text):
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'{text!r} is not an integer') from None
        if value < low:
            raise argparse.ArgumentTypeError(f'{value} is less than {low}')
        return value

    return convert


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
    """An argparse type: integers of at least 0 between commas; an empty string is none."""
    return [integer(0)(part) for part in text.split(',') if part.strip()]


def paths(text: str) -> pathlib.Path:
    """An argparse type: a path; the option takes several, with spaces between them."""
    return pathlib.Path(text)


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


def one_of(*values: str) -> Callable[[str], str]:
    """An argparse type: one of `values`, spelled out in the error."""
    shown = ', '.join(values)

    def convert(text):
        if text not in values:
            raise argparse.ArgumentTypeError(f'{text!r} is unknown; known: {shown}')
        return text

    convert.shown = shown  # type: ignore[attr-defined]
    return convert
