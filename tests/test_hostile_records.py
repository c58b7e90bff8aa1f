"""A database with a video that crashes its decoder, a bomb, a FIFO and a text: the tools end."""

import csv
import os
import re

import numpy as np
import pytest

from conftest import ROOT, write_narrow
from r2plus1d.video.encode import write_video

WEIGHTS = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
UNGUARDED = 'from r2plus1d.video import convert\nconvert.MAX_ROWS_TO_ONE = 10**9\n'
SDP = 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 50004 RTP/AVP 96\n'
BOMB_MIB = 1  # of packets: more than the good videos have, fewer than the bomb
REASONS = {
    2: r'the decoder crashed \(SIGSEGV\)',
    5: 'over budget: more than 1,048,576 bytes of packets in a file of',
    7: 'not a regular file but a FIFO',
    11: 'not a video',
}
GOOD = [number for number in range(13) if number not in REASONS]


@pytest.fixture
def database(make_video, make_database, tmp_path, monkeypatch):
    """13 paths. The guard against what crashes swscale is off, so that one decoder does crash."""
    (tmp_path / 'sitecustomize.py').write_text(UNGUARDED)
    search = [str(tmp_path), str(ROOT / 'lib'), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(search))
    crash, bomb, fifo, text = (tmp_path / f'{n}.mkv' for n in ('crash', 'bomb', 'fifo', 'text'))
    tall = (np.full((65000, 1, 3), 60 * i, np.uint8) for i in range(9))
    write_narrow(crash, tall)
    noise = np.random.default_rng(0).integers(0, 256, (50, 120, 160, 3), np.uint8)
    write_video(bomb, noise, fps=25, codec='ffv1')
    os.mkfifo(fifo)
    text.write_text(SDP)
    bad = dict(zip(REASONS, (crash, bomb, fifo, text)))
    good = [make_video(40), make_video(30, 'avi', seed=1), make_video(50, 'webm', seed=2)]
    return make_database([(bad.get(i, good[i % 3]), i % 8, 3, i) for i in range(13)])


def flags(database, name='test_data'):
    return [f'--{name}={database}', '--use_local_file=1', f'--max_packet_mb={BOMB_MIB}']


def require_named(path):
    with path.open() as file:
        rows = {int(row['record']): row['reason'] for row in csv.DictReader(file)}
    assert sorted(rows) == list(REASONS)
    assert all(re.match(REASONS[record], reason) for record, reason in rows.items()), rows


def test_every_other_record_is_scored(database, start_tool, tmp_path):
    output = tmp_path / 'found.csv'
    weights = [f'--load_model_path={WEIGHTS}', f'--output={output}', '--clip_per_video=2']
    result = start_tool('tools/test_net.py', *flags(database), *weights)
    assert result.returncode == 3, result.stderr
    assert 'videos: 13, scored: 9, failed: 4' in result.stdout
    require_named(tmp_path / 'failures.csv')
    with output.open() as file:
        assert len(list(csv.DictReader(file))) == 9


def test_every_other_record_is_extracted_and_a_run_goes_on(database, start_tool, tmp_path):
    output = tmp_path / 'found.pkl'
    weights = [f'--load_model_path={WEIGHTS}', f'--output_path={output}', '--features=final_avg']
    command = ['tools/extract_features.py', *flags(database), *weights, '--decode_type=uniform']
    for _ in range(2):
        result = start_tool(*command)
        assert result.returncode == 3, result.stderr
        assert 'records: 13, extracted: 9, failed: 4' in result.stdout
        require_named(tmp_path / 'found.failures.csv')


def test_training_goes_on_with_the_others(database, start_tool, tmp_path):
    pytest.importorskip('caffe2')
    network = ['--num_labels=8', '--width=0.0625', '--model_depth=10', '--clip_length_rgb=8']
    length = [
        '--batch_size=2',
        '--epoch_size=14',
        '--num_epochs=1',
        f'--file_store_path={tmp_path}',
    ]
    result = start_tool(
        'tools/train_net.py', *flags(database, 'train_data'), *network, *length, '--max_failures=9'
    )
    assert result.returncode == 0, result.stderr
    require_named(tmp_path / 'failures.csv')
