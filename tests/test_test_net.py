"""tools/test_net.py and its script, run as a user runs them."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.backends.installed import has
from r2plus1d.evaluation.metrics import average_precision
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.weights.files import save_pickle

NETWORK = Network('r2d', 10, clip_length=8, num_labels=7, width=0.125)
ON_GPUS = 'Caffe2' if has('caffe2') else 'PyTorch'  # what --engine=auto takes for a GPU
FLAGS = (
    '--model_name=r2d',
    '--model_depth=10',
    '--clip_length_rgb=8',
    '--num_labels=7',
    '--width=0.125',
    '--clip_per_video=3',
)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / 'weights.pkl'
    save_pickle(path, random_parameters(NETWORK, 0))
    return path


@pytest.fixture
def database(make_video, make_database):
    """Eleven videos, of which the fourth and the ninth cannot be used."""
    records = [(make_video(20 + i, seed=i).read_bytes(), i % 7, None, 1000 + i) for i in range(11)]
    records[3] = (b'\0no video', 3, None, 1003)
    records[8] = (records[8][0], 7, None, 1008)
    return make_database(records)


@pytest.fixture
def evaluate(run_tool, model):
    def run(database, *arguments):
        flags = [f'--test_data={database}', f'--load_model_path={model}', *FLAGS, *arguments]
        return run_tool('tools/test_net.py', *flags)

    return run


def accuracies(result):
    pattern = r'Test accuracy: clip: ([\d.]+), top 1: ([\d.]+), top(\d+): ([\d.]+)'
    return re.search(pattern, result.stdout).groups()


def rows_of(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def test_it_ends_with_the_totals(evaluate, database, tmp_path):
    result = evaluate(database)
    lines = result.stdout.splitlines()
    assert lines[-3] == 'videos: 11, scored: 9, failed: 2'
    assert lines[-2].startswith('Test accuracy: clip: ')
    assert re.fullmatch(r'FLOPs: 0\.0\d\d, params: 0\.0\d\d', lines[-1])
    assert len(lines) == 3
    assert result.returncode == 3
    assert 'Traceback' not in result.stderr
    assert 'record 08 (video 1008) failed: label 7 is out of range: 0 to 6' in result.stderr
    failures = rows_of(tmp_path / 'failures.csv')
    assert [row['record'] for row in failures] == ['03', '08']
    assert failures[0]['reason'].startswith('not a video')


def test_failures_up_to_the_bound_are_no_error(evaluate, database):
    assert evaluate(database, '--max_failures=1').returncode == 3
    assert evaluate(database, '--max_failures=2').returncode == 0


def test_stopping_at_the_first_failure(evaluate, database, tmp_path):
    result = evaluate(database, '--on_error=fail', '--batch_size=1', '--output=new/a/p.csv')
    assert result.returncode == 3
    assert result.stdout.startswith(
        'partial: record 03 (video 1003) failed, 7 of 11 videos not reached\n'
    )
    assert 'videos: 11, scored: 3, failed: 1' in result.stdout
    assert sorted(path.name for path in (tmp_path / 'new' / 'a').iterdir()) == [
        'failures.csv',
        'p.csv.journal',
        'p.csv.partial',
    ]
    assert len(rows_of(tmp_path / 'new' / 'a' / 'p.csv.partial')) == 3


def test_stopping_at_the_first_failure_of_many(evaluate, make_database):
    bad = make_database([(b'\0bad', 1)] * 30, name='bad')
    result = evaluate(bad, '--on_error=fail', '--batch_size=20')
    assert result.stdout.startswith('partial: record 00 failed, 29 of 30 videos not reached\n')


def test_any_path_can_be_reported(evaluate, make_video, make_database, tmp_path):
    name = os.fsencode(tmp_path) + b'/caf\xe9.mp4'
    with open(name, 'wb') as file:  # noqa: PTH123 - a name that is no text
        file.write(make_video(20).read_bytes())
    database = make_database([(name, 1), (name + b'gone', 1), (b'x' * 300 + b'.mp4', 1)])
    result = evaluate(database, '--use_local_file=1', '--output=p.csv')
    assert 'videos: 3, scored: 1, failed: 2' in result.stdout, result.stderr
    assert name in (tmp_path / 'p.csv').read_bytes()
    assert name + b'gone,,missing file' in (tmp_path / 'failures.csv').read_bytes()
    assert b'File name too long' in (tmp_path / 'failures.csv').read_bytes()


def test_failures_of_an_earlier_run_do_not_stay(
    evaluate, database, make_video, make_database, tmp_path
):
    assert evaluate(database).returncode == 3
    good = make_database([(make_video(20).read_bytes(), 1)], name='good')
    assert evaluate(good).returncode == 0
    assert not (tmp_path / 'failures.csv').exists()


@pytest.fixture
def reference(evaluate, database, tmp_path):
    evaluate(database, '--output=reference.csv')
    return rows_of(tmp_path / 'reference.csv')


def test_predictions(reference):
    assert [row['key'] for row in reference] == [f'{i:02}' for i in range(11) if i not in (3, 8)]
    assert [row['video'] for row in reference] == [str(1000 + int(r['key'])) for r in reference]
    for row in reference:
        probabilities = [float(row[f'probability{k}']) for k in range(1, 6)]
        assert probabilities == sorted(probabilities, reverse=True)
        assert len({row[f'top{k}'] for k in range(1, 6)}) == 5
        assert row['clips'] == '3'
        assert 0 <= int(row['clips_right']) <= 3
    assert len({row['probability1'] for row in reference}) > 5, 'videos are not told apart'


@pytest.mark.parametrize(
    'arguments',
    [
        ('--batch_size=1',),
        ('--batch_size=2', '--cpu_replicas=2'),
        ('--batch_size=100', '--num_decode_threads=1'),
        ('--batch_size=3', '--cpu_replicas=3'),
    ],
)
def test_totals_do_not_depend_on_batches_and_devices(
    evaluate, database, reference, tmp_path, arguments
):
    result = evaluate(database, '--output=other.csv', *arguments)
    assert 'videos: 11, scored: 9, failed: 2' in result.stdout
    for row, expected in zip(rows_of(tmp_path / 'other.csv'), reference):
        assert row['key'] == expected['key']
        assert row['clips_right'] == expected['clips_right']
        for k in range(1, 6):
            assert row[f'top{k}'] == expected[f'top{k}']
            assert float(row[f'probability{k}']) == pytest.approx(
                float(expected[f'probability{k}']), abs=2e-6
            )


def test_accuracy_is_that_of_the_predictions(evaluate, database, reference):
    clip, top1, k, topk = accuracies(evaluate(database))
    right = [row['top1'] == row['label'] for row in reference]
    within = [row['label'] in [row[f'top{i}'] for i in range(1, 6)] for row in reference]
    clips = sum(int(row['clips_right']) for row in reference)
    assert k == '5'
    assert float(top1) == pytest.approx(np.mean(right), abs=1e-5)
    assert float(topk) == pytest.approx(np.mean(within), abs=1e-5)
    assert float(clip) == pytest.approx(clips / 27, abs=1e-5)


def test_a_number_of_batches(evaluate, database):
    result = evaluate(database, '--num_iter=2', '--batch_size=1')
    assert 'videos: 2, scored: 2, failed: 0' in result.stdout
    assert result.returncode == 0


def test_class_names(evaluate, database, tmp_path):
    names = tmp_path / 'names.txt'
    names.write_text('\n'.join('abcdefg'))
    evaluate(database, '--output=p.csv', f'--labels={names}')
    rows = rows_of(tmp_path / 'p.csv')
    assert [row['label'] for row in rows] == [*'abc', *'efga', *'cd']
    assert {row['top1'] for row in rows} <= set('abcdefg')
    names.write_text('a\nb')
    result = evaluate(database, '--output=p.csv', f'--labels={names}')
    assert result.returncode == 1
    assert 'names 2 classes; num_labels is 7' in result.stderr


def test_a_log_gets_sparse_lines(evaluate, database):
    result = evaluate(database, '--batch_size=2', '--display_iter=2')
    progress = [line for line in result.stderr.splitlines() if ' left' in line]
    assert len(progress) == 2
    assert re.match(r'4 of 11 videos, clip: [\d.]+, top 1: .*, \d\d:\d\d left', progress[0])


def test_multi_label(run_tool, make_video, make_database, tmp_path):
    network = Network('r2d', 10, 8, num_labels=4, width=0.125, multi_label=True)
    path = tmp_path / 'weights.pkl'
    save_pickle(path, random_parameters(network, 0))
    records = [(make_video(20, seed=i).read_bytes(), (0, 1 + i % 3)) for i in range(4)]
    flags = [*FLAGS, '--num_labels=4', '--multi_label=1', f'--load_model_path={path}']
    flags.append('--output=p.csv')
    result = run_tool('tools/test_net.py', f'--test_data={make_database(records)}', *flags)
    assert result.returncode == 0, result.stderr
    value = re.search(r'Test accuracy: mean average precision: ([\d.]+)', result.stdout)
    scores, truths = np.zeros((4, 4)), np.zeros((4, 4), bool)
    for video, row in enumerate(rows_of(tmp_path / 'p.csv')):
        truths[video, [int(label) for label in row['label'].split()]] = True
        for k in range(1, 5):
            scores[video, int(row[f'top{k}'])] = float(row[f'probability{k}'])
        assert row['num_labels'] == '2'
    expected = [average_precision(scores[:, c], truths[:, c]) for c in range(4)]
    (tmp_path / 'names.txt').write_text('left\nup\nright\ndown\n')
    named = run_tool('tools/make_report.py', 'p.csv', '--labels=names.txt', '--report=r.html')
    assert 'p.csv has several labels a video; those with one' in named.stderr
    assert float(value.group(1)) == pytest.approx(np.mean(expected), abs=1e-5)


@pytest.mark.parametrize(
    ('arguments', 'message', 'status'),
    [
        (['--test_data=none'], 'none does not exist', 1),
        (['--load_model_path=none.pkl'], 'none.pkl: no such weight file', 1),
        (['--num_labels=8'], 'weights.pkl is of 7; leave the flag out', 1),
        (['--model_depth=19'], 'model_depth is 19, and ', 1),
        (['--clip_length_rgb=9'], 'clip_length_rgb is 9, and ', 1),
        (['--gpus=97'], f'gpus is 97; {ON_GPUS} sees', 1),
        (['--gpus=1,1'], 'gpus names a device twice', 1),
        (['--gpus=0,1', '--num_gpus=3'], 'gpus names 2 devices, num_gpus says 3', 1),
        (['--num_gpus=1', '--cpu_replicas=2'], 'cpu_replicas is for the CPU', 1),
        (['--failures=/dev/null/x.csv'], '/dev/null is a file, and no folder for x.csv', 1),
        (['--output=.'], '. is a folder; name a file', 1),
        (['--output=a.csv', '--failures=a.csv'], 'output and failures are both a.csv', 1),
        (['--load_model_path=.'], '. is a folder, not a weight file', 1),
        (['--num_channels=2'], 'weights.pkl is of 3; leave the flag out', 1),
        (['--use_local_file=1'], 'leave out --use_local_file=1', 1),
        (['--get_video_id=2'], "'2' is not 0 or 1", 2),
        (['--model_name=resnet'], "'resnet' is unknown; known: r2d", 2),
        (['--batch=4'], 'unrecognized arguments: --batch=4', 2),
    ],
)
def test_mistakes_get_one_line(evaluate, database, arguments, message, status):
    result = evaluate(database, *arguments)
    assert result.returncode == status
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert message in result.stderr
    assert result.stdout == ''


def test_interrupting_keeps_what_there_is(database, model, make_video, make_database, tmp_path):
    many = make_database([(make_video(40).read_bytes(), i % 7) for i in range(3000)], name='many')
    arguments = [f'--test_data={many}', f'--load_model_path={model}', *FLAGS]
    arguments += ['--output=p.csv', '--batch_size=1', '--display_iter=1']
    process = subprocess.Popen(
        [sys.executable, str(ROOT / 'tools/test_net.py'), *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while ' left' not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    scored = int(re.search(r'scored: (\d+)', stdout).group(1))
    assert 0 < scored < 3000
    assert stdout.startswith(f'partial: interrupted, {3000 - scored} of 3000 videos not reached')
    assert 'Test accuracy: clip: ' in stdout
    assert 'Traceback' not in stderr
    assert len(rows_of(tmp_path / 'p.csv.partial')) == scored
    assert not (tmp_path / 'p.csv').exists()


@pytest.mark.skipif(shutil.which('dash') is None, reason='dash is not installed')
def test_the_script_passes_its_variables_and_arguments_on(database, model, tmp_path):
    environment = {**os.environ, 'TEST_DATA': str(database), 'MODEL': str(model), 'CLIPS': '2'}
    environment.update(MODEL_NAME='r2d', MODEL_DEPTH='10', NUM_LABELS='7')
    script = ROOT / 'scripts' / 'test_r2plus1d_kinetics.sh'

    def run(*arguments):
        return subprocess.run(
            ['dash', str(script), '--width=0.125', *arguments], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    result = run('--max_failures=2', '--output=p.csv')
    assert result.returncode == 0, result.stderr
    assert 'videos: 11, scored: 9, failed: 2' in result.stdout
    assert rows_of(tmp_path / 'p.csv')[0]['clips'] == '2'
    environment['MODEL'] = ''
    result = run()
    assert result.returncode == 2
    assert 'set TEST_DATA (an LMDB) and MODEL' in result.stderr
