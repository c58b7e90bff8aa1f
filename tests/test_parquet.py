"""tools/extract_features.py --output_format=parquet: a table of clips."""

import pickle
import sys

import numpy as np
import pytest

from extraction import FLAGS, rows_of, run_here, save_weights
from r2plus1d.errors import InputError
from r2plus1d.features import parquet
from r2plus1d.features.publish import FeatureOutput


def test_it_is_refused_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    monkeypatch.setattr(parquet.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match='output_format=parquet needs the package pyarrow'):
        FeatureOutput(tmp_path / 'x.parquet', is_folder=False, is_parquet=True)


@pytest.mark.parametrize('size', [1, 3, 5, 100])
def test_rows_are_regrouped(size):
    rows = np.arange(24).reshape(12, 2)
    blocks = [rows[:1], rows[1:1], rows[1:9], rows[9:]]
    found = list(parquet._regrouped(iter(blocks), size))
    np.testing.assert_array_equal(np.concatenate(found), rows)
    assert [len(group) for group in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < len(found[-1]) <= size


def test_the_table_has_what_the_pickle_has(make_video, make_database, tmp_path, monkeypatch):
    pytest.importorskip('pyarrow', reason='needs pyarrow')
    from pyarrow.parquet import read_table

    monkeypatch.setattr(parquet, 'GROUP_BYTES', 1000)  # several groups
    videos = [(make_video(20 + n, seed=n).read_bytes(), n, 2 * n, 10 + n) for n in range(5)]
    videos.insert(2, (b'no video \0', 1, 0, 99))
    database = make_database(videos)
    flags = (f'--test_data={database}', *FLAGS, save_weights(tmp_path),
             '--features=final_avg,softmax,label', '--max_failures=1')  # fmt: skip
    made = run_here(*flags, '--output_format=parquet', f'--output_path={tmp_path / "f.parquet"}')
    assert made.returncode == 0, made.stderr
    run_here(*flags, f'--output_path={tmp_path / "g.pkl"}')
    expected = pickle.loads((tmp_path / 'g.pkl').read_bytes())
    table = read_table(tmp_path / 'f.parquet')
    assert table.column_names == [
        'record', 'file', 'video_id', 'start_frame', 'start_seconds', 'end_seconds',
        'final_avg', 'softmax', 'label',
    ]  # fmt: skip
    assert table.schema.field('final_avg').metadata == {b'shape': b'64x1x1x1'}
    for blob in ('final_avg', 'softmax'):
        found = np.array(table[blob].to_pylist(), np.float32)
        np.testing.assert_array_equal(found, expected[blob].reshape(5, -1))
    assert table['label'].to_pylist() == expected['label'].tolist()
    rows = rows_of(tmp_path / 'f.rows.csv')
    assert table['record'].to_pylist() == [row['record'] for row in rows]
    assert table['video_id'].to_pylist() == [10, 11, 12, 13, 14]
    assert table['start_frame'].to_pylist() == [0, 2, 4, 6, 8]
    assert abs(table['end_seconds'].to_pylist()[0] - 0.32) < 1e-3
    again = run_here(*flags, '--output_format=parquet', f'--output_path={tmp_path / "f.parquet"}')
    assert 'is complete already' in again.stderr
