"""Lists of the public data sets' videos, from their own annotation files and folders.

Kinetics   a CSV with the columns label, youtube_id, time_start, time_end; videos as
           LABEL/ID_SSSSSS_EEEEEE.mp4 (start and end in seconds), the label with or without
           underscores for spaces
HMDB51     CLASS_test_splitN.txt of lines `NAME.avi 0|1|2` (unused, train, test); CLASS/NAME.avi
UCF101     classInd.txt, trainlist0N.txt, testlist0N.txt of lines `CLASS/NAME.avi [label]`
"""

import csv
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Union

from r2plus1d.datasets.lists import Row
from r2plus1d.errors import InputError

Entry = tuple[str, list[str]]  # class name, places where the video may be

DATASETS = ('kinetics', 'hmdb51', 'ucf101')
SUBSETS = ('train', 'test')
KINETICS_COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end')
HMDB51_FILE = re.compile(r'(.+)_test_split(\d)\.txt')
HMDB51_SUBSETS = {'0': None, '1': 'train', '2': 'test'}


def entries(
    dataset: str, annotations: Union[str, pathlib.Path], *, subset: str = 'train', split: int = 1
) -> tuple[list[str], list[Entry]]:
    """Return what a data set's annotations list.

    Args:
        dataset: one of DATASETS.
        annotations: Kinetics' CSV of one subset, or the folder of the split files.
        subset: `train` or `test`; Kinetics' CSV is of one subset already.
        split: 1 to 3, of HMDB51 and UCF101.

    Returns:
        (class names in the order of their labels, [(class name, [paths where the video may be])]),
        paths relative to the folder of videos.

    Raises:
        InputError: annotations that are missing or not of this data set.
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
    for video_id, (name, places) in enumerate(listed):
        path = next(
            (p for p in (pathlib.Path(videos) / place for place in places) if p.is_file()), None
        )
        if path is None:
            missing.append(places[0])
        else:
            found.append(Row(str(path.resolve()), (labels[name],), None, video_id))
    return found, missing


def _kinetics(path):
    if not path.is_file():
        raise InputError(f'{path}: no such CSV of Kinetics')
    with path.open(newline='', encoding='utf-8-sig') as file:
        reader = csv.DictReader(file)
        absent = [column for column in KINETICS_COLUMNS if column not in (reader.fieldnames or ())]
        if absent:
            raise InputError(
                f'{path} has no column {absent[0]}; a CSV of Kinetics has '
                f'{", ".join(KINETICS_COLUMNS)}'
            )
        listed = [(row['label'], _kinetics_places(path, reader.line_num, row)) for row in reader]
    return sorted({name for name, _ in listed}), listed


def _kinetics_places(path, line, row):
    try:
        start, end = int(float(row['time_start'])), int(float(row['time_end']))
    except (ValueError, TypeError):  # TypeError: the row is too short
        raise InputError(f'{path}: line {line}: time_start or time_end is not a number') from None
    name = f'{row["youtube_id"]}_{start:06d}_{end:06d}.mp4'
    return [f'{row["label"]}/{name}', f'{row["label"].replace(" ", "_")}/{name}']


def _hmdb51(folder, subset, split):
    files = {}
    for path in sorted(folder.iterdir()):
        match = HMDB51_FILE.fullmatch(path.name)
        if match and int(match.group(2)) == split:
            files[match.group(1)] = path
    if not files:
        raise InputError(f'{folder} has no files CLASS_test_split{split}.txt')
    listed = []
    for name, path in files.items():
        for number, fields in _fields(path):
            if len(fields) != 2 or fields[1] not in HMDB51_SUBSETS:
                raise InputError(f'{path}: line {number} is not `VIDEO 0`, `VIDEO 1` or `VIDEO 2`')
            if HMDB51_SUBSETS[fields[1]] == subset:
                listed.append((name, [f'{name}/{fields[0]}', fields[0]]))
    return list(files), listed


def _ucf101(folder, subset, split):
    index, path = folder / 'classInd.txt', folder / f'{subset}list{split:02d}.txt'
    for needed in (index, path):
        if not needed.is_file():
            raise InputError(f"{needed} is missing; UCF101's split files have it")
    names = []
    for number, fields in _fields(index):
        if len(fields) != 2:
            raise InputError(f'{index}: line {number} is not `LABEL CLASS`')
        names.append(fields[1])
    listed = []
    for number, fields in _fields(path):
        name = fields[0].split('/')[0]
        if name not in names:
            raise InputError(f'{path}: line {number}: class {name} is not in {index.name}')
        listed.append((name, [fields[0], fields[0].split('/')[-1]]))
    return names, listed


def _fields(path):
    """Yield (line number, words) of the lines that are not blank."""
    for number, line in enumerate(path.read_text(encoding='utf-8-sig').splitlines(), 1):
        if line.strip():
            yield number, line.split()
