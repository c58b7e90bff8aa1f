"""The tools through each engine that is installed, and with an .onnx file in place of weights."""

import csv
import pickle

import numpy as np
import pytest

from r2plus1d.backends.installed import has
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.weights.files import save_pickle

pytest.importorskip('onnx', reason='needs ONNX')

NETWORK = Network('r2plus1d', 10, clip_length=8, num_labels=7, width=0.125)
FLAGS = ('--model_depth=10', '--clip_length_rgb=8', '--num_labels=7', '--width=0.125')
INSTALLED = [name for name in ('caffe2', 'openvino', 'torch') if has(name)]
RUN_ONNX = [name for name in INSTALLED if name != 'caffe2']
NAMES = [f'class {i}' for i in range(7)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where the weights are, w.pkl, and class names."""
    folder = tmp_path_factory.mktemp('model')
    save_pickle(folder / 'w.pkl', random_parameters(NETWORK, 0))
    (folder / 'names.txt').write_text('\n'.join(NAMES))
    return folder


@pytest.fixture
def onnx_file(folder, run_tool):
    path = folder / 'w.onnx'
    if not path.exists():
        made = run_tool(
            'tools/export_onnx.py', f'--load_model_path={folder / "w.pkl"}', *FLAGS,
            f'--labels={folder / "names.txt"}', f'--output={path}', '--scale_w=200',
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
    return path


@pytest.fixture
def database(make_video, make_database):
    return make_database(
        [(make_video(20 + i, seed=i).read_bytes(), i % 7, None, i) for i in range(5)]
    )


def predictions(path):
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    names = [[row[f'top{k}'] for k in (1, 2, 3)] for row in rows]
    return names, np.array([float(row['probability1']) for row in rows])


@pytest.mark.parametrize('engine', INSTALLED)
def test_the_same_predictions(engine, folder, database, run_tool, tmp_path):
    def run(name):
        done = run_tool(
            'tools/test_net.py', f'--test_data={database}', *FLAGS, f'--engine={name}',
            f'--load_model_path={folder / "w.pkl"}', f'--output={tmp_path / name}.csv',
            '--clip_per_video=2',
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f'engine {name}, fp32, on the CPU' in done.stderr
        return predictions(tmp_path / f'{name}.csv')

    (expected, share), (found, other) = run(INSTALLED[0]), run(engine)
    assert found == expected
    np.testing.assert_allclose(other, share, atol=1e-4)


@pytest.mark.parametrize('engine', RUN_ONNX)
def test_an_onnx_file_needs_no_flags(engine, folder, onnx_file, database, run_tool, tmp_path):
    common = (f'--test_data={database}', f'--engine={engine}', '--clip_per_video=2')
    done = run_tool(
        'tools/test_net.py', *common, f'--load_model_path={onnx_file}', '--output=onnx.csv'
    )
    assert done.returncode == 0, done.stderr
    flags = (*FLAGS, '--scale_w=200', f'--labels={folder / "names.txt"}', '--output=pkl.csv')
    plain = run_tool('tools/test_net.py', *common, *flags, f'--load_model_path={folder / "w.pkl"}')
    assert plain.returncode == 0, plain.stderr
    assert (tmp_path / 'onnx.csv').read_text() == (tmp_path / 'pkl.csv').read_text()
    assert set(predictions(tmp_path / 'onnx.csv')[0][0]) <= set(NAMES)


@pytest.mark.parametrize('engine', RUN_ONNX)
def test_features_of_videos_from_an_onnx_file(engine, onnx_file, make_video, run_tool, tmp_path):
    flags = ('--videos', make_video(40), f'--load_model_path={onnx_file}', f'--engine={engine}')
    done = run_tool('tools/extract_features.py', *flags, '--stride=8', '--output_path=f.pkl')
    assert done.returncode == 0, done.stderr
    features = pickle.loads((tmp_path / 'f.pkl').read_bytes())
    assert features['final_avg'].shape == (5, 64, 1, 1, 1)
    again = run_tool('tools/extract_features.py', *flags, '--stride=4', '--output_path=f.pkl')
    assert again.returncode == 1
    assert 'f.pkl was made with other arguments: stride was ' in again.stderr
    other = run_tool('tools/extract_features.py', *flags, '--features=conv1', '--output_path=g.pkl')
    assert other.returncode == 1
    assert 'gives softmax, last_out_L7, final_avg, not conv1' in other.stderr
    assert not list(tmp_path.glob('g.pkl*'))


def test_a_flag_that_contradicts_the_file(onnx_file, database, run_tool):
    flags = (f'--test_data={database}', f'--load_model_path={onnx_file}')
    for flag, message in (
        ('--clip_length_rgb=16', 'clip_length_rgb is 16, and '),
        ('--scale_w=171', 'scale_w is 171, and '),
        ('--model_depth=18', 'model_depth is 18, and '),
    ):
        done = run_tool('tools/test_net.py', *flags, flag)
        assert done.returncode == 1
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_blobs_of_an_onnx_file(onnx_file, run_tool):
    done = run_tool('tools/extract_features.py', f'--load_model_path={onnx_file}', '--list_blobs')
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        'blob', 'data', 'label', 'video_id', 'start_frame', 'final_avg', 'last_out_L7', 'softmax',
    ]  # fmt: skip


def test_caffe2_runs_no_onnx_file(onnx_file, database, run_tool):
    done = run_tool(
        'tools/test_net.py', f'--test_data={database}', f'--load_model_path={onnx_file}',
        '--engine=caffe2',
    )  # fmt: skip
    assert done.returncode == 1
    assert 'engine is caffe2, which ' in done.stderr
