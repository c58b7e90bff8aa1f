"""From a full store to what the user asked for, whatever happens on the way."""

import json
import os
import pathlib
import pickle
import shutil
import tracemalloc

import numpy as np
import pytest

from extraction import load_folder, rows_of
from r2plus1d.errors import InputError
from r2plus1d.features import publish
from r2plus1d.features.npy_rows import Column
from r2plus1d.features.publish import FeatureOutput
from store_rows import ARGUMENTS, FAILED, RECORDS, ROWS, entry, fill, open_store, values

GOOD = [index for index in range(RECORDS) if index not in FAILED]
KINDS = pytest.mark.parametrize('is_folder', [False, True], ids=['pickle', 'folder'])


def output_of(folder, is_folder):
    return FeatureOutput(folder / ('f' if is_folder else 'f.pkl'), is_folder=is_folder)


def make(folder, is_folder, *, overwrite=False, arguments=ARGUMENTS):
    """What the tool does, with everything that the network gives at hand; returns the Totals."""
    output = output_of(folder, is_folder)
    totals = output.finished(arguments, overwrite=overwrite)
    if totals:
        return totals
    with open_store(output.partial, arguments=arguments) as store:
        fill(store)
        return output.finish(store, arguments)


def tree(folder):
    """{path: bytes} of all files below a folder."""
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def arrays_of(folder, is_folder):
    path = output_of(folder, is_folder).path
    return load_folder(path) if is_folder else pickle.loads(path.read_bytes())


@KINDS
def test_arrays_and_lists(tmp_path, is_folder):
    totals = make(tmp_path, is_folder)
    assert totals == (RECORDS, 2, 18, 2 * 0 + sum(i % 3 for i in GOOD))
    expected = values(GOOD)
    found = arrays_of(tmp_path, is_folder)
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    output = output_of(tmp_path, is_folder)
    rows = rows_of(output.beside('rows.csv'))
    assert [int(row['row']) for row in rows] == list(range(18))
    assert [int(row['video_id']) - 10**12 for row in rows] == np.repeat(GOOD, ROWS).tolist()
    assert list(rows[0].values()) == [
        '0', 'k00', '/v/0\udce9.mp4', '0', '1000000000000', '0', '0.100', '',
    ]  # fmt: skip
    failures = rows_of(output.beside('failures.csv'))
    assert [(row['record'], row['reason']) for row in failures] == [
        ('k01', 'too few frames'), ('k07', 'too few frames'),
    ]  # fmt: skip
    note = json.loads(output.beside('arguments.json').read_text())
    assert note == {
        'output': output.path.name, 'arguments': ARGUMENTS, 'totals': list(totals),
    }  # fmt: skip
    assert not output.partial.exists()


def test_names_of_the_lists(tmp_path):
    make(tmp_path, is_folder=False)
    assert set(tree(tmp_path)) == {
        'f.pkl', 'f.rows.csv', 'f.failures.csv', 'f.arguments.json',
    }  # fmt: skip
    make(tmp_path, is_folder=True)
    assert {name for name in tree(tmp_path) if name.startswith('f/')} == {
        'f/x.npy', 'f/y.npy', 'f/rows.csv', 'f/failures.csv', 'f/arguments.json',
    }  # fmt: skip


@KINDS
def test_a_list_of_failures_only_if_there_are_some(tmp_path, is_folder, monkeypatch):
    make(tmp_path, is_folder)
    assert output_of(tmp_path, is_folder).beside('failures.csv').exists()
    monkeypatch.setattr('store_rows.FAILED', set())
    make(tmp_path, is_folder, overwrite=True)
    assert not output_of(tmp_path, is_folder).beside('failures.csv').exists()
    assert len(arrays_of(tmp_path, is_folder)['x']) == RECORDS * ROWS


class Crash(BaseException):
    """Ends the process, as far as the code that it goes through can tell."""


def crash_at(monkeypatch, step):
    """Let the `step`th change of a name, or write of a list or array, raise Crash instead."""
    done = []

    def counted(function):
        def call(*args, **options):
            done.append(function)
            if len(done) == step + 1:
                raise Crash
            return function(*args, **options)

        return call

    for owner, name in (
        (pathlib.Path, 'replace'), (pathlib.Path, 'unlink'), (pathlib.Path, 'mkdir'),
        (os, 'unlink'), (os, 'rmdir'),  # of shutil.rmtree
        (publish.array_pickle, '_write_array'), (publish, '_row'),
        (publish, 'sync'), (publish, 'write_arguments'),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    return done


def crashes(monkeypatch, start, run):
    """Run `run` in copies of the folder `start`, with a crash at each of its steps in turn.

    Yields each copy after the crash.
    """
    for step in range(1000):
        folder = start.with_name(f'after {step} steps')
        shutil.copytree(start, folder)
        with monkeypatch.context() as patch:
            crash_at(patch, step)
            try:
                run(folder)
            except Crash:
                pass
            else:
                assert step > 30, 'too few steps to tell'
                return
        yield folder


@KINDS
def test_a_crash_at_any_point_and_again_gives_the_same_bytes(tmp_path, monkeypatch, is_folder):
    (tmp_path / 'whole').mkdir()
    (tmp_path / 'empty').mkdir()
    make(tmp_path / 'whole', is_folder)
    for folder in crashes(monkeypatch, tmp_path / 'empty', lambda f: make(f, is_folder)):
        make(folder, is_folder)
        assert tree(folder) == tree(tmp_path / 'whole'), folder.name


@KINDS
def test_a_crash_while_replacing_leaves_nothing_half_done(tmp_path, monkeypatch, is_folder):
    """What is there under the name is of one run or the other, and never stays in the way."""
    (tmp_path / 'old').mkdir()
    (tmp_path / 'new').mkdir()
    with monkeypatch.context() as patch:
        patch.setattr('store_rows.FAILED', {2, 3, 4})
        make(tmp_path / 'old', is_folder, arguments={**ARGUMENTS, 'seed': 1})
    make(tmp_path / 'new', is_folder)
    whole = [tree(tmp_path / 'old'), tree(tmp_path / 'new')]

    def replace(folder):
        make(folder, is_folder, overwrite=True)

    for folder in crashes(monkeypatch, tmp_path / 'old', replace):
        output, left = output_of(folder, is_folder), tree(folder)
        is_there = output.path.exists()
        if is_there:
            shown = {name: left[name] for name in left if '.partial' not in name}
            assert shown in whole, folder.name
        make(folder, is_folder, overwrite=is_there)
        assert tree(folder) == whole[1], folder.name


@KINDS
def test_a_complete_output_is_left_alone(tmp_path, is_folder):
    totals = make(tmp_path, is_folder)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    assert make(tmp_path, is_folder) == totals
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before
    with pytest.raises(InputError, match='seed was 0 and is 1'):
        make(tmp_path, is_folder, arguments={**ARGUMENTS, 'seed': 1})
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before


@KINDS
def test_a_run_that_did_nothing_binds_nobody(tmp_path, is_folder):
    partial = output_of(tmp_path, is_folder).partial
    with open_store(partial):
        pass
    with open_store(partial, arguments={**ARGUMENTS, 'seed': 1}) as store:
        assert store.done == 0
        fill(store, 6)
    with pytest.raises(InputError, match='seed was 1 and is 0'), open_store(partial):
        pass


def test_two_pickles_do_not_share_lists(tmp_path):
    make(tmp_path, is_folder=False)
    other = FeatureOutput(tmp_path / 'f.pickle', is_folder=False)
    for overwrite in (False, True):
        with pytest.raises(InputError, match='f.arguments.json is of f.pkl; name another'):
            other.finished(ARGUMENTS, overwrite=overwrite)


@KINDS
def test_whether_one_is_there_of_other_arguments(tmp_path, is_folder):
    output, other = output_of(tmp_path, is_folder), {**ARGUMENTS, 'seed': 1}
    assert not output.differs(ARGUMENTS)
    with open_store(output.partial) as store:
        assert not output.differs(other), 'nothing is done yet'
        fill(store, 6)
    assert (output.differs(ARGUMENTS), output.differs(other)) == (False, True)
    make(tmp_path, is_folder)
    assert (output.differs(ARGUMENTS), output.differs(other)) == (False, True)


@KINDS
@pytest.mark.parametrize('note', [None, '', '[1]', '{"arguments": {}}', 'not JSON'])
def test_what_does_not_say_what_it_is_stays(tmp_path, is_folder, note):
    output = output_of(tmp_path, is_folder)
    if is_folder:
        output.path.mkdir()
        (output.path / 'mine').write_text('mine')
    else:
        output.path.write_text('mine')
    if note is not None:
        output.beside('arguments.json').write_text(note)
    with pytest.raises(InputError, match='f.* is there already, and not known to be of this run'):
        make(tmp_path, is_folder)
    assert 'mine' in ''.join(path.read_text() for path in tmp_path.rglob('*') if path.is_file())
    if is_folder:
        with pytest.raises(InputError, match='f holds mine, which is not of features'):
            make(tmp_path, is_folder, overwrite=True)
        (output.path / 'mine').unlink()
    make(tmp_path, is_folder, overwrite=True)
    assert len(arrays_of(tmp_path, is_folder)['y']) == 18


@KINDS
@pytest.mark.parametrize('overwrite', [False, True])
def test_another_process_at_work_is_left_alone(tmp_path, is_folder, overwrite):
    if not overwrite:
        make(tmp_path, is_folder)  # the other one replaces it
    with open_store(output_of(tmp_path, is_folder).partial) as store:
        fill(store, 6)
        with pytest.raises(InputError, match='f.*partial is being written by process'):
            make(tmp_path, is_folder, overwrite=overwrite)
        fill(store)
        output_of(tmp_path, is_folder).finish(store, ARGUMENTS)
    assert len(arrays_of(tmp_path, is_folder)['x']) == 18


@KINDS
def test_nothing_but_failures_is_an_error_that_can_be_put_right(tmp_path, monkeypatch, is_folder):
    with monkeypatch.context() as patch:
        patch.setattr('store_rows.FAILED', set(range(RECORDS)))
        message = 'none of 11 records can be used; record k00: too few .*/failures.csv$'
        with pytest.raises(InputError, match=message):
            make(tmp_path, is_folder)
    output = output_of(tmp_path, is_folder)
    left = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert left == [output.partial / 'failures.csv']
    assert [row['record'] for row in rows_of(left[0])] == [f'k{i:02}' for i in range(RECORDS)]
    assert output.finished(ARGUMENTS, overwrite=False) is None
    assert not left[0].exists(), 'it would seem to be of the next run'
    with open_store(output.partial, arguments={**ARGUMENTS, 'seed': 1}) as store:
        assert store.done == 0, 'it binds nobody'
    assert make(tmp_path, is_folder).failed == 2
    assert not output.partial.exists()


@KINDS
def test_nothing_but_failures_leaves_what_is_there(tmp_path, monkeypatch, is_folder):
    make(tmp_path, is_folder)
    whole = tree(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr('store_rows.FAILED', set(range(RECORDS)))
        with pytest.raises(InputError, match='none of 11 records can be used'):
            make(tmp_path, is_folder, overwrite=True)
    listed = output_of(tmp_path, is_folder).partial / 'failures.csv'
    assert tree(tmp_path) == {**whole, str(listed.relative_to(tmp_path)): listed.read_bytes()}
    assert make(tmp_path, is_folder).failed == 2
    assert tree(tmp_path) == whole


@pytest.mark.parametrize(
    ('path', 'is_folder', 'message'),
    [
        ('file/f.pkl', False, 'file is a file, and no folder for f.pkl'),
        ('.', True, r'output_path \. is no name of a file or folder'),
        ('..', True, r'output_path \.\. is no name of a file or folder'),
        ('/', True, 'output_path / is no name of a file or folder'),
        ('folder', False, 'output_path folder is a folder; output_format pickle writes a file'),
        ('file', True, 'output_path file is a file; output_format npy writes a folder'),
        ('x.npy', False, 'x.npy is the name of a file of one array, and a pickle is made'),
        ('x.parquet', False, 'x.parquet is the name of a Parquet file, and a pickle is made'),
    ],
)
def test_paths_that_cannot_be_used(tmp_path, monkeypatch, path, is_folder, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match=message):
        FeatureOutput(path, is_folder=is_folder)


def test_what_does_not_fit_into_a_pickle(tmp_path):
    columns = {'label': Column((), 'int32'), 'x': Column((1 << 20,), 'float32')}
    output_of(tmp_path, False).check(columns, 255)
    output_of(tmp_path, True).check(columns, 256)
    with pytest.raises(InputError, match='x of 256 clips has 1.1 GB; a pickle .*--output_format'):
        output_of(tmp_path, False).check(columns, 256)


def test_a_full_disk_is_an_error_and_not_the_end(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(publish.array_pickle, 'write', full)
        with pytest.raises(OSError, match='No space left'):
            make(tmp_path, is_folder=False)
    assert not (tmp_path / 'f.pkl').exists()
    make(tmp_path, is_folder=False)
    assert len(rows_of(tmp_path / 'f.failures.csv')) == 2


def test_memory_of_a_pickle_of_64_megabytes(tmp_path):
    column = {'x': Column((4096,), 'float32')}
    count = (64 << 20) // column['x'].row_bytes // ROWS
    output = output_of(tmp_path, is_folder=False)
    with open_store(output.partial, columns=column, records=count) as store:
        row = np.full((ROWS, 4096), -1, np.float32)
        for index in range(count):
            store.add([entry(0)._replace(index=index)], {'x': row})
        tracemalloc.start()
        output.finish(store, ARGUMENTS)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert output.path.stat().st_size > 64 << 20
    assert peak < 40 << 20
