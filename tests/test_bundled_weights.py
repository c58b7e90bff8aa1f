"""The first README command without any setting: real accuracy from weights trained here."""

import os
import pickle
import pickletools
import re
import shutil
import subprocess

import pytest

from conftest import ROOT

pytest.importorskip('caffe2.python', reason='needs Caffe2')

WEIGHTS = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'


def test_the_sample_is_recognized(sample_videos, tmp_path):
    sample = shutil.copytree(sample_videos, tmp_path / 'sample')
    environment = {k: v for k, v in os.environ.items() if k not in ('TEST_DATA', 'MODEL')}
    environment.update(SAMPLE=str(sample), CLIPS='2')
    result = subprocess.run(
        [shutil.which('dash') or 'sh', str(ROOT / 'scripts' / 'test_r2plus1d_kinetics.sh')],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith('videos: 40, scored: 40, failed: 0\n')
    assert float(re.search(r'top 1: ([\d.]+)', result.stdout).group(1)) >= 0.9
    assert 'For Kinetics: TEST_DATA=' in result.stderr


def test_plain_pickle_reads_the_weights():
    content = WEIGHTS.read_bytes()
    assert len(content) <= 2e6
    blobs = pickle.loads(content)['blobs']
    assert blobs['conv1_w'].shape == (8, 6, 3, 1, 1)
    # Python 2 knows protocol 2 at most, and these names.
    names = {value for op, value, _ in pickletools.genops(content) if op.name == 'GLOBAL'}
    assert names <= {
        'numpy.core.multiarray _reconstruct', 'numpy ndarray', 'numpy dtype', '_codecs encode',
    }  # fmt: skip
    assert max(op.proto for op, _, _ in pickletools.genops(content)) <= 2
