"""The flag --report: what a page says of a run, and where the frames of its mistakes are from."""

import argparse
import contextlib
import pathlib
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Optional, Union

from r2plus1d.cli import doctor, flag_types
from r2plus1d.cli.command import version
from r2plus1d.datasets.checksums import describe_checksum
from r2plus1d.datasets.database import DATA_FILE
from r2plus1d.errors import InputError, RecordError
from r2plus1d.evaluation.outcomes import Outcome, outcomes_of
from r2plus1d.evaluation.predictions import TOP_K, VideoScores
from r2plus1d.evaluation.tally import Tally
from r2plus1d.pictures.report import Pictures, write_report
from r2plus1d.results.complete import require_place
from r2plus1d.results.digest import sha256_of
from r2plus1d.sources.record_videos import RecordVideos
from r2plus1d.video.budget import DEFAULT_BUDGET, Budget

SUFFIX = '.html'
REPORT = {
    'report': (
        flag_types.written,
        None,
        'HTML page of the results, in one file: accuracies, classes, confusions, mistakes',
    ),
    'mistakes': (
        flag_types.integer(0, 1000),
        12,
        'how many of the surest mistakes it shows; with frames where the videos are there',
    ),
}
# Of tools that do not read a database otherwise
VIDEOS = {
    'test_data': (pathlib.Path, None, 'LMDB of the videos, for the frames in the report'),
    'use_local_file': (
        flag_types.bit,
        False,
        '1: frames are read from the paths that the database, or the predictions, hold',
    ),
}
NO_VIDEOS = (
    'The frames are not shown: --test_data names the database of the videos, and '
    '--use_local_file=1 lets paths be followed.'
)


def require_report(path: Optional[pathlib.Path]) -> None:
    """Raise InputError unless a page can be made at `path`; None is well."""
    if path is None:
        return
    require_place(path)
    if path.suffix != SUFFIX:
        raise InputError(f'report is {path}; its name has to end in {SUFFIX}')


def refuse_multi_label(args: argparse.Namespace) -> None:
    """Raise InputError where a report is asked for and a video may have several labels."""
    if args.report and args.multi_label:
        raise InputError(
            'report is of videos with one label each: with multi_label=1 there is no confusion '
            'and no right or wrong video; leave it out'
        )


def save_report(
    args: argparse.Namespace,
    tally: Tally,
    *,
    title: str,
    class_names: Optional[Sequence[str]],
    details: Mapping[str, str],
    budget: Budget = DEFAULT_BUDGET,
    failures_known: bool = True,
) -> None:
    """Write the page that `args.report` names.

    Args:
        args: parsed options with REPORT, and those of VIDEOS.
        details: {what: text} that stands below the command, such as files and their checksums, see
            `describe_file`, `describe_database` and `describe_features`.
        failures_known: as write_report.

    Raises:
        InputError: test_data is no database.
    """
    with _pictures(args, tally, budget) as pictures:
        write_report(
            args.report, tally, title=title, class_names=class_names, pictures=pictures,
            facts_of_run=describe_run(args, details), failures_known=failures_known,
        )  # fmt: skip


def describe_file(path: pathlib.Path) -> str:
    """Return the path of a file and its SHA-256."""
    return f'{path}, SHA-256 {sha256_of(path)}'


def describe_database(path: pathlib.Path) -> str:
    """Return the path of a database and its checksum."""
    return f'{path}, {describe_checksum(path, DATA_FILE)}'


def describe_features(paths: Iterable[pathlib.Path]) -> dict[str, str]:
    """Return {file: its SHA-256} of feature files; those of a folder of arrays one by one."""
    files = [
        file for path in paths for file in (sorted(path.glob('*.npy')) if path.is_dir() else [path])
    ]
    return {str(file): f'SHA-256 {sha256_of(file)}' for file in files}


def tally_of(args: argparse.Namespace, videos: VideoScores) -> Tally:
    """Return the Tally of VideoScores, with as many mistakes as the options ask for."""
    tally = Tally(videos.scores.shape[1], top_k=TOP_K, most_mistakes=args.mistakes)
    for outcome in outcomes_of(videos):
        tally.add(outcome)
    return tally


def describe_run(
    args: argparse.Namespace, details: Mapping[str, str]
) -> dict[str, list[tuple[str, object]]]:
    """Return {heading: (name, value) pairs} of a run: its command, settings and versions.

    Args:
        details: as `save_report`.
    """
    program = pathlib.Path(sys.argv[0]).name
    settings = {k: v for k, v in vars(args).items() if k != 'given' and v not in (None, [])}
    return {
        'Command': [('command', shlex.join([program, *sys.argv[1:]])), *details.items()],
        'Settings': [(name, _plain(value)) for name, value in sorted(settings.items())],
        'Versions': [
            ('r2plus1d', version()),
            ('Python', platform.python_version()),
            ('system', f'{platform.system()} {platform.machine()}'),
            *doctor.package_versions(),
        ],
    }


def _plain(value):
    if isinstance(value, bool):
        return int(value)
    return ' '.join(map(str, value)) if isinstance(value, (list, tuple)) else value


@contextlib.contextmanager
def _pictures(args, tally, budget) -> Iterator[Union[Pictures, str]]:
    """Give the Pictures of the videos, or why there are none."""
    follows_paths = bool(args.use_local_file)
    if args.test_data is None:
        yield Pictures(_path_of, budget) if follows_paths else NO_VIDEOS
        return
    with RecordVideos(args.test_data, use_local_file=follows_paths) as records:
        ids = {int(o.video) for o in tally.mistakes if not o.key and _is_id(o.video)}
        records.find(ids)

        def video_of(outcome: Outcome) -> Union[bytes, str]:
            if outcome.key:
                return records.by_key(outcome.key)
            if not _is_id(outcome.video):
                raise RecordError('no key and no video id by which to find it')
            return records.by_id(int(outcome.video))

        yield Pictures(video_of, budget)


def _path_of(outcome):
    if not outcome.video or _is_id(outcome.video):
        raise RecordError('the predictions do not hold its path')
    return outcome.video


def _is_id(text):
    return re.fullmatch('-?[0-9]{1,19}', text) is not None
