"""What benchmarks/throughput.py takes and prints; its figures are not tested."""

import json
import os
import subprocess
import sys

import pytest

from conftest import ROOT
from r2plus1d.backends.installed import has
from r2plus1d.errors import InputError

pytest.importorskip('onnx', reason='needs ONNX')
if not has('openvino'):
    pytest.skip('needs OpenVINO', allow_module_level=True)

sys.path.insert(0, str(ROOT / 'benchmarks'))

import machine_peak  # noqa: E402
import throughput_settings as settings  # noqa: E402
import throughput_tables as tables  # noqa: E402
import throughput_videos as videos  # noqa: E402

SMALL = ('--engines=openvino', '--model_name=r2d', '--model_depth=10', '--width=0.0625')


def plan_of(*flags):
    words = [*SMALL, *flags]
    return settings.plan(settings.parse(words), words)


def test_the_first_step_varies_nothing():
    first, *others = plan_of('--vary=clip_per_video=1,10;model_depth=10,18')
    assert (first.flag, first.name) == (None, 'nothing varied')
    assert [(s.flag, s.value, s.is_base) for s in others] == [
        ('clip_per_video', '1', False),
        ('clip_per_video', '10', True),  # 10 when left out
        ('model_depth', '10', True),
        ('model_depth', '18', False),
    ]
    assert others[3].args.model_depth == 18


def test_growth_varies_what_matters():
    flags = settings.variations(settings.parse(['--vary=growth;model_depth=34']))
    assert list(flags) == [
        'clip_per_video', 'clip_length_rgb', 'model_depth', 'num_decode_threads', 'engine_threads',
    ]  # fmt: skip
    assert flags['model_depth'] == ['34']
    assert flags['engine_threads'][-1] == str(len(os.sched_getaffinity(0)))
    assert 'stride' in settings.variations(settings.parse(['--vary=growth', '--dense=1']))


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--engines=tensorflow'], "engines has 'tensorflow'; engines: auto, caffe2"),
        (['--engines=openvino:int7'], "engines has 'openvino:int7'; precisions: fp32"),
        (['--vary=clip_per_video'], "vary has 'clip_per_video'; NAME=V,V,V"),
        (['--vary=engine=caffe2'], "vary has 'engine=caffe2'; NAME=V,V,V"),
        (['--vary=stride=8'], 'vary has stride, which is of dense clips'),
        (['--vary=model_depth=19'], 'model_depth is 19'),
        (['--vary_engines=openvino'], 'vary_engines is for --vary'),
        (['--vary=growth', '--vary_engines=caffe2'], 'vary_engines has caffe2, fp32'),
        (['--precision=bf16'], 'precision is not for this program; engines takes it'),
        (['--stride=4'], 'stride is of dense clips'),
        (['--dense=1', '--clip_per_video=2'], 'clip_per_video says nothing about dense clips'),
        (['--clips_of=.', '--videos=2'], 'videos says nothing about clips_of'),
        (['--plot=.'], 'plot is ., a folder; name a file'),
        (['--plot=nowhere/x.png'], 'plot is nowhere/x.png; there is no folder'),
    ],
)
def test_refusals(flags, message):
    with pytest.raises(InputError) as caught:
        plan_of(*flags)
    assert message in str(caught.value)


def test_videos_that_give_no_clips_are_left_out(tmp_path, make_video, caplog):
    (tmp_path / 'good.mp4').write_bytes(make_video(20).read_bytes())
    (tmp_path / 'short.mp4').write_bytes(make_video(3).read_bytes())
    (tmp_path / 'notes.txt').write_text('no video')
    clips = settings.clip_settings(plan_of('--clip_length_rgb=16')[0].args)
    assert [path.name for path in videos.usable(tmp_path, clips)] == ['good.mp4']
    assert [record.getMessage().split(' is left out: ')[0] for record in caplog.records] == [
        str(tmp_path / 'notes.txt'),
        str(tmp_path / 'short.mp4'),
    ]
    (tmp_path / 'good.mp4').unlink()
    with pytest.raises(InputError, match='in which no file gives the clips'):
        videos.usable(tmp_path, clips)


def test_ratios_are_medians_of_those_of_each_round():
    spec = settings.Spec('openvino')
    measured = [
        {'seconds': seconds, 'videos': 2, 'clips': 20, 'cpu': 4.0, 'operations': 100, 'peak': 5e6}
        for seconds in (2.0, 4.0, 1.0)
    ]
    alone = [{**m, 'seconds': 1.0} for m in measured]
    row = tables.engine_row(spec, alone, measured, peak=4000)
    assert (row['videos_s'], row['clips_s'], row['cpu_s'], row['peak_mb']) == (1.0, 10.0, 2.0, 5.0)
    assert (row['network_clips_s'], row['overlap'], row['share']) == (20.0, 0.5, 0.5)
    first = {**row, 'engine': 'caffe2, fp32', 'seconds': [20.0, 20.0, 20.0]}
    last = tables.base_table([first, row]).splitlines()[-1]
    assert last.split('|')[-2].strip() == '10.0'


@pytest.mark.skipif(not has('torch'), reason='needs PyTorch 2')
def test_the_product_of_gpus(monkeypatch):
    """As far as a CPU can tell."""
    monkeypatch.setattr(machine_peak, 'GPU_SIZES', (64, 128))
    assert machine_peak.gpu_product('bf16', device='cpu') > 1e6


def test_the_program(tmp_path):
    flags = [*SMALL, '--videos=1', '--repeats=1', '--vary=clip_per_video=1,2', '--plot=p.png',
             '--clip_per_video=2', '--output=p.json']  # fmt: skip
    program = ROOT / 'benchmarks' / 'throughput.py'
    done = subprocess.run(
        [sys.executable, program, *flags],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'r2d_10_8_w0.0625, 2 clips a video' in done.stdout
    assert 'With --clip_per_video varied:' in done.stdout
    rows = json.loads((tmp_path / 'p.json').read_text())['rows']
    assert [row['value'] for row in rows] == [None, None, '1', '1', '2', '2']
    assert (tmp_path / 'p.png').read_bytes().startswith(b'\x89PNG')
