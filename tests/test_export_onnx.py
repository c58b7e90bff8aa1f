"""tools/export_onnx.py, run as a user runs it."""

import hashlib
import subprocess
import sys

import pytest

from conftest import ROOT
from onnx_models import (
    TINY,
    assert_close,
    clips_of,
    parameters_of,
    proto_of,
    run_caffe2,
    run_openvino,
)
from r2plus1d.weights.files import save_pickle

pytest.importorskip('onnx', reason='needs ONNX')

from r2plus1d.weights import onnx_file as onnx_engine  # noqa: E402

FLAGS = ('--model_name=r2d', '--model_depth=10', '--clip_length_rgb=8', '--num_labels=5',
         '--width=0.0625')  # fmt: skip


@pytest.fixture
def export(run_tool, tmp_path):
    """Return a function that runs the tool on TINY's weights in tmp_path."""
    save_pickle(tmp_path / 'weights.pkl', parameters_of(TINY))

    def run(*arguments):
        flags = ('--load_model_path=weights.pkl', *FLAGS, *arguments)
        return run_tool('tools/export_onnx.py', *flags)

    return run


def test_export(export, tmp_path):
    (tmp_path / 'names.txt').write_text('walk\nrun\nsit\nstand\nfall\n')
    done = export('--labels=names.txt', '--sampling_rate_rgb=2', '--video_res_type=1')
    assert (done.returncode, done.stderr) == (0, '')
    lines = done.stdout.splitlines()
    assert lines[0].startswith('weights.onnx: 0.')
    assert lines[2:6] == [
        'takes data: float32 N x 3 x 8 x 112 x 112',
        'gives softmax: float32 N x 5',
        'gives last_out_L5: float32 N x 5',
        'gives final_avg: float32 N x 32 x 1 x 1 x 1',
    ]
    got = onnx_engine.read(tmp_path / 'weights.onnx')
    assert got.network == TINY
    assert got.class_names == ('walk', 'run', 'sit', 'stand', 'fall')
    assert (got.input.rate, got.input.video_res_type) == (2, 'short_edge')
    digest = hashlib.sha256((tmp_path / 'weights.pkl').read_bytes()).hexdigest()
    assert got.metadata['weights_sha256'] == digest
    expected = run_caffe2(TINY, parameters_of(TINY), got.outputs, clips_of(TINY))
    assert_close(run_openvino(proto_of(got), clips_of(TINY))[0], expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'names.txt', 'weights.onnx', 'weights.pkl',
    ]  # fmt: skip


def test_export_what_is_asked_for(export, tmp_path):
    done = export('--features=comp_0_sum_2, conv1', '--fold_batch_norm=0', '--output=new/my.onnx')
    assert done.returncode == 0
    got = onnx_engine.read(tmp_path / 'new' / 'my.onnx')
    assert (got.outputs, got.batch_norm_folded) == (('comp_0_sum_2', 'conv1'), False)


def test_export_needs_no_caffe2(tmp_path, export):
    code = (
        'import sys; sys.modules["caffe2"] = None\n'
        'sys.path.insert(0, sys.argv[1].rpartition("/")[0])\n'
        'import runpy; runpy.run_path(sys.argv.pop(1), run_name="__main__")'
    )
    command = [sys.executable, '-c', code, str(ROOT / 'tools' / 'export_onnx.py')]
    command += ['--load_model_path=weights.pkl', *FLAGS]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert onnx_engine.read(tmp_path / 'weights.onnx').network == TINY


def test_export_overwrites_only_when_told(export, tmp_path):
    (tmp_path / 'weights.onnx').write_bytes(b'as it was')
    done = export()
    assert done.returncode == 1
    assert done.stderr == (
        'export_onnx.py: weights.onnx is there already; --overwrite=1 replaces it\n'
    )
    assert (tmp_path / 'weights.onnx').read_bytes() == b'as it was'
    assert export('--overwrite=1').returncode == 0
    assert onnx_engine.read(tmp_path / 'weights.onnx').network == TINY


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (
            ['--features=softmax,comp_9_sum_2'],
            'features asks for comp_9_sum_2, which r2d_10_8_w0.0',
        ),
        (['--features='], 'features asks for nothing'),
        (['--output=model.bin'], 'output is model.bin; its name ends in .onnx'),
        (['--output=weights.pkl/model.onnx'], 'weights.pkl is a file, and no folder for model'),
        (['--labels=weights.pkl'], 'weights.pkl is not text in UTF-8'),
        (['--labels=absent.txt'], 'labels is absent.txt, no file and none of kinetics400'),
        (['--num_labels=6'], 'num_labels is 6, and weights.pkl is of 5; leave the flag out'),
        (['--input_type=flow', '--num_channels=3'], 'num_channels is 3; the input has 2'),
        (['--load_model_path=absent.pkl'], 'absent.pkl: no such weight file'),
        (['--load_model_path=weights.onnx'], 'weights.onnx, an .onnx file already'),
        (['--load_model_path='], '. is a folder, not a weight file'),
        (['--output=folder.onnx'], 'output is folder.onnx, a folder; name a file'),
    ],
)
def test_export_refuses_in_one_line(export, tmp_path, flags, message):
    if 'weights.onnx' in flags[0]:
        (tmp_path / 'weights.onnx').write_bytes(b'')
    (tmp_path / 'folder.onnx').mkdir()
    done = export(*flags)
    assert (done.returncode, done.stdout) == (1, '')
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / 'model.onnx').exists()
