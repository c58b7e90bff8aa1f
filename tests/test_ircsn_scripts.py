"""The scripts of ir-CSN with nothing set: the published steps on the bundled sample."""

import pickle
import shutil

import pytest

from r2plus1d.backends.installed import has
from shell_scripts import run_script

needs_engine = pytest.mark.skipif(
    not (has('openvino') or has('caffe2')), reason='needs OpenVINO or Caffe2'
)


@pytest.fixture
def sample(sample_videos, tmp_path):
    """The bundled sample, with what the scripts made before in it."""
    folder = shutil.copytree(sample_videos, tmp_path / 'sample')
    (folder / 'random_ir-csn_50_8_w0.125.pkl').touch()
    return folder


@needs_engine
def test_accuracy_with_three_crops(sample, tmp_path):
    done = run_script(
        'test_ircsn_kinetics.sh', '--num_iter=2', f'--output={tmp_path / "p.csv"}',
        cwd=tmp_path, SAMPLE=str(sample), CLIPS='1',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'The accuracy is that of guessing' in done.stderr
    assert done.stdout.startswith('videos: 2, scored: 2, failed: 0\n')
    rows = (tmp_path / 'p.csv').read_text().splitlines()
    assert [row.rpartition(',')[2] for row in rows] == ['clips', '3', '3']


@needs_engine
def test_features(sample, tmp_path):
    done = run_script(
        'extract_feature_kinetics_ircsn.sh', '--num_iterations=2', cwd=tmp_path,
        SAMPLE=str(sample), OUTPUT=str(tmp_path / 'out'), STRIDE='40',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'random weights' in done.stderr
    assert sorted(path.name for path in (tmp_path / 'out').glob('*.pkl')) == [
        'clips_1.pkl',
        'clips_2.pkl',
    ]
    content = pickle.loads((tmp_path / 'out' / 'clips_1.pkl').read_bytes())
    assert content['final_avg'].shape == (8, 256, 1, 1, 1)
    assert content['softmax'].shape == (8, 8)


@pytest.mark.parametrize('script', ['test_ircsn_kinetics.sh', 'extract_feature_kinetics_ircsn.sh'])
def test_one_of_the_two_is_not_enough(tmp_path, script):
    done = run_script(script, cwd=tmp_path, MODEL='irCSN_152_ft_kinetics_from_ig65m')
    assert done.returncode == 2
    assert 'set TEST_DATA' in done.stderr
