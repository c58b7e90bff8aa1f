"""A folder with a folder of videos for each class, and its split into two lists.

VIDEOS/golf/club_a_1.mp4      what is read
LISTS/train.csv, test.csv     lists of datasets.lists: path, label and video id
LISTS/labels.txt              the names of the classes, one a line
LISTS/split.csv               each video, its class, its side and its SHA-256
"""

import csv
import logging
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from r2plus1d.datasets import lists, split
from r2plus1d.datasets.split import TEST, TRAIN, ClassVideo
from r2plus1d.datasets.video_files import find_videos, is_video_name
from r2plus1d.errors import InputError
from r2plus1d.results.class_names import require_plain
from r2plus1d.results.complete import CSV_FILE, complete_csv, complete_file
from r2plus1d.results.digest import sha256_of
from r2plus1d.results.given_file import read_lines

log = logging.getLogger(__name__)

SPLIT_FILE, LABELS_FILE = 'split.csv', 'labels.txt'
COLUMNS = ('video', 'class', 'side', 'sha256')
SHOWN = 5  # names in a message


def find_class_videos(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Return {name of a class: paths of its videos}, both sorted.

    Each folder in `folder` is a class, but for those whose names begin with a dot. Videos in
    folders within it are the class's too.

    Raises:
        InputError: fewer than two classes; a class without videos, or whose name is not plain.
    """
    if not folder.is_dir():
        raise InputError(f'videos is {folder}, which is no folder; it has a folder for each class')
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith('.'))
    classes = [path for path in entries if path.is_dir()]
    loose = [path.name for path in entries if is_video_name(path.name) and not path.is_dir()]
    if len(classes) < 2:
        raise InputError(
            f'{folder} has {len(classes)} folders; it needs one for each class, at least two'
        )
    if loose:
        log.warning('left out: %d videos in no folder of a class (%s)', len(loose), shown(loose))
    found = {}
    for path in classes:
        try:
            require_plain(path.name)
        except InputError as error:
            raise InputError(f'{folder}: {error}') from None
        found[path.name] = list(find_videos([path]))
    return found


def shown(names: Sequence[str]) -> str:
    """Return the first names between commas, and how many more there are."""
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more


def good_videos(
    folder: pathlib.Path,
    classes: Mapping[str, Sequence[pathlib.Path]],
    problems: Mapping[str, object],
) -> list[ClassVideo]:
    """Return the videos that can be used; their content is read.

    Args:
        problems: {path of a video: what is wrong with it, or None}.

    Raises:
        InputError: a class all of whose videos are broken; one video in two classes.
    """
    videos = []
    for name, paths in classes.items():
        good = [path for path in paths if problems[str(path)] is None]
        if not good:
            raise InputError(
                f'{folder / name}: none of its {len(paths)} videos can be used; the first, '
                f'{paths[0].name}: {problems[str(paths[0])]}'
            )
        videos += [
            ClassVideo(path.relative_to(folder).as_posix(), name, sha256_of(path)) for path in good
        ]
    split.require_one_class(videos)
    return videos


def read_test_list(path: pathlib.Path, folder: pathlib.Path, names: Iterable[str]) -> set[str]:
    """Return the names of the videos that a text lists, one a line, as CLASS/NAME.

    Raises:
        InputError: a line that is none of `names`; no lines; all of them are listed.
    """
    known, held = set(names), set()
    for number, line in enumerate(read_lines(path, errors='surrogateescape'), 1):
        name = line.strip(' \t').removeprefix(f'{folder.as_posix()}/')
        if name and name not in known:
            raise InputError(
                f'{path}: line {number}: {name} is no video in {folder} that can be used; a line '
                'is CLASS/NAME'
            )
        held |= {name} if name else set()
    if not held or held == known:
        raise InputError(f'{path} lists {"all" if held else "none"} of the videos in {folder}')
    return held


def write_lists(
    output: pathlib.Path,
    folder: pathlib.Path,
    classes: Sequence[str],
    videos: Sequence[ClassVideo],
    held: set[str],
) -> None:
    """Write the lists, or leave them where they are the same.

    Args:
        output: folder of the lists; it is made.
        folder: of the classes.
        held: names of the videos that are held out.

    Raises:
        InputError: there are lists of another state of the folder, or of another split.
    """
    sides = {video.name: TEST if video.name in held else TRAIN for video in videos}
    now = {v.name: (v.class_name, sides[v.name], v.content) for v in videos}
    _require_same(output, folder, now)
    labels = {name: label for label, name in enumerate(classes)}
    for side in (TRAIN, TEST):
        lists.write_rows(
            output / f'{side}.csv',
            (
                lists.Row(str((folder / v.name).resolve()), (labels[v.class_name],), None, number)
                for number, v in enumerate(videos)
                if sides[v.name] == side
            ),
        )
    with complete_file(output / LABELS_FILE, 'w', encoding='utf-8', newline='') as file:
        file.writelines(f'{name}\n' for name in classes)
    with complete_csv(output / SPLIT_FILE, COLUMNS) as write_row:  # the last: the others are there
        for name, known in now.items():
            write_row([name, *known])


def _require_same(output, folder, now):
    path = output / SPLIT_FILE
    if not path.exists():
        return
    with path.open(**CSV_FILE) as file:
        header, rows = next(csv.reader(file), []), [row for row in csv.reader(file) if row]
    differing = split.changes({name: known for name, *known in rows}, now)
    if differing or header != [*COLUMNS]:
        raise InputError(
            f'{folder} or its split is not as in {path}: {", ".join(differing)}; another output '
            '(OUTPUT of finetune.sh) begins afresh'
        )
