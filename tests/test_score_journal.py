"""A journal of scores: what it keeps, and what an evaluation makes of it."""

import contextlib

import numpy as np
import pytest

from r2plus1d.errors import InputError
from r2plus1d.evaluation import journal as module
from r2plus1d.evaluation.evaluate import EvaluationSettings, evaluate
from r2plus1d.evaluation.journal import ScoreJournal
from r2plus1d.evaluation.metrics import score_video
from r2plus1d.sources.sample import RecordNeeds, Sample
from r2plus1d.video.clip import Clips
from r2plus1d.video.clip_settings import ClipSettings

ARGUMENTS = {'seed': 0, 'starts': (1, 2), 'gpus': 'the CPU', 'engine': 'torch'}
CLASSES = 5


def probabilities(number, rows=2):
    drawn = np.random.default_rng(number).random((rows, CLASSES), np.float32)
    return drawn / drawn.sum(axis=1, keepdims=True, dtype=np.float32)


def scored(index):
    if index in (2, 3):
        return Sample(index, f'{index}', '/caf\udce9.mp4', failure='not a video'), None
    sample = Sample(index, f'{index}', labels=(index % 3, 4), video_id=10**12 + index)
    return sample, score_video(probabilities(index), sample.labels)


BATCHES = [[0, 1], [2], [3], [4, 5], [6]]


@pytest.fixture
def whole(tmp_path):
    """The bytes of a journal of BATCHES."""
    with ScoreJournal(tmp_path / 'whole.csv', ARGUMENTS) as journal:
        for batch in BATCHES:
            journal.add([scored(index) for index in batch])
    return (tmp_path / 'whole.csv.journal').read_bytes()


def test_no_damage_of_a_journal_is_taken_for_scores(tmp_path, whole, caplog):
    path, rng = tmp_path / 'p.csv.journal', np.random.default_rng(0)
    first = whole.index(b'\n') + 1
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(first, len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with ScoreJournal(tmp_path / 'p.csv', ARGUMENTS) as journal:
            assert_holds(journal, journal.done)
            assert journal.done < 7
    assert 'p.csv.journal is damaged at byte ' in caplog.text


def test_a_journal_of_an_older_release_goes_on(tmp_path, whole):
    lines = [line.split(b'\t')[0] + b'\n' for line in whole.splitlines()]
    (tmp_path / 'p.csv.journal').write_bytes(b''.join(lines))
    with ScoreJournal(tmp_path / 'p.csv', ARGUMENTS) as journal:
        assert_holds(journal, 7)


def assert_holds(journal, count):
    assert journal.done == count
    found = list(journal.scored())
    assert len(found) == count
    for index, (sample, score) in enumerate(found):
        expected, its_score = scored(index)
        assert sample == expected
        assert (score is None) == (its_score is None)
        if score is not None:
            assert score.probabilities.tobytes() == its_score.probabilities.tobytes()
            assert score.probabilities.dtype == its_score.probabilities.dtype
            assert score.ranking.tolist() == its_score.ranking.tolist()
            assert vars(score).keys() == vars(its_score).keys()
            for name in ('labels', 'num_clips', 'clips_right'):
                assert getattr(score, name) == getattr(its_score, name)


def test_any_torn_end_is_gone_on_from(whole, tmp_path):
    ends = np.cumsum([len(line) for line in whole.splitlines(keepends=True)])
    counts = np.cumsum([0] + [len(batch) for batch in BATCHES])
    cuts = {*range(0, len(whole), 41), *ends, *(ends - 1)}
    for number, (cut, rest) in enumerate((c, r) for c in sorted(cuts) for r in (b'', b'\0' * 9)):
        output = tmp_path / f'{number}.csv'
        (tmp_path / f'{number}.csv.journal').write_bytes(whole[:cut] + rest)
        with ScoreJournal(output, ARGUMENTS) as journal:
            lines = int((ends <= cut).sum())
            assert_holds(journal, counts[max(0, lines - 1)])
            for batch in BATCHES[max(0, lines - 1) :]:
                journal.add([scored(index) for index in batch])
            assert_holds(journal, 7)
        assert (tmp_path / f'{number}.csv.journal').read_bytes() == whole, (cut, rest)


def test_other_arguments_are_refused_unless_it_begins_again(whole, tmp_path):
    other = {**ARGUMENTS, 'seed': 1}
    with pytest.raises(InputError, match='whole.csv.journal was made with .*: seed was 0 and is 1'):
        ScoreJournal(tmp_path / 'whole.csv', other)
    assert (tmp_path / 'whole.csv.journal').read_bytes() == whole
    with ScoreJournal(tmp_path / 'whole.csv', other, overwrite=True) as journal:
        assert_holds(journal, 0)


def test_one_without_a_batch_goes(tmp_path):
    with ScoreJournal(tmp_path / 'x.csv', ARGUMENTS):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_is_synced_as_time_goes(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr('os.fsync', calls.append)
    with ScoreJournal(tmp_path / 'x.csv', ARGUMENTS) as journal:
        journal.add([scored(0)])
        assert not calls
        monkeypatch.setattr(module, 'SECONDS_BETWEEN_SYNCS', -1)
        journal.add([scored(1)])
        assert len(calls) == 1


class Reader:
    """Nine records, of which one fails; it stops as Ctrl-C does before record `until`."""

    settings = ClipSettings(length=8, clips=2)

    def __init__(self, needs, until=None):
        self.needs, self.until, self.read = needs, until, []

    def __len__(self):
        return 9

    def __iter__(self):
        return self.samples()

    def samples(self, first=0):
        for index in range(first, 9):
            if index == self.until:
                raise KeyboardInterrupt
            self.read.append(index)
            pixels = np.full((2, 3, 8, 112, 112), index, np.uint8)
            clips = Clips(pixels, np.zeros(2), np.zeros((2, 2)))
            sample = Sample(index, str(index), labels=(index % 3,), clips=clips)
            yield Sample(index, str(index), failure='bad') if index == 4 else sample


class Engine:
    """Its numbers depend on what else is in the batch, as a GPU's do."""

    network = type('Network', (), {'prediction': 'softmax'})

    def run(self, pixels):
        numbers = pixels[:, 0, 0, 0, 0].astype(int)
        rows = [probabilities((int(n), int(numbers.sum())), 1) for n in numbers]
        return {'softmax': np.concatenate(rows)}


def lists(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('multi_label', [False, True])
@pytest.mark.parametrize('until', range(9))
def test_a_run_in_two_parts_is_the_run_in_one(tmp_path, until, multi_label):
    needs, folders = RecordNeeds(CLASSES, multi_label=multi_label), {}
    for name, ends in (('one', [None]), ('two', [until, None])):
        folders[name] = tmp_path / name
        settings = EvaluationSettings(
            batch_size=3, output=tmp_path / name / 'p.csv', failures=tmp_path / name / 'f.csv'
        )
        for end in ends:
            (tmp_path / name).mkdir(exist_ok=True)
            reader = Reader(needs, end)
            with ScoreJournal(settings.output, ARGUMENTS) as journal:
                before = journal.done
                result = evaluate(reader, Engine(), settings, journal=journal)
            assert result.ended == (None if end is None else 'interrupted')
            assert reader.read[:1] in ([], [before])
        folders[name] = (str(result.score), result.failed, lists(tmp_path / name))
    assert folders['one'] == folders['two']
    assert sorted(folders['one'][2]) == ['f.csv', 'p.csv']


def test_the_totals_are_known_before_the_output_has_its_name(tmp_path):
    output, seen = tmp_path / 'p.csv', []

    def report(result):
        seen.append((result.scored, output.exists(), (tmp_path / 'p.csv.journal').exists()))
        raise OSError('nobody reads')

    settings = EvaluationSettings(batch_size=3, output=output, failures=tmp_path / 'f.csv')
    with (
        pytest.raises(OSError, match='nobody reads'),
        ScoreJournal(output, ARGUMENTS) as journal,
    ):
        evaluate(Reader(RecordNeeds(CLASSES)), Engine(), settings, journal=journal, report=report)
    assert seen == [(8, False, True)]
    assert sorted(lists(tmp_path)) == ['f.csv', 'p.csv']


def test_the_decoders_end_last(tmp_path):
    """They may be waited for, and the totals and the lists are not to wait with them."""
    order, settings = [], EvaluationSettings(output=tmp_path / 'p.csv', failures=tmp_path / 'f')

    class Watched(Reader):
        def samples(self, first=0):
            with contextlib.closing(super().samples(first)) as samples:
                try:
                    yield from samples
                finally:
                    order.append(sorted(path.name for path in tmp_path.iterdir()))

    def add(self, score):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('r2plus1d.evaluation.metrics.Accuracy.add', add)
        evaluate(
            Watched(RecordNeeds(CLASSES)), Engine(), settings,
            report=lambda result: order.append(result.ended),
        )  # fmt: skip
    assert order == ['interrupted', ['p.csv.partial']]


def test_the_decoders_have_ended_when_an_error_is_raised(tmp_path):
    """An error keeps what it met alive, and the database is closed next."""
    ended, settings = [], EvaluationSettings(output=tmp_path / 'p.csv', failures=tmp_path / 'f')

    class Watched(Reader):
        def samples(self, first=0):
            try:
                yield from super().samples(first)
            finally:
                ended.append(True)

    def add(self, score):
        raise OSError('no room')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('r2plus1d.evaluation.metrics.Accuracy.add', add)
        try:
            evaluate(Watched(RecordNeeds(CLASSES)), Engine(), settings)
        except OSError:
            assert ended
