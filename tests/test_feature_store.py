"""Arrays that are filled in any order, and what an interruption leaves of them."""

import contextlib
import json
import os
import shutil
import tracemalloc

import numpy as np
import pytest

from r2plus1d.errors import InputError
from r2plus1d.features import store as store_module
from r2plus1d.features.npy_rows import Column, NpyFile
from r2plus1d.results.arguments import differing, require_same
from store_rows import (
    ARGUMENTS,
    BATCH,
    COLUMNS,
    FAILED,
    ORDER,
    RECORDS,
    ROWS,
    entry,
    fill,
    open_store,
    values,
)


def assert_full(store):
    assert store.done == RECORDS
    assert [e.index for e in store.entries()] == list(range(RECORDS))
    failed = store.failed()
    assert failed.tolist() == [index in FAILED for index in range(RECORDS)]
    expected = values([index for index in range(RECORDS) if index not in FAILED])
    for name in COLUMNS:
        found = np.concatenate(list(store.blocks(name, failed)))
        assert found.dtype == COLUMNS[name].dtype
        np.testing.assert_array_equal(found, expected[name])


@pytest.mark.parametrize('block', [1, 100, 10**6])
def test_rows_come_in_the_order_of_the_records(tmp_path, monkeypatch, block):
    monkeypatch.setattr(store_module, 'BLOCK_BYTES', block)
    with open_store(tmp_path / 'p') as store:
        fill(store)
        assert_full(store)


def test_a_batch_of_failures_has_no_arrays(tmp_path):
    with open_store(tmp_path / 'p') as store:
        store.add([entry(min(FAILED))], {})
        assert store.done == 1
        with pytest.raises(AssertionError, match='x'):  # rows that are not those of the records
            store.add([entry(0)], {name: array[:1] for name, array in values([0]).items()})


def test_entries_come_back_as_they_were(tmp_path):
    with open_store(tmp_path / 'p') as store:
        fill(store)
        for found in store.entries():
            expected = entry(found.index)
            as_lists = expected._replace(labels=list(expected.labels))
            assert found == as_lists._replace(
                starts=list(expected.starts) or found.starts,
                seconds=list(expected.seconds) or found.seconds,
            )


@pytest.mark.parametrize('until', [0, 3, 6, 9])
def test_it_goes_on_where_it_was(tmp_path, until):
    with open_store(tmp_path / 'p') as store:
        fill(store, until)
    with open_store(tmp_path / 'p') as store:
        assert store.done == until
        fill(store)
        assert_full(store)
    with open_store(tmp_path / 'p') as store:
        assert_full(store)


def torn(journal):
    """What a journal may be after a crash, by name."""
    lines = journal.splitlines(keepends=True)
    cuts = {f'cut at byte {n}': journal[:n] for n in range(0, len(journal), 37)}
    for count in range(len(lines) + 1):
        whole = b''.join(lines[:count])
        cuts[f'{count} lines'] = whole
        cuts[f'{count} lines, no line feed'] = whole[:-1]
        cuts[f'{count} lines and NULs'] = whole + b'\0' * 512
        cuts[f'{count} lines and garbage'] = whole + b'\xff\xfe{]\n["'
        cuts[f'{count} lines and one of another kind'] = whole + b'5\n{"a": 1}\n[0]\n'
        cuts[f'{count} lines, NULs, the rest'] = whole + b'\0' * 64 + b''.join(lines[count:])
    return cuts


def test_any_torn_journal_is_gone_on_with(tmp_path):
    with open_store(tmp_path / 'whole') as store:
        fill(store)
    journal = (tmp_path / 'whole' / 'journal.jsonl').read_bytes()
    ends = [0, *np.cumsum([len(line) for line in journal.splitlines(keepends=True)])]
    for number, (name, content) in enumerate(torn(journal).items()):
        folder = tmp_path / str(number)
        with open_store(folder) as store:
            fill(store)  # the arrays are ahead of the journal
        (folder / 'journal.jsonl').write_bytes(content)
        with open_store(folder) as store:
            same = next((i for i, (a, b) in enumerate(zip(content, journal)) if a != b), None)
            same = min(len(content), len(journal)) if same is None else same
            lines = sum(end <= same for end in ends) - 1
            assert store.done == (lines if lines == RECORDS else lines - lines % BATCH), name
            fill(store)
            assert_full(store)
        assert (folder / 'journal.jsonl').read_bytes() == journal, name


def test_arrays_whose_rows_are_lost_behind_the_journal_are_filled_again(tmp_path):
    """The journal says nothing of rows that were not on the disk before."""
    with open_store(tmp_path / 'p') as store:
        fill(store, 6)
        store.sync()
        journal = (tmp_path / 'p' / 'journal.jsonl').read_bytes()
        fill(store, 9)
    (tmp_path / 'p' / 'journal.jsonl').write_bytes(journal)
    with contextlib.closing(
        NpyFile(tmp_path / 'p' / 'x.npy', COLUMNS['x'], RECORDS * ROWS)
    ) as array:
        for index in ORDER[6:9]:
            array.write(np.full((ROWS, 3), np.nan), index * ROWS)
    with open_store(tmp_path / 'p') as store:
        fill(store)
        assert_full(store)


@pytest.mark.parametrize('gone', ['arguments.json', 'x.npy', 'y.npy'])
def test_without_one_of_its_files_it_begins_again(tmp_path, gone):
    """A power failure, or a removal that was interrupted, can leave the journal alone."""
    with open_store(tmp_path / 'p') as store:
        fill(store, 9)
    (tmp_path / 'p' / gone).unlink()
    (tmp_path / 'p' / 'complete').mkdir()
    if gone == 'arguments.json':
        (tmp_path / 'p' / 'complete' / 'x.npy').write_text('of who knows what')
    with open_store(tmp_path / 'p') as store:
        assert store.done == 0
        fill(store)
        assert_full(store)


def test_an_interruption_while_the_journal_is_written_counts_no_record_twice(tmp_path, monkeypatch):
    calls = []
    real = os.fsync

    def fsync(descriptor):
        real(descriptor)
        calls.append(descriptor)
        if len(calls) == 3:  # two arrays, then the journal
            raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', fsync)
    with pytest.raises(KeyboardInterrupt), open_store(tmp_path / 'p') as store:
        calls.clear()
        fill(store, 6)
        store.sync()
    with open_store(tmp_path / 'p') as store:
        assert store.done == 6
        fill(store)
        assert_full(store)


def test_rows_reach_the_disk_before_the_journal(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(NpyFile, 'sync', lambda self: done.append('array'))
    monkeypatch.setattr(os, 'fsync', lambda descriptor: done.append('journal'))
    with open_store(tmp_path / 'p') as store:
        fill(store, 3)
        done.clear()
        store.sync()
    assert done == ['array', 'array', 'journal']


def test_it_is_synced_as_time_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, 'SECONDS_BETWEEN_SYNCS', -1)
    with open_store(tmp_path / 'p') as store:
        fill(store, 6)
        assert len((tmp_path / 'p' / 'journal.jsonl').read_bytes().splitlines()) == 6


def test_two_at_once_are_refused(tmp_path):
    with open_store(tmp_path / 'p') as store:
        fill(store, 3)
        with pytest.raises(InputError, match='p is being written by process'):
            open_store(tmp_path / 'p')
        fill(store)
        assert_full(store)
    with open_store(tmp_path / 'p'):
        pass


def test_a_store_in_which_nothing_was_begun_goes(tmp_path, monkeypatch):
    with open_store(tmp_path / 'new' / 'p'):
        assert (tmp_path / 'new' / 'p' / 'x.npy').exists()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(store_module, 'write_arguments', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        open_store(tmp_path / 'new' / 'p')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('removes', ['discard', 'close'])
def test_a_run_that_begins_while_the_folder_is_removed_keeps_its_files(
    tmp_path, monkeypatch, removes
):
    folder, begun, rmtree = tmp_path / 'p', [], shutil.rmtree

    def begin_meanwhile(path, **options):
        rmtree(path, **options)
        if not begun and not folder.exists():
            begun.append(open_store(folder))
            rmtree(path, **options)  # as it is when the removal takes long

    store = open_store(folder)
    if removes == 'discard':
        fill(store)
        store.__exit__()
    monkeypatch.setattr(shutil, 'rmtree', begin_meanwhile)
    store_module.discard(folder) if removes == 'discard' else store.__exit__()
    with begun[0] as store:
        fill(store)
        assert_full(store)
    assert [path.name for path in tmp_path.iterdir()] == ['p']


def test_what_an_interrupted_removal_left_goes_with_the_next_one(tmp_path):
    (tmp_path / 'p.removed' / 'complete').mkdir(parents=True)
    with open_store(tmp_path / 'p') as store:
        fill(store)
    store_module.discard(tmp_path / 'p')
    assert list(tmp_path.iterdir()) == []


def test_other_arguments_are_refused_and_named(tmp_path):
    with open_store(tmp_path / 'p') as store:
        fill(store, 3)
    other = {'features': 'x', 'width': 0.5, 'seed': 0}
    with pytest.raises(InputError, match='features was x,y and is x; width was not set and is 0.5'):
        open_store(tmp_path / 'p', arguments=other)
    with open_store(tmp_path / 'p') as store:
        assert store.done == 3


def test_arguments_are_compared_as_they_are_stored():
    require_same('p', {'a': [1, 2], 'b': 0.1}, {'a': (1, 2), 'b': 0.1})
    with pytest.raises(InputError, match=r'p was made with other .* a was \[1\] and is \[1, 2\]'):
        require_same('p', {'a': [1]}, {'a': (1, 2)})


def test_damaged_arguments_begin_again(tmp_path):
    with open_store(tmp_path / 'p') as store:
        fill(store, 3)
    (tmp_path / 'p' / 'arguments.json').write_bytes(b'')
    with open_store(tmp_path / 'p') as store:
        assert store.done == 0
    assert json.loads((tmp_path / 'p' / 'arguments.json').read_text()) == ARGUMENTS


@pytest.mark.parametrize('column', [Column((3, 2), 'float32'), Column((), 'int64')])
@pytest.mark.parametrize('count', [0, 1, 5])
def test_npy_files_are_those_of_numpy(tmp_path, column, count):
    rows = np.random.default_rng(0).integers(0, 99, (count, *column.shape)).astype(column.dtype)
    with contextlib.closing(NpyFile(tmp_path / 'a.npy', column, count)) as array:
        for place in reversed(range(count)):
            array.write(rows[place : place + 1], place)
        np.testing.assert_array_equal(array.read(0, count), rows)
        np.testing.assert_array_equal(array.read(count // 2, count), rows[count // 2 :])
    np.save(tmp_path / 'b.npy', rows)
    assert (tmp_path / 'a.npy').read_bytes() == (tmp_path / 'b.npy').read_bytes()


def test_rows_of_another_shape_are_our_mistake(tmp_path):
    with (
        contextlib.closing(NpyFile(tmp_path / 'a.npy', Column((3,), 'float32'), 4)) as array,
        pytest.raises(AssertionError),
    ):
        array.write(np.zeros((1, 4)), 0)


def test_memory_of_arranging_64_megabytes(tmp_path):
    column = {'x': Column((4096,), 'float32')}
    count = (64 << 20) // column['x'].row_bytes // ROWS
    with open_store(tmp_path / 'p', columns=column, records=count) as store:
        row = np.ones((BATCH * ROWS, 4096), np.float32)
        for begin in range(0, count, BATCH):
            indices = range(begin, min(begin + BATCH, count))
            rows = row[: len(indices) * ROWS]
            store.add([entry(2)._replace(index=i) for i in indices], {'x': rows})
        failed = store.failed()
        failed[5] = True
        tracemalloc.start()
        store.complete_arrays(failed)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert np.load(tmp_path / 'p' / 'complete' / 'x.npy', 'r').shape == ((count - 1) * ROWS, 4096)
    assert peak < 40 << 20


CPU = {'gpus': 'the CPU', 'batch_size': 4, 'cpu_replicas': 1, 'engine_threads': 0}
OTHER = {'gpus': '2 replicas on the CPU', 'batch_size': 5, 'cpu_replicas': 2, 'engine_threads': 3}


@pytest.mark.parametrize('engine', [None, 'caffe2', 'openvino'])
def test_what_changes_no_bit_on_a_cpu_is_no_difference(engine):
    assert differing({**CPU, 'engine': engine}, {**OTHER, 'engine': engine}) == []


def test_threads_and_replicas_of_pytorch_are_a_difference():
    torch = {**CPU, 'engine': 'torch'}
    assert differing(torch, {**torch, 'batch_size': 5}) == []
    assert differing(torch, {**torch, 'engine_threads': 3}) == ['engine_threads']
    replicas = {**torch, 'gpus': '2 replicas on the CPU', 'cpu_replicas': 2}
    assert differing(torch, replicas) == ['cpu_replicas', 'gpus']
    assert differing(replicas, {**replicas, 'batch_size': 5}) == ['batch_size']


def test_a_gpu_computes_batches():
    gpu = {**CPU, 'gpus': 'GPU 0', 'engine': 'torch'}
    assert differing(gpu, {**gpu, 'batch_size': 5}) == ['batch_size']
    assert differing({**CPU, 'engine': 'torch'}, gpu) == ['gpus']


def test_of_a_number_of_batches_their_size_decides_the_records():
    limited = {**CPU, 'num_iterations': 3}
    assert differing(limited, {**limited, 'engine_threads': 3}) == []
    assert differing(limited, {**limited, 'batch_size': 5}) == ['batch_size']


def test_a_journal_that_says_nothing_is_empty_before_its_new_arguments_are_written(
    tmp_path, monkeypatch
):
    with open_store(tmp_path / 'f.partial') as store:
        fill(store)
    (tmp_path / 'f.partial' / 'arguments.json').unlink()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, 'write_arguments', fail)
    with pytest.raises(KeyboardInterrupt):
        open_store(tmp_path / 'f.partial')
    assert not store_module.is_begun(tmp_path / 'f.partial')


@pytest.mark.parametrize('block', [1, 60, 10**6])
def test_complete_arrays_have_the_rows_that_did_not_fail(tmp_path, monkeypatch, block):
    monkeypatch.setattr(store_module, 'BLOCK_BYTES', block)
    with open_store(tmp_path / 'p') as store:
        fill(store)
        store.complete_arrays(store.failed())
        found = {name: np.load(store.complete(name)) for name in COLUMNS}
    for name, array in values([i for i in range(RECORDS) if i not in FAILED]).items():
        np.testing.assert_array_equal(found[name], array)


def test_without_a_batch_it_goes_on_after_any_record(tmp_path):
    known = {'num_records': RECORDS, 'rows': ROWS, 'arguments': ARGUMENTS}
    for done in range(4):
        with store_module.Store(tmp_path / 'p', COLUMNS, **known) as store:
            assert store.done == done
            store.add([entry(0)], values([0]))


def test_arrays_have_the_permissions_of_other_files(tmp_path):
    (tmp_path / 'plain').touch()
    with contextlib.closing(NpyFile(tmp_path / 'a.npy', Column((), 'int64'), 1)):
        pass
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes['a.npy'] == modes['plain']
