"""Video files: how their names end, and those that files, folders and lists name."""

import collections
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Union

from r2plus1d.errors import InputError
from r2plus1d.results.given_file import problem_with, read_lines

log = logging.getLogger(__name__)

SUFFIXES = (
    '.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.ts', '.mts', '.m2ts',
    '.wmv', '.flv', '.ogv', '.3gp', '.vob',
)  # fmt: skip
LIST_SUFFIX = '.txt'
APPLE_DOUBLE = '._'  # what macOS puts beside a file on other file systems; it is no video
SHOWN = 3  # names in a message


def is_video_name(name: str) -> bool:
    """Whether a file of this name is taken for a video: by its ending."""
    return pathlib.PurePath(name).suffix.lower() in SUFFIXES and not name.startswith(APPLE_DOUBLE)


class FoundVideos(list[pathlib.Path]):
    """Paths that were looked for already: one that is not there is a record that fails."""


class _LeftOut:
    """Paths that are not taken, by the reason."""

    def __init__(self):
        self._paths = collections.defaultdict(list)

    def add(self, reason, path):
        self._paths[reason].append(path)

    def lines(self):
        """A line for each reason: it counts the paths and names the first ones."""
        for reason, paths in self._paths.items():
            more = f' and {len(paths) - SHOWN} more' if len(paths) > SHOWN else ''
            yield f'{reason}: {len(paths)} ({", ".join(map(str, paths[:SHOWN]))}{more})'


def find_videos(places: Sequence[Union[str, pathlib.Path]]) -> FoundVideos:
    """Return the paths of the video files that `places` name, each file once, in order.

    A file that several paths lead to has the first of them. What is left out of a folder is counted
    and named in the log, as are folders and lists that have no videos. What has a video's suffix
    and cannot be read is not left out: it is for the reader to count it as a failure. So is a path
    of a list at which there is no file.

    Args:
        places: paths of files; of folders, in which files with a video's suffix are looked for,
            sorted by name, symbolic links followed; and of .txt files with a path a line.

    Raises:
        InputError: one is not there or is no regular file, a folder or list cannot be read, or
            there are no videos.
    """
    found: dict[str, pathlib.Path] = {}
    left_out = _LeftOut()
    empty = []
    for place in map(pathlib.Path, places):
        paths = _expanded(place, left_out)
        if not paths:
            empty.append(place)
        for path in paths:
            if found.setdefault(_real(path), path) != path:
                left_out.add('named before by another path', path)
    lines = list(left_out.lines())
    if not found:
        shown = ', '.join(map(str, places))
        wanted = f'no videos in {shown}: files that end in {", ".join(SUFFIXES)}'
        raise InputError('; '.join([wanted, *lines]))
    for place in empty:
        log.warning('no videos in %s', place)
    for line in lines:
        log.warning('left out, %s', line)
    return FoundVideos(found.values())


def _real(path):
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a NUL in the name
        return str(path)


def _expanded(place, left_out):
    if place.is_dir():
        return sorted(_walk(place, left_out))
    try:
        problem = problem_with(place)
    except FileNotFoundError:
        raise InputError(
            f'{place} does not exist; videos takes files, folders and .txt lists'
        ) from None
    if problem:
        raise InputError(f'{place} {problem}; videos takes files, folders and .txt lists')
    return _listed(place) if place.suffix.lower() == LIST_SUFFIX else [place]


def _listed(place):
    lines = (line.strip(' \t') for line in read_lines(place, errors='surrogateescape'))
    paths = [pathlib.Path(line) for line in lines if line]
    missing = [path for path in paths if not _is_file(path)]
    if missing:
        looked = '' if missing[0].is_absolute() else f' (looked for in {pathlib.Path.cwd()})'
        log.warning(
            '%s: %d of %d paths are of no file, the first %s%s; each is a record that fails',
            place, len(missing), len(paths), missing[0], looked,
        )  # fmt: skip
    return paths


def _is_file(path):
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _walk(top: pathlib.Path, left_out: _LeftOut) -> Iterator[pathlib.Path]:
    """Yield the videos under `top`. A folder is entered once, by its own name if it has one."""
    folders, entered = collections.deque([top]), set()
    links: collections.deque[pathlib.Path] = collections.deque()
    while folders or links:
        folder = (folders or links).popleft()
        try:
            status = folder.stat()
            entries = sorted(folder.iterdir())
        except OSError as error:
            if folder == top:
                raise
            left_out.add(f'folders that cannot be read ({error.strerror})', folder)
            continue
        if (status.st_dev, status.st_ino) in entered:
            left_out.add('links to folders that were searched already', folder)
            continue
        entered.add((status.st_dev, status.st_ino))
        for path in entries:
            if path.is_dir():
                (links if path.is_symlink() else folders).append(path)
            elif is_video_name(path.name):
                yield path
            else:
                left_out.add(_why(path), path)


def _why(path):
    if path.is_symlink() and not path.exists():
        return 'links to missing files'
    if path.name.startswith(APPLE_DOUBLE):
        return 'files of macOS beside others'
    return 'files whose names do not end as those of videos do'
