"""Each flag that would do nothing is refused by its name; the table has all flags."""

import re

import pytest

from conftest import ROOT
from r2plus1d.cli import command_line, flag_rules, refusals
from r2plus1d.errors import InputError
from tool_here import run_here

PROGRAMS = sorted([*ROOT.glob('tools/[!_]*.py'), *ROOT.glob('data/[!_]*.py')])
WEIGHTS = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
ALL_ARE_READ = 'all are read'
FLOW = '--input_type=flow'
TEST = f'test_net --test_data=d --load_model_path={WEIGHTS}'
ONNX = 'test_net --test_data=d --load_model_path=w.onnx'
EXTRACT = f'extract_features --test_data=d --load_model_path={WEIGHTS}'
PREDICT = f'predict v.mp4 --load_model_path={WEIGHTS}'
TRAIN = 'train_net --train_data=d'
CLIPS = 'show_clips --test_data=d --output=x.npz'
EXPORT = f'export_onnx --load_model_path={WEIGHTS}'
QUANTIZE = f'quantize --calibration_data=d --load_model_path={WEIGHTS}'
FUSION = 'dense_prediction_fusion --input_dir1=a --input_dir2=b'
DATABASE = 'create_video_db --list_file=l --output_file=o'
KINETICS = 'create_list --dataset=kinetics --annotations=a --videos=v --output=o'
SPLIT = 'split_videos --videos=v --output=o'
REFUSED = [
    (f'{TEST} --clip_length_of=16', 'without input_type=flow'),
    (f'{TEST} --flow_data_type=xy_rgb', 'without input_type=flow'),
    (f'{TEST} --sampling_rate_of=1', 'without input_type=flow'),
    (f'{TEST} --frame_gap_of=1', 'without input_type=flow'),
    (f'{TEST} --do_flow_aggregation=1', 'without input_type=flow'),
    (f'{TEST} {FLOW} --sampling_rate_rgb=2', 'with input_type=flow'),
    (f'{TEST} --video_res_type=2 --scale_h=130', 'with video_res_type=original'),
    (f'{TEST} --video_res_type=2 --scale_w=130', 'with video_res_type=original'),
    (f'{TEST} --video_res_type=1 --short_edge=130 --scale_h=130', 'with short_edge'),
    (f'{TEST} --video_res_type=1 --short_edge=130 --scale_w=130', 'with short_edge'),
    (f'{TEST} --video_res_type=0 --short_edge=130', 'without video_res_type=short_edge'),
    (f'{TEST} --clip_start_positions=0,8 --clip_per_video=3', 'with clip_start_positions'),
    (f'{TEST} --seed=1', 'without a random choice'),
    (f'{TEST} --model_name=c3d --use_dropout=1', 'with model_name=c3d'),
    (f'{ONNX} --db_type=minidb', 'with an .onnx file'),
    (f'{TEST} --use_cudnn=0', 'on a CPU'),
    (f'{TEST} --deterministic=1', 'on a CPU'),
    (f'{TEST} --gpus=0 --engine_threads=2', 'on GPUs'),
    (f'{TEST} --labels=names.txt', 'without output'),
    (f'{TEST} --multi_label=1 --top_k=3', 'with multi_label=1 and without output'),
    (f'{TEST} --on_error=fail --max_failures=3', 'with on_error=fail'),
    (f'{TEST} --mistakes=3', 'without report'),
    (f'{EXTRACT} --seed=1', 'without a random choice'),
    (f'{EXTRACT} --pool=mean', 'without output_format=per_video'),
    (
        f'extract_features --videos=v --load_model_path={WEIGHTS} --copy_database=1',
        'without test_data',
    ),
    (f'{EXTRACT} --clip_length_of=16', 'without input_type=flow'),
    (f'{TEST} --ray_shards=5', 'without ray'),
    (f'{TEST} --ray_cores=2', 'without ray'),
    (f'{EXTRACT} --labels=n.txt', 'without softmax or prob among features'),
    (f'{PREDICT} --stride=8', 'without clips=dense'),
    (f'{PREDICT} --heatmap=1', 'without annotate'),
    (f'{PREDICT} --overwrite=1', 'without annotate'),
    (f'{TRAIN} --db_type=minidb', 'without pretrained_model'),
    (f'{TRAIN} --clip_per_video=3', 'without test_data'),
    (f'{TRAIN} --clip_start_positions=0,8', 'without test_data'),
    (f'{TRAIN} --decode_type=start', 'without test_data'),
    (f'{TRAIN} --crop_per_clip=3', 'without test_data'),
    (f'{TRAIN} --cudnn_workspace_limit_mb=1', 'on a CPU'),
    (f'{TRAIN} --gpus=0 --use_cudnn=0 --cudnn_workspace_limit_mb=1', 'with use_cudnn=0'),
    (f'{TRAIN} --run_id=a', 'with num_shards=1'),
    (f'{TRAIN} --resume=1', 'with is_checkpoint=1, which continues anyway'),
    (f'{TEST} --multi_label=1 --by_class=1', 'with multi_label=1: a video has several classes'),
    *[
        (f'{SPLIT} --test_list=t.txt --{flag}', 'with test_list')
        for flag in ('split_by=video', 'test_share=0.5', 'seed=1')
    ],
    *[
        (f'{CLIPS} --{flag}', 'without load_model_path: no network is run')
        for flag in (
            'model_name=r2d',
            'model_depth=34',
            'pred_layer_name=a',
            'width=0.5',
            'bn_epsilon=1e-5',
            'use_dropout=1',
            'use_pool1=1',
            'use_convolutional_pred=1',
            'db_type=minidb',
            'engine=caffe2',
            'precision=bf16',
            'engine_threads=2',
            'engine_cache=c',
            'gpus=0',
            'num_gpus=1',
            'cpu_replicas=2',
            'use_cudnn=0',
            'deterministic=1',
            'batch_size=3',
        )
    ],  # fmt: skip
    (f'{CLIPS} --labels=n.txt', 'without sheet'),
    (f'{EXPORT} --clip_length_of=16', 'without input_type=flow'),
    (f'{QUANTIZE} --clip_length_of=16', 'without input_type=flow'),
    ('dense_prediction_aggregation --input_dir=a --top_k=3', 'without output'),
    ('dense_prediction_aggregation --input_dir=a --labels=n.txt', 'without output'),
    *[
        (f'{tool} --{flags}', reason)
        for tool in ('dense_prediction_aggregation --input_dir=a', FUSION)
        for flags, reason in (
            ('mistakes=3', 'without report'),
            ('test_data=d', 'without report'),
            ('report=r.html --mistakes=0 --test_data=d', 'with mistakes=0'),
            ('report=r.html --use_local_file=1', 'without test_data'),
        )
    ],
    ('make_report p.csv --report=r.html --mistakes=0 --test_data=d', 'with mistakes=0'),
    ('make_report p.csv --report=r.html --mistakes=0 --use_local_file=1', 'with mistakes=0'),
    (f'{FUSION} --top_k=3', 'without output'),
    (f'{FUSION} --labels=n.txt', 'without output'),
    ('model_zoo --check --download=c3d_l16', 'with check'),
    ('model_zoo --cache=c', 'without download'),
    ('model_zoo --mirror=m', 'without download'),
    (f'{KINETICS} --subset=test', 'with dataset=kinetics'),
    (f'{KINETICS} --split=2', 'with dataset=kinetics'),
    (f'{DATABASE} --shuffle=0 --seed=1', 'with shuffle=0'),
    (f'{DATABASE} --check=0 --num_threads=2', 'with check=0'),
    (f'{DATABASE} --max_failures=2', 'with on_error=fail'),
]
# What published scripts give, and flags that have their default.
READ = [
    f'{EXTRACT} --features=label --engine=caffe2',
    f'{TEST} --clip_per_video=10 --clip_start_positions=0,8',
    f'{TEST} --use_cudnn=1 --seed=0 --top_k=5 --sampling_rate_of=2 --frame_gap_of=2',
    f'{TEST} --video_res_type=1 --scale_h=130',
    f'{TEST} --report=r.html --labels=names.txt --mistakes=3',
    'make_report p.csv --report=r.html --use_local_file=1 --labels=names.txt',
    f'{ONNX} --db_type=pickle',
    f'{EXTRACT} {FLOW} --clip_length_rgb=33 --sampling_rate_rgb=1 --clip_length_of=32 '
    '--sampling_rate_of=1 --flow_data_type=0 --frame_gap_of=1 --do_flow_aggregation=1',
    f'{EXTRACT} --if_different=replace --overwrite=1',
    f'{EXTRACT} --model_name=c3d --model_depth=34',
]


def program(name):
    (path,) = [path for path in PROGRAMS if path.stem == name]
    return path


@pytest.fixture
def options_of(monkeypatch):
    """Return a function that runs a tool until it has its flags; gives what it says of them."""
    parse = command_line.parse

    def check(*groups, **changes):
        refusals.refuse_unread(parse(*groups, **changes))
        raise InputError(ALL_ARE_READ)

    def options(line):
        with monkeypatch.context() as patch:
            patch.setattr(command_line, 'parse', check)
            return run(line)

    return options


def run(line):
    name, *words = line.split()
    return run_here(program(name), *words)


def flags_of(path):
    """Names of a tool's flags, from its help."""
    shown = run(f'{path.stem} --help=all')
    if needs_what_is_not_here(shown):
        return []
    assert shown.returncode == 0, shown.stderr
    return re.findall(r'^  --(\w+)=', shown.stdout, re.MULTILINE)


def needs_what_is_not_here(done):
    """Whether a tool refuses to start at all here: Caffe2, OpenVINO or NNCF is not installed."""
    return 'not installed' in done.stderr or 'needs Caffe2' in done.stderr


def test_the_table_has_all_flags_of_all_tools():
    found = {path.stem: flags_of(path) for path in PROGRAMS}
    for tool, names in found.items():
        for name in names:
            refusals.rules(tool, name)
    assert {*flag_rules.READ_BY} <= {*found}
    if not all(found.values()):
        return  # some tools do not start here
    assert {*flag_rules.READ} <= {name for names in found.values() for name in names}
    for tool, rules in flag_rules.READ_BY.items():
        assert {*rules} <= {*found[tool]}


def test_each_rule_is_fired():
    words = {
        (line.split()[0], word.split('=')[0][2:])
        for line, _ in REFUSED
        for word in line.split()[1:]
    }
    flags = {flag for _, flag in words}
    for flag, rule in flag_rules.READ.items():
        assert isinstance(rule, str) or flag in flags, flag
    for tool, own in flag_rules.READ_BY.items():
        for flag, rule in own.items():
            assert isinstance(rule, str) or (tool, flag) in words, (tool, flag)


@pytest.mark.parametrize(('line', 'when'), REFUSED)
def test_a_flag_that_does_nothing_is_refused(line, when, options_of):
    done = options_of(line) if '.onnx' in line else run(line)
    if needs_what_is_not_here(done):
        pytest.skip(done.stderr)
    assert done.returncode == 1
    (message,) = done.stderr.splitlines()
    assert ' does nothing ' in message
    assert when in message
    flag = message.split(': ', 1)[1].split('=')[0]
    assert f'--{flag}' in line


@pytest.mark.parametrize('line', READ)
def test_a_flag_that_is_read_or_has_its_default_is_taken(line, options_of):
    assert options_of(line).stderr.endswith(f'{ALL_ARE_READ}\n')


def test_what_a_weight_file_may_say_is_not_judged_before_it_is_read(options_of):
    line = f'{ONNX} --clip_length_of=16'
    assert 'does nothing' not in run(line).stderr  # the file is missing
    assert 'does nothing' in options_of(line).stderr
    assert 'does nothing' in run(f'{line} --input_type=rgb').stderr
