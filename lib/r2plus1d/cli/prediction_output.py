"""Predictions as lines: a table to read, JSON and CSV for programs; and what failed."""

import argparse
import contextlib
import csv
import functools
import io
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, Optional

from r2plus1d.cli.main import TOO_MANY_FAILURES
from r2plus1d.errors import printable
from r2plus1d.evaluation.video_classes import ClipPrediction, Prediction
from r2plus1d.results.complete import CSV_FILE, complete_file
from r2plus1d.results.failures import FailureList
from r2plus1d.results.hold import holding
from r2plus1d.sources.sample import Sample

log = logging.getLogger(__name__)

WIDTH = 80
VIDEO, CLIP = 'video', 'clip'
FORMATS = ('table', 'json', 'csv')


class Lines:
    """Makes the lines of predictions, one after another.

    Args:
        kind: one of FORMATS.
        top_k: classes of each prediction.
        with_clips: whether each clip has a line too.
    """

    def __init__(self, kind: str, *, top_k: int, with_clips: bool) -> None:
        self._top_k, self._with_clips = top_k, with_clips
        self._of = {'table': self._table, 'json': self._json, 'csv': self._csv}[kind]
        self._kind = kind

    def header(self) -> Iterator[str]:
        """Yield what stands before all predictions."""
        if self._kind == 'csv':
            numbers = range(1, self._top_k + 1)
            classes = [name for k in numbers for name in (f'top{k}', f'probability{k}')]
            yield _csv_line(['file', 'of', 'start_seconds', 'end_seconds', *classes])

    def of(self, prediction: Prediction) -> Iterator[str]:
        """Yield the lines of one video; one that failed has none but in JSON."""
        yield from self._of(prediction)

    def _said(self, prediction):
        """Yield (video or clip, what is said of it)."""
        yield VIDEO, prediction
        if self._with_clips:
            for clip in prediction.clips:
                yield CLIP, clip

    def _json(self, prediction):
        for of, said in self._said(prediction):
            begin, end = said.seconds
            yield json.dumps({
                'file': prediction.path,
                'of': of,
                'start_seconds': _rounded(begin),
                'end_seconds': _rounded(end),
                'names': [name for name, _ in said.classes],
                'probabilities': [round(probability, 6) for _, probability in said.classes],
                'failure': said.failure,
            })  # fmt: skip

    def _csv(self, prediction):
        for of, said in self._said(prediction):
            if said.failure is None:
                times = ['' if s is None else f'{s:.3f}' for s in said.seconds]
                classes = [v for name, p in said.classes for v in (name, f'{p:.6f}')]
                yield _csv_line([prediction.path, of, *times, *classes])

    def _table(self, prediction):
        if prediction.failure is not None:
            return
        yield printable(prediction.path)
        for name, probability in prediction.classes:
            yield _cut(f'  {probability:8.4f}  {printable(name)}')
        for of, said in self._said(prediction):
            if of == CLIP:
                yield _cut(f'{_times(said)}  {_names(said)}')


def write_predictions(
    args: argparse.Namespace,
    lines: Lines,
    made: Iterable[tuple[Sequence[str], Sequence[tuple[str, str]]]],
    failures: FailureList,
) -> int:
    """Print each prediction as it comes, or into the output, and return the exit status.

    Args:
        args: parsed options of tools/predict.py.
        lines: for the header.
        made: (lines, [(path, reason)] of failures) of each video.
        failures: gets what failed.
    """
    failed = 0
    with _printing(args) as write:
        for line in lines.header():
            write(line)
        for number, (shown, reasons) in enumerate(made):
            for line in shown:
                write(line)
            for path, reason in reasons:
                failures.add(Sample(number, str(number), path, failure=reason))
                log.warning('%s failed: %s', path, reason)
            failed += len(reasons)
    if args.output:
        print(args.output)
    if failed:
        log.warning('%d failed, listed in %s', failed, args.failures)
    return TOO_MANY_FAILURES if failed > args.max_failures else 0


@contextlib.contextmanager
def _printing(args: argparse.Namespace) -> Iterator[Callable[[str], Any]]:
    """Give a function that writes a line to stdout, or to the output if there is one."""
    if args.output is None:
        yield functools.partial(print, flush=True)
        return
    with (
        holding(args.output),
        complete_file(args.output, 'w', keep=True, buffering=1, **CSV_FILE) as file,
    ):
        try:
            yield lambda line: file.write(f'{line}\n')
        except KeyboardInterrupt:
            log.warning('the predictions so far are in %s.partial', args.output)
            raise


def reasons_of(prediction: Prediction) -> Iterator[str]:
    """Yield why a video failed, or why those of its clips did that failed."""
    if prediction.failure is not None:
        yield prediction.failure
        return
    for clip in prediction.clips:
        if clip.failure is not None:
            yield f'the clip from frame {clip.start_frame}: {clip.failure}'


def _times(clip: ClipPrediction) -> str:
    begin, end = ('?' if s is None else f'{s:.2f}' for s in clip.seconds)
    return f'  {begin:>8} to {end:>8} s'


def _names(clip: ClipPrediction) -> str:
    if clip.failure is not None:
        return f'failed: {printable(clip.failure)}'
    return ', '.join(f'{printable(name)} {p:.4f}' for name, p in clip.classes)


def _cut(line: str) -> str:
    """The line if it fits on a screen; otherwise as much of it as does, whole words if it can."""
    if len(line) <= WIDTH:
        return line
    shown = line[: WIDTH - 3]
    whole, comma, _ = shown.rpartition(', ')
    return f'{whole if comma else shown}...'


def _rounded(seconds: Optional[float]) -> Optional[float]:
    return None if seconds is None else round(seconds, 3)


def _csv_line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerow(cells)  # a cell with a line end is quoted
    return text.getvalue().removesuffix('\n')
