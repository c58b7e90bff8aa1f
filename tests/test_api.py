"""`import r2plus1d`: the same results as the tools, the same errors, light to import."""

import dataclasses
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import r2plus1d
from conftest import ROOT
from r2plus1d.results.failures import FailureList
from tool_here import run_here

SAMPLE = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
PAGE = (ROOT / 'docs' / 'python.md').read_text()
EXAMPLES = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)


@pytest.fixture(scope='session')
def sample(sample_videos, tmp_path_factory):
    """A folder with data/sample in it: the bundled weights, the videos and their database."""
    folder = tmp_path_factory.mktemp('checkout')
    target = folder / 'data' / 'sample'
    shutil.copytree(sample_videos, target)
    done = run_here(
        'data/create_video_db.py', f'--list_file={target}/test_list.csv', '--use_list=0',
        f'--output_file={target}/test_lmdb', '--use_video_id=1',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (target / SAMPLE.name).write_bytes(SAMPLE.read_bytes())
    return folder


def test_importing_it_takes_no_time_and_no_framework():
    code = (
        'import time; t = time.process_time(); import sys, r2plus1d\n'
        'print(time.process_time() - t)\n'
        'r2plus1d.load, r2plus1d.predict\n'
        'print({"torch", "caffe2", "openvino", "onnx", "nncf", "matplotlib"} & set(sys.modules))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    seconds, frameworks = done.stdout.splitlines()
    assert float(seconds) < 0.3
    assert frameworks == 'set()'


def test_every_name_is_there():
    for name in dir(r2plus1d):
        assert getattr(r2plus1d, name) is not None
    with pytest.raises(AttributeError, match='has no train; it has ClipPrediction, Devices, '):
        r2plus1d.train  # noqa: B018


@pytest.mark.parametrize('example', EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_the_page(sample, example, monkeypatch, capsys):
    monkeypatch.chdir(sample)
    exec(example, {})
    first = capsys.readouterr().out.splitlines()[0]
    digits = re.compile(r'\d\.\d+(e-\d+)?')
    assert digits.sub('N', first) in digits.sub('N', PAGE)


def test_predict_gives_a_prediction_or_a_reason(sample, tmp_path):
    model = r2plus1d.load(SAMPLE)
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    good = sorted((sample / 'data/sample/videos/test').glob('left_00*'))[0]
    first, second = r2plus1d.predict(model, [good, tmp_path / 'broken.mp4'], clips=2)
    assert first.classes[0][0] == 'left'
    assert first.failure is None
    assert first.probabilities.shape == (8,)
    assert abs(first.probabilities.sum() - 1) < 1e-5
    assert (second.classes, len(second.probabilities)) == ((), 0)
    assert 'not a video' in second.failure


def test_evaluate_is_the_tool(sample, run_tool, tmp_path):
    model = r2plus1d.load(SAMPLE)
    database = sample / 'data' / 'sample' / 'test_lmdb'
    paths = {'output': tmp_path / 'a.csv', 'failures': tmp_path / 'f.csv'}
    result = r2plus1d.evaluate(model, database, clips=1, **paths)
    done = run_tool(
        'tools/test_net.py', f'--test_data={database}', f'--load_model_path={SAMPLE}',
        '--clip_per_video=1', f'--output={tmp_path / "b.csv"}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f'Test accuracy: {result.score}\n' in done.stdout
    assert (tmp_path / 'a.csv').read_bytes() == (tmp_path / 'b.csv').read_bytes()


def test_an_evaluation_goes_on_where_it_ended(make_video, make_database, tmp_path):
    model = r2plus1d.load(SAMPLE)
    videos = [(make_video(30 + i).read_bytes(), i) for i in range(3)]
    database = make_database([*videos[:2], (b'damaged', 0), videos[2]])
    given = {'clips': 1, 'output': tmp_path / 'a.csv'}
    ended = r2plus1d.evaluate(model, database, batch_size=2, stop_at_failure=True, **given)
    assert (ended.scored, ended.failed, ended.ended) == (2, 1, 'record 2 failed')
    assert not (tmp_path / 'a.csv').exists()
    with pytest.raises(r2plus1d.InputError, match='was made with other arguments: clips was 1 and'):
        r2plus1d.evaluate(model, database, batch_size=2, **{**given, 'clips': 2})
    same = {'clips': np.int64(1), 'precision': 'fp32', 'cache': tmp_path / 'cache'}
    whole = r2plus1d.evaluate(model, database, batch_size=2, **{**given, **same})
    assert (whole.scored, whole.failed) == (3, 1)
    assert len((tmp_path / 'a.csv').read_text().splitlines()) == 4
    assert not list(tmp_path.glob('a.csv.*'))
    assert (tmp_path / 'failures.csv').exists()


def test_an_evaluation_without_an_output_writes_nothing(
    make_video, make_database, tmp_path, monkeypatch, caplog
):
    database = make_database([(make_video(30).read_bytes(), 0)] + [(b'damaged', 0)] * 21)
    monkeypatch.chdir(tmp_path)
    header = ','.join(FailureList.HEADER)
    (tmp_path / 'failures.csv').write_text(f'{header}\nof another run,,,\n')
    before = sorted(tmp_path.rglob('*'))
    result = r2plus1d.evaluate(r2plus1d.load(SAMPLE), database, clips=1)
    assert (result.scored, result.failed) == (1, 21)
    assert sorted(tmp_path.rglob('*')) == before
    assert 'of another run' in (tmp_path / 'failures.csv').read_text()
    assert 'more records fail; from here on they are only counted; failures=PATH' in caplog.text


def test_extract_is_the_tool(sample, run_tool, tmp_path):
    model = r2plus1d.load(SAMPLE)
    videos = sample / 'data' / 'sample' / 'videos' / 'test'
    totals = r2plus1d.extract(model, videos, tmp_path / 'a', features='final_avg,softmax', limit=8)
    assert (totals.records, totals.failed) == (8, 0)
    done = run_tool(
        'tools/extract_features.py', f'--videos={videos}', f'--load_model_path={SAMPLE}',
        '--features=final_avg,softmax', '--output_format=npy', f'--output_path={tmp_path / "b"}',
        '--num_iterations=1', '--batch_size=8',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for blob in ('final_avg', 'softmax'):
        ours, theirs = (np.load(tmp_path / name / f'{blob}.npy') for name in 'ab')
        np.testing.assert_array_equal(ours, theirs)


def test_features_of_other_weights_or_records_are_not_taken_for_these(make_video, tmp_path):
    model = r2plus1d.load(SAMPLE)
    paths = [make_video(40), make_video(44)]
    first = r2plus1d.extract(model, paths, tmp_path / 'a.pkl', limit=1)
    assert r2plus1d.extract(model, paths, tmp_path / 'a.pkl', limit=1) == first
    with pytest.raises(r2plus1d.InputError, match='limit was 1 and is not set'):
        r2plus1d.extract(model, paths, tmp_path / 'a.pkl')
    changed = {**model.parameters, 'conv1_w': model.parameters['conv1_w'] + 1}
    other = dataclasses.replace(model, parameters=changed)
    with pytest.raises(r2plus1d.InputError, match='weights was sha256 .* and is sha256'):
        r2plus1d.extract(other, paths, tmp_path / 'a.pkl', limit=1)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'colour': 1}, 'colour is no setting here; known: aggregation, batch_size, budget, cache'),
        ({'top': 1}, 'top is no setting here; did you mean top_k.; known: aggregation'),
        ({'decode_type': 'start', 'clips': 1}, 'files have no start frames'),
        ({'precision': 'int8'}, 'precision is int8'),
        ({'engine': 'tensorflow'}, 'tensorflow'),
    ],
)
def test_wrong_settings_are_one_line(make_video, settings, message):
    with pytest.raises(r2plus1d.InputError, match=message):
        r2plus1d.predict(r2plus1d.load(SAMPLE), make_video(40), **settings)


def test_to_torch_is_the_engine(make_video):
    from r2plus1d.backends.installed import has

    if not has('torch'):
        with pytest.raises(r2plus1d.InputError, match='to_torch needs PyTorch 2'):
            r2plus1d.load(SAMPLE).to_torch()
        return
    import torch

    model = r2plus1d.load(SAMPLE)
    module = model.to_torch()
    clips = np.random.default_rng(0).standard_normal((2, *model.network.data_shape), np.float32)
    with torch.inference_mode():
        values = module(torch.from_numpy(clips))
    assert {name: tuple(v.shape) for name, v in values.items()} == {
        'softmax': (2, 8), 'last_out_L8': (2, 8), 'final_avg': (2, 64, 1, 1, 1),
    }  # fmt: skip
    np.testing.assert_allclose(values['softmax'].sum(1), 1, rtol=1e-5)
