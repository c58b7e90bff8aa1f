"""Lists of the public data sets' videos, from their own annotation files and folders.

Kinetics   a CSV with the columns label, youtube_id, time_start, time_end; videos as
           LABEL/ID_SSSSSS_EEEEEE.mp4 (start and end in seconds), the label with or without
           underscores for spaces
HMDB51     CLASS_test_splitN.txt of lines `NAME.avi 0|1|2` (unused, train, test); CLASS/NAME.avi
UCF101     classInd.txt, trainlist0N.txt, testlist0N.txt of lines `CLASS/NAME.avi [label]`

The videos of all three may also lie in one folder, without folders of classes, and end as any video
does.
"""

import functools
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Union

from r2plus1d.datasets.lists import Row
from r2plus1d.datasets.strict_csv import read_csv
from r2plus1d.datasets.video_files import SUFFIXES, is_video_name
from r2plus1d.errors import InputError
from r2plus1d.results.class_names import require_plain
from r2plus1d.results.given_file import read_lines

Entry = tuple[str, list[str]]  # class name, places where the video may be


class Annotations(NamedTuple):
    """What the files of a data set list.

    Attributes:
        names: of the classes, in the order of their labels.
        entries: (class name, [paths where the video may be]), relative to the folder of videos.
        bad_lines: what is wrong with lines that list nothing, and where.
    """

    names: list[str]
    entries: list[Entry]
    bad_lines: list[str]


DATASETS = ('kinetics', 'hmdb51', 'ucf101')
SUBSETS = ('train', 'test')
KINETICS_COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end')
HMDB51_FILE = re.compile(r'(.+)_test_split(\d)\.txt')
UCF101_CLASSES = 'classInd.txt'
HMDB51_SUBSETS = {'0': None, '1': 'train', '2': 'test'}


def entries(
    dataset: str, annotations: Union[str, pathlib.Path], *, subset: str = 'train', split: int = 1
) -> Annotations:
    """Return what a data set's annotations list.

    Args:
        dataset: one of DATASETS.
        annotations: Kinetics' CSV of one subset, or the folder of the split files.
        subset: `train` or `test`; Kinetics' CSV is of one subset already.
        split: 1 to 3, of HMDB51 and UCF101.

    Raises:
        InputError: annotations that are missing or not of this data set. A line that lists nothing
            is among the bad lines, unless labels would shift by its absence.
    """
    annotations = pathlib.Path(annotations)
    if dataset == 'kinetics':
        return _kinetics(annotations)
    if not annotations.is_dir():
        raise InputError(f'{annotations} is no folder of split files')
    reader = _hmdb51 if dataset == 'hmdb51' else _ucf101
    return reader(annotations, subset, split)


def rows(
    names: Sequence[str], listed: Iterable[Entry], videos: Union[str, pathlib.Path]
) -> tuple[list[Row], list[str]]:
    """Return (Rows of the videos that are there, entries that are missing); ids count the entries.

    Args:
        names, listed: as `entries` returns them.
        videos: folder of the videos.
    """
    labels = {name: label for label, name in enumerate(names)}
    found, missing = [], []
    find = functools.partial(_find, pathlib.Path(videos), functools.lru_cache(None)(_videos_in))
    for video_id, (name, places) in enumerate(listed):
        path = find(places)
        if path is None:
            missing.append(places[0])
        else:
            found.append(Row(str(path.resolve()), (labels[name],), None, video_id))
    return found, missing


def _find(videos, videos_in, places):
    """The first of `places` where a video is: under the listed name, or with another ending."""
    for place in places:
        listed = videos / place
        there = videos_in(listed.parent)
        for suffix in (listed.suffix.lower(), *SUFFIXES):
            path = there.get(listed.stem + suffix)
            if path is not None and path.is_file():
                return path
    return None


def _videos_in(folder):
    """{name, its ending in small letters: path} of what is in a folder and named as a video is."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return {}
    return {path.stem + path.suffix.lower(): path for path in paths if is_video_name(path.name)}


def _kinetics(path):
    try:
        lines = list(read_csv(path))
    except FileNotFoundError:
        raise InputError(f'{path}: no such CSV of Kinetics') from None
    header = [name.strip() for name in lines[0].fields] if lines else []
    absent = [column for column in KINETICS_COLUMNS if column not in header]
    if absent:
        raise InputError(
            f'{path} has no column {absent[0]}; a CSV of Kinetics has {", ".join(KINETICS_COLUMNS)}'
        )
    names, listed, bad = set(), [], []
    for line in lines[1:]:
        row = dict(zip(header, line.fields + [''] * len(header)))
        try:
            name = _kinetics_label(row)
            names.add(name)  # whatever else is wrong: the labels follow from the names
            listed.append((name, _kinetics_places(row)))
        except InputError as error:
            bad.append(f'{path}: {line.place}: {error}')
    return Annotations(sorted(names), listed, bad)


def _kinetics_label(row):
    label = row['label']
    if not label.strip():
        raise InputError('label is empty')
    require_plain(label)
    if '/' in label:
        raise InputError(f'the class name {label!r} has a /, and is that of a folder')
    return label


def _kinetics_places(row):
    absent = [column for column in KINETICS_COLUMNS if not row[column].strip()]
    if absent:
        raise InputError(f'{absent[0]} is empty')
    try:
        start, end = int(float(row['time_start'])), int(float(row['time_end']))
    except (ValueError, OverflowError):
        raise InputError('time_start or time_end is not a number') from None
    name = f'{row["youtube_id"]}_{start:06d}_{end:06d}.mp4'
    return [f'{row["label"]}/{name}', f'{row["label"].replace(" ", "_")}/{name}', name]


def _hmdb51(folder, subset, split):
    files = {}
    for path in sorted(folder.iterdir()):
        match = HMDB51_FILE.fullmatch(path.name)
        if match and int(match.group(2)) == split:
            require_plain(match.group(1))
            files[match.group(1)] = path
    if not files:
        raise InputError(f'{folder} has no files CLASS_test_split{split}.txt')
    listed, bad = [], []
    for name, path in files.items():
        for number, fields in _fields(path):
            if len(fields) != 2 or fields[1] not in HMDB51_SUBSETS:
                bad.append(f'{path}: line {number} is not `VIDEO 0`, `VIDEO 1` or `VIDEO 2`')
            elif HMDB51_SUBSETS[fields[1]] == subset:
                listed.append((name, [f'{name}/{fields[0]}', fields[0]]))
    return Annotations(list(files), listed, bad)


def _ucf101(folder, subset, split):
    names, path = _ucf101_names(folder), folder / f'{subset}list{split:02d}.txt'
    _require_there(path)
    listed, bad = [], []
    for number, fields in _fields(path):
        name = fields[0].split('/')[0]
        if name in names:
            listed.append((name, [fields[0], fields[0].split('/')[-1]]))
        else:
            bad.append(f'{path}: line {number}: class {name!r} is not in {UCF101_CLASSES}')
    return Annotations(names, listed, bad)


def _ucf101_names(folder):
    """The class names; a bad line is an error, as it would shift the labels after it."""
    index, names = folder / UCF101_CLASSES, []
    _require_there(index)
    for number, fields in _fields(index):
        if len(fields) != 2:
            raise InputError(f'{index}: line {number} is not `LABEL CLASS`')
        if fields[0] != str(len(names) + 1):
            raise InputError(f'{index}: line {number} has label {fields[0]}, not {len(names) + 1}')
        try:
            require_plain(fields[1])
        except InputError as error:
            raise InputError(f'{index}: line {number}: {error}') from None
        names.append(fields[1])
    return names


def _require_there(path):
    if not path.exists():
        raise InputError(f"{path} is missing; UCF101's split files have it")


def _fields(path):
    """Yield (line number, words) of the lines that are not blank."""
    for number, line in enumerate(read_lines(path, errors='surrogateescape'), 1):
        words = line.strip(' \t')
        if words:
            yield number, re.split('[ \t]+', words)
