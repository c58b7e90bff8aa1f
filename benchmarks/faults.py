"""Damages files of every kind at random, reads them as the tools do, and counts what comes of it.

    .venv/bin/python benchmarks/faults.py
    .venv/bin/python benchmarks/faults.py --seed=1 --mutations=100 --folder=VIDEOS

Prints a table in Markdown: for each kind of file, how many of the damaged files gave what.
"""

import collections
import datetime
import functools
import logging
import pathlib
import shutil
import tempfile

import av
import faults_made as made
import faults_trials as trials
import numpy as np
from faults_changes import mutate

from r2plus1d.cli import command_line, flag_types
from r2plus1d.cli.main import run
from r2plus1d.datasets.checksums import CHECKSUM_FILE
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
from r2plus1d.datasets.video_files import find_videos
from r2plus1d.errors import InputError

log = logging.getLogger('faults')

FLAGS = {
    'seed': (flag_types.integer(0), 0, 'of all damage'),
    'mutations': (flag_types.integer(1), 25, 'damaged files of each kind'),
    'kinds': (str, None, 'kinds of files between commas, as the table names them; all if left out'),
    'folder': (pathlib.Path, None, 'videos that are damaged too'),
    'keep': (pathlib.Path, None, 'folder for the files of the last five columns'),
}
# kind: (function that writes sound files, function that reads one)
OTHERS = {
    'paths': (made.write_path_database, trials.read_path_database),
    'database': (made.write_database, trials.read_database),
    'pickle': (functools.partial(made.write_weights, ending='pkl'), trials.read_weights),
    'minidb': (functools.partial(made.write_weights, ending='mdl'), trials.read_weights),
    'ONNX': (functools.partial(made.write_weights, ending='onnx'), trials.read_weights),
    'PyTorch': (functools.partial(made.write_model, name='card.pth'), trials.read_weights),
    'safetensors': (
        functools.partial(made.write_model, name='card.safetensors'),
        trials.read_weights,
    ),
    'model folder': (functools.partial(made.write_model, name='model'), trials.read_model_folder),
    'features.pkl': (made.write_features, trials.read_feature_file),
    'features.npy': (made.write_feature_folder, trials.read_feature_file),
    'list': (made.write_lists, trials.read_list),
    'class names': (made.write_labels, trials.read_labels),
    'Kinetics': (made.write_kinetics, trials.read_kinetics),
    'UCF101': (made.write_ucf101, trials.read_ucf101),
}
RECORDS = 'the same videos as records'
NOTES = """
- correct: what the sound file gives, bit for bit.
- named: refused with one line that names the file and the fault, or used with a warning.
- other content: a valid file with other values, used without a word. The frames and their times are
  the same, or the names and shapes are. A text gives as many rows as it has lines.
- silent: other frames, times, names or shapes without a word, or a row of a text that is lost.
- traceback: an error of Python, or a line that does not name the file.
- hang: over {seconds:g} seconds of processor time. crash: the end of the process. memory: over
  {gigabytes:g} GiB. A process that decodes ended so, or gave up, {ended}.
  The tools go on and name the video, so it is counted as named.
- `{records}`: the damaged videos in a database, with the checksums of the sound ones.
"""


class Table:
    """Counts by kind and column, printed row by row; keeps the files of faults."""

    def __init__(self, keep):
        self._keep, self.total = keep, collections.Counter()
        print(_line(['kind', 'files', *trials.COLUMNS]))
        print(_line(['---', *['--:'] * (1 + len(trials.COLUMNS))]))

    def add(self, kind, columns):
        """Print a row: `columns` is the column of each damaged file."""
        counts = collections.Counter(columns)
        self.total += counts
        self._print(kind, counts)

    def end(self):
        self._print('**all**', self.total)

    def keep(self, path, kind, damage, column):
        """Copy a file whose column is one of FAULTS."""
        if self._keep and column in trials.FAULTS:
            self._keep.mkdir(parents=True, exist_ok=True)
            place = path.parent.name if path.parent.name.startswith('damaged') else ''
            name = f'{column}_{kind}_{damage}_{place}{path.name}'.replace(' ', '_')
            shutil.copyfile(path, self._keep / name)

    def _print(self, kind, counts):
        numbers = [sum(counts.values()), *(counts[column] for column in trials.COLUMNS)]
        print(_line([kind, *numbers]), flush=True)


def _line(cells):
    return f'| {" | ".join(map(str, cells))} |'


def main():
    args = command_line.parse(__doc__, FLAGS)
    kinds = [*made.VIDEOS, *OTHERS]
    wanted = args.kinds.split(',') if args.kinds else kinds
    unknown = set(wanted) - set(kinds)
    if unknown:
        raise InputError(f'kinds has {min(unknown)!r}; known: {", ".join(kinds)}')
    logging.getLogger('r2plus1d').setLevel(logging.ERROR)  # a warning for each damaged video
    table, videos, records = Table(args.keep), trials.VideoTrials(), []
    with tempfile.TemporaryDirectory() as folder:
        for kind, paths in _sound_videos(pathlib.Path(folder), wanted, args.folder):
            place = pathlib.Path(tempfile.mkdtemp(dir=folder))
            sound = _answers_of_sound(paths, place, videos)
            damaged = list(_damaged(list(sound), _rng(args, kind), args.mutations))
            if damaged:
                found = _try_videos(kind, place, sound, damaged, table, videos)
                table.add(kind, [column for column, _ in found])
                records += [column for _, column in found]
            shutil.rmtree(place)
        if records:
            table.add(RECORDS, records)
        for kind in wanted:
            if kind in OTHERS:
                place = pathlib.Path(tempfile.mkdtemp(dir=folder))
                table.add(kind, _try_others(kind, place, _rng(args, kind), args.mutations, table))
    table.end()
    print(_notes(args, videos))


def _rng(args, kind):
    return np.random.default_rng([args.seed, *kind.encode()])


def _notes(args, videos):
    ended = ', '.join(f'{count} times by {column}' for column, count in videos.ended.items())
    budget = trials.BUDGET
    notes = NOTES.format(
        seconds=budget.seconds, gigabytes=budget.memory / 2**30, ended=ended or 'never',
        records=RECORDS,
    )  # fmt: skip
    versions = '.'.join(map(str, av.library_versions['libavcodec']))
    day = datetime.datetime.now(datetime.timezone.utc).date()
    return f'{notes}\n{day}, seed {args.seed}, PyAV {av.__version__} (libavcodec {versions})'


def _sound_videos(folder, wanted, others):
    """Yield (kind, paths of sound videos) of each container, and of the user's files."""
    place = folder / 'videos'
    place.mkdir()
    for container in made.VIDEOS:
        paths = made.write_videos(place, container) if container in wanted else []
        if paths:
            yield container, paths
    if others:
        yield others.name, find_videos([others])


def _damaged(paths, rng, count):
    """Yield (path of a sound file, kind of damage, damaged bytes), `count` times."""
    for number in range(count if paths else 0):
        path, other = paths[number % len(paths)], paths[rng.integers(len(paths))]
        yield (path, *mutate(rng, path.read_bytes(), other.read_bytes()))


def _try_videos(kind, folder, sound, damaged, table, videos):
    """Return (column as a file, column as a record with a checksum) of each damaged video."""
    _write_records(folder / 'before', [path.read_bytes() for path, _, _ in damaged])
    _write_records(folder / 'after', [content for _, _, content in damaged])
    found = []
    for (path, damage, content), answer in zip(damaged, videos.answers(folder / 'after')):
        file = folder / f'{len(found)}.video'
        file.write_bytes(content)
        column = videos.other_ways(file) or trials.column_of(answer, sound[path])
        table.keep(file, kind, f'{path.name}_{damage}', column)
        found.append(column)
    shutil.copyfile(*(folder / name / CHECKSUM_FILE for name in ('before', 'after')))
    told = videos.answers(folder / 'after')
    columns = [trials.column_of(answer, sound[one[0]]) for one, answer in zip(damaged, told)]
    return list(zip(found, columns))


def _answers_of_sound(paths, folder, videos):
    """{path: Answer} of those of the videos that can be read."""
    _write_records(folder / 'sound', [path.read_bytes() for path in paths])
    sound = {}
    for path, answer in zip(paths, videos.answers(folder / 'sound')):
        if answer is None or answer.complaint:
            log.warning('%s is left out: %s', path, answer and answer.complaint)
        else:
            sound[path] = answer
    return sound


def _write_records(path, contents):
    with DatabaseWriter(path, len(contents)) as writer:
        for content in contents:
            writer.add(Record(content, (0,)))


def _try_others(kind, folder, rng, count, table):
    """Return the column of each damaged file."""
    write, read = OTHERS[kind]
    paths, columns = write(folder), []
    sound = {path: _sound(read, path) for path in paths}
    for number, (path, damage, content) in enumerate(_damaged(paths, rng, count)):
        place = folder.parent / f'damaged{number}'
        shutil.copytree(path.parent, place)
        (place / path.name).write_bytes(content)
        answer, column = trials.read_isolated(read, place / path.name)
        column = column or trials.column_of(answer, sound[path])
        table.keep(place / path.name, kind, damage, column)
        columns.append(column)
        shutil.rmtree(place)
    return columns


def _sound(read, path):
    answer, column = trials.read_isolated(read, path)
    if column or answer.complaint:
        raise InputError(f'{path.name} cannot be read as it is: {column or answer.complaint}')
    return answer


if __name__ == '__main__':
    run(main)
