"""What becomes of a damaged file where the tools read it, and the column of the table for that."""

import collections
import hashlib
import logging
import re
from typing import Any, NamedTuple, Optional

import numpy as np

from r2plus1d.cli import command_line, flags, from_flags, weight_flags
from r2plus1d.datasets.annotations import entries
from r2plus1d.datasets.database import Database, check_kind
from r2plus1d.datasets.lists import read_rows
from r2plus1d.errors import BackendError, InputError, RecordError
from r2plus1d.features.read import read_features
from r2plus1d.results.class_names import read_class_names
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds, open_record
from r2plus1d.video.budget import Budget
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decoders import DECODERS, Decoders
from r2plus1d.video.extent import extent_of
from r2plus1d.video.start_clips import Start, starting_clips

CORRECT, NAMED, CONTENT, SILENT, TRACEBACK, HANG, CRASH, MEMORY = COLUMNS = (
    'correct', 'named', 'other content', 'silent', 'traceback', 'hang', 'crash', 'memory',
)  # fmt: skip
FAULTS = COLUMNS[3:]
BUDGET = Budget(memory=2**31, seconds=20)
# The clips are of all frames of the videos that are made.
UNIFORM = ClipSettings(length=8, clips=3, budget=BUDGET)
STARTS = ClipSettings(length=8, decode_type='start', budget=BUDGET)
NEEDS = RecordNeeds(num_labels=None)
PATHS = RecordNeeds(num_labels=None, use_local_file=True)
ENDINGS = {'over budget': HANG, 'the decoder crashed': CRASH, 'not enough memory': MEMORY}
LOST = re.compile('the process that decoded it (was killed|ended)')
ISOLATED = Decoders()


class Answer(NamedTuple):
    """What was read.

    Attributes:
        form: names and shapes, or the frames and their times.
        values: a digest of the rest.
        complaint: what a tool says of the file; None if it says nothing.
        is_refusal: the complaint is all that there is.
    """

    form: Any = None
    values: Any = None
    complaint: Optional[str] = None
    is_refusal: bool = False


def digest(*arrays):
    made = hashlib.sha256()
    for array in arrays:
        made.update(np.ascontiguousarray(array))
    return made.hexdigest()


def column_of(answer, sound):
    """The column of an Answer, None for a traceback; `sound` is that of the sound file."""
    if answer is None:
        return TRACEBACK
    if answer.complaint:
        return NAMED
    if answer.form != sound.form:
        return SILENT
    return CORRECT if answer.values == sound.values else CONTENT


def read_isolated(read, path):
    """Return (Answer or None, column or None) of what `read` makes of a file, in a process."""
    try:
        answer = ISOLATED.call(BUDGET, answer_of, read, path)
    except RecordError as error:
        return None, _ending(error.reason) or NAMED
    except RuntimeError:
        return None, TRACEBACK
    # A line that does not say which file it is about helps nobody.
    if answer.is_refusal and path.parent.name not in answer.complaint:
        return answer, TRACEBACK
    return answer, None


def answer_of(read, path):
    """The Answer of `read(path)`, whose errors are taken as a tool takes them."""
    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    try:
        form, values = read(path)
    except (InputError, BackendError) as error:
        return Answer(complaint=str(error), is_refusal=True)
    except OSError as error:
        if error.filename is None:
            raise
        return Answer(complaint=f'{error.filename}: {error.strerror}', is_refusal=True)
    finally:
        logging.getLogger().removeHandler(handler)
    return Answer(form, values, '; '.join(said) or None)


def _ending(reason):
    """The column of how a process ended; None if it went on."""
    if LOST.match(reason):
        return CRASH
    return next((column for text, column in ENDINGS.items() if reason.startswith(text)), None)


def read_weights(path):
    """Weights as a tool takes them; those without a card need a flag."""
    flag = ['--clip_length_rgb=8'] * (path.stem == 'bare')
    argv = [f'--load_model_path={path}', *flag]
    args = command_line.parse('', flags.NETWORK, flags.WEIGHTS, flags.CLIPS, argv=argv)
    stored = weight_flags.take_weights(args)
    network = from_flags.network(args)
    source = weight_flags.load_weights(network, stored)
    blobs = stored.onnx.values if stored.onnx else source
    shapes = [(name, blob.shape, str(blob.dtype)) for name, blob in blobs.items()]
    given = from_flags.clip_input(args)
    return (shapes, network, given), (digest(*blobs.values()), stored.class_names)


def read_model_folder(path):
    """Weights whose settings, one file of which is `path`, lie beside them."""
    return read_weights(path.parent)


def read_feature_file(path):
    features = read_features(path if path.suffix == '.pkl' else path.parent)
    arrays = features.softmax, features.labels, features.video_ids
    return [(array.shape, str(array.dtype)) for array in arrays], digest(*arrays)


def read_list(path):
    rows = read_rows(path, use_start_frame=True, use_video_id=True)
    return len(rows) - rows_in(path), rows


def read_kinetics(path):
    found = entries('kinetics', path)
    return _annotated(found, rows_in(path))


def read_ucf101(path):
    found = entries('ucf101', path.parent)
    return _annotated(found, rows_in(path.parent / 'trainlist01.txt') + 1)


def _annotated(found, rows):
    if found.bad_lines:
        raise InputError(found.bad_lines[0])
    return len(found.entries) - rows, (found.names, found.entries)


def read_labels(path):
    return None, read_class_names(path, 5)


def rows_in(path):
    """Lines under the first one that are not blank: what a text is to give, counted by itself."""
    lines = re.split(rb'\r\n|\r|\n', path.read_bytes())
    return sum(bool(line.strip()) for line in lines) - 1


def read_database(path):
    """The samples of a database, as a tool takes them: a bad one is named and costs itself."""
    form, values = [], []
    with DatabaseSource(path.parent, UNIFORM, NEEDS, threads=1) as source:
        for sample in source:
            if sample.failure:
                logging.getLogger().warning('%s: %s', sample.name, sample.failure)
                continue
            form.append((sample.key, *_times(sample.clips)))
            values.append((sample.labels, sample.video_id, digest(sample.clips.pixels)))
    return form, values


def read_path_database(path):
    """The records of a database of paths, looked at in the two ways that there are."""
    with Database(path.parent) as database:
        check_kind(database, use_local_file=True)
        found = [open_record(*record, PATHS)[0] for record in database.records()]
        again = list(map(database.get, database.keys()))
    for sample in found:
        if sample.failure:
            logging.getLogger().warning('%s: %s', sample.name, sample.failure)
    return len(again), [sample for sample in found if not sample.failure]


def _times(clips):
    return clips.starts.tolist(), repr(clips.seconds.tolist())


class VideoTrials:
    """Reads videos as the tools do; attribute `ended` counts how their decoders ended."""

    def __init__(self):
        self.ended = collections.Counter()

    def answers(self, database):
        """Yield the Answer of each record of a database of videos, or None for a traceback."""
        with DatabaseSource(database, UNIFORM, NEEDS, threads=2) as source:
            first = 0
            while first < len(source):
                try:
                    for sample in source.samples(first):
                        first += 1
                        yield self._answer(sample)
                except RuntimeError:
                    first += 1
                    yield None

    def _answer(self, sample):
        if sample.failure:
            self._count(sample.failure)
            return Answer(complaint=sample.failure, is_refusal=True)
        clips = sample.clips
        said = clips.truncated or clips.complaint or ('damaged' if clips.num_undecodable else None)
        return Answer(_times(clips), digest(clips.pixels), said)

    def other_ways(self, path):
        """A column of FAULTS, if a file cannot be read at start frames or counted; or None."""
        starts = [Start(0, 0), Start(1, 9)]
        ways = (
            lambda: list(DECODERS.stream(BUDGET, starting_clips, str(path), STARTS, starts)),
            lambda: DECODERS.call(BUDGET, extent_of, str(path), BUDGET, with_times=True),
        )
        for read in ways:
            try:
                read()
            except RecordError as error:
                self._count(error.reason)
            except RuntimeError:
                return TRACEBACK
        return None

    def _count(self, reason):
        column = _ending(reason)
        if column:
            self.ended[column] += 1
