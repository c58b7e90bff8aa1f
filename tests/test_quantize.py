"""tools/quantize.py: calibration by NNCF, and the accuracies that it prints."""

import importlib.metadata
import re

import numpy as np
import pytest

from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.backends.installed import has
from r2plus1d.cli.main import TOO_MANY_FAILURES
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network
from r2plus1d.weights.files import save_pickle

pytest.importorskip('onnx', reason='needs ONNX')

from int8_models import NETWORKS, compared, initializer, precisions_of  # noqa: E402
from onnx_models import TINY, clips_of, distance, parameters_of, proto_of, run_openvino  # noqa: E402
from r2plus1d.backends.openvino import quantize as quantization  # noqa: E402
from r2plus1d.networks import folding  # noqa: E402
from r2plus1d.weights import onnx_file as onnx_engine  # noqa: E402


def has_nncf():
    """Whether NNCF is installed; it is not imported, which takes seconds."""
    try:
        importlib.metadata.version('nncf')
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_nncf = pytest.mark.skipif(
    not (has_nncf() and has('openvino')), reason='needs NNCF and OpenVINO'
)
FLAGS = ('--model_name=r2d', '--model_depth=10', '--clip_length_rgb=8', '--num_labels=5',
         '--width=0.0625', '--load_model_path=w.pkl')  # fmt: skip


@needs_nncf
@pytest.mark.parametrize('network', NETWORKS, ids=lambda network: network.name)
def test_every_convolution_computes_in_8_bits(network, tmp_path, capfd):
    outputs = compared(network)
    parameters, clips = parameters_of(network), clips_of(network, 4)
    model = quantization.quantize(network, parameters, [clips[:3], clips[3:]], outputs)
    assert capfd.readouterr().out == '', 'stdout is for results'
    onnx_engine.save(model, tmp_path / 'w.onnx')
    got = onnx_engine.read(tmp_path / 'w.onnx')
    assert (got.is_int8, proto_of(got)) == (True, model)
    last = {'f32'} if network.use_convolutional_pred else set()
    assert precisions_of(model, network) <= {'u8', 'i8'} | last
    settings = EngineSettings('openvino', 'int8')
    with open_engine(network, devices=Devices(), outputs=outputs, settings=settings) as engine:
        engine.load(got)
        found = engine.run(clips)
    floats = onnx_engine.export(network, parameters, outputs)
    expected = run_openvino(floats, clips)[0]
    for name in outputs:
        assert 1e-5 < distance(found[name], expected[name]) < 0.2, name
    first_bias = next(node for node in model.graph.node if node.op_type == 'Conv').input[2]
    corrected, as_it_was = (
        np.frombuffer(initializer(proto, first_bias).raw_data, np.float32)
        for proto in (model, floats)
    )
    assert not np.array_equal(corrected, as_it_was), 'the mean error is taken out of biases'


@needs_nncf
def test_bytes_are_normalized():
    pixels = np.random.default_rng(0).integers(0, 256, (2, *TINY.data_shape), np.uint8)
    model = quantization.quantize(TINY, parameters_of(TINY), [pixels], ['softmax'])
    scale = np.frombuffer(initializer(model, 'data/scale').raw_data, np.float32)
    assert 3 / 255 < scale < 6 / 255


@needs_nncf
def test_what_another_release_of_nncf_may_make():
    """A network that is not quantized, in the place of one that is so in another way."""
    from r2plus1d.backends.openvino.core import core

    outputs = ['softmax']
    floats = onnx_engine.export(TINY, parameters_of(TINY), outputs)
    plan = folding.plan(TINY, tuple(outputs), fold_batch_norm=True)
    read = core().read_model(floats.SerializeToString(), b'')
    with pytest.raises(InputError, match='nncf .* makes weights that are .* is known to work'):
        quantization._found(read, plan)


@needs_nncf
def test_no_clips():
    with pytest.raises(InputError, match='there are no clips to calibrate with'):
        quantization.quantize(TINY, parameters_of(TINY), [], ['softmax'])


@needs_nncf
def test_a_blob_that_is_always_zero():
    parameters = {
        name: np.zeros_like(array) if name.startswith('conv1_spatbn_relu_') else array
        for name, array in parameters_of(TINY).items()
    }
    model = quantization.quantize(TINY, parameters, [clips_of(TINY)], ['softmax'])
    assert np.isfinite(run_openvino(model, clips_of(TINY))[0]['softmax']).all()


@pytest.fixture
def quantize(run_tool, tmp_path, make_video, make_database):
    """Return a function that runs the tool on TINY's weights and a database of 7 videos."""
    save_pickle(tmp_path / 'w.pkl', parameters_of(TINY))
    records = [(make_video(20 + i, seed=i).read_bytes(), i % 5, None, i) for i in range(7)]
    make_database([*records[:6], (bytes(99), 0, None, 6), records[6]], 'calibration')
    make_database(records[:3], 'sound')
    make_database([(bytes(99), 0, None, 6)], 'broken')

    def run(*flags, data='calibration'):
        return run_tool('tools/quantize.py', *FLAGS, f'--calibration_data={data}', *flags)

    return run


@needs_nncf
def test_the_tool_compares_with_fp32(quantize, run_tool, tmp_path):
    done = quantize('--calibration_clips=20', '--clip_per_video=4')
    assert done.returncode == TOO_MANY_FAILURES, done.stderr
    assert 'record 6 (video 6) is not used to calibrate: not a video' in done.stderr
    assert 'calibrating on 21 clips of calibration' in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith('w_int8.onnx: 0.')
    assert any(re.fullmatch(r'  calibration: nncf .*, 21 clips', line) for line in lines)
    assert lines[-4] == '8 videos of calibration, 1 failed'
    assert re.fullmatch('the same best class: 2[0-8] of 28 clips', lines[-1])
    for line, path in ((lines[-3], 'w.pkl'), (lines[-2], 'w_int8.onnx')):
        precision, accuracy = line.split(': ', 1)
        assert precision == {'w.pkl': 'fp32', 'w_int8.onnx': 'int8'}[path]
        model = (*FLAGS[:-1], '--clip_per_video=4', '--max_failures=1', '--engine=openvino')
        tested = run_tool(
            'tools/test_net.py', *model, '--test_data=calibration', f'--load_model_path={path}'
        )
        assert f'Test accuracy: {accuracy}' in tested.stdout


@needs_nncf
@pytest.mark.parametrize(
    'flags',
    [
        ('--multi_label=1', '--features=prob'),
        ('--input_type=flow', '--clip_length_of=8', '--features=softmax,conv1'),
    ],
)
def test_other_networks(quantize, tmp_path, flags):
    network = Network(
        'r2d', 10, clip_length=8, num_labels=5, width=0.0625,
        multi_label='prob' in flags[-1], num_channels=2 if 'conv1' in flags[-1] else 3,
    )  # fmt: skip
    save_pickle(tmp_path / 'w.pkl', parameters_of(network))
    done = quantize('--calibration_clips=7', *flags)
    assert done.returncode == TOO_MANY_FAILURES, done.stderr
    assert onnx_engine.read(tmp_path / 'w_int8.onnx').network == network
    assert '8 videos of calibration, 1 failed' in done.stdout


@needs_nncf
def test_a_comparison_without_videos_is_none(quantize):
    done = quantize('--test_data=broken')
    assert done.returncode == TOO_MANY_FAILURES
    assert 'no video was scored: the accuracies below say nothing' in done.stderr
    assert 'exit status 3: 1 videos were not compared' in done.stderr
    assert 'the same best class: 0 of 0 clips' in done.stdout


@needs_nncf
def test_videos_are_spread_over_the_database(quantize):
    done = quantize('--calibration_clips=2', '--test_videos=3', '--test_data=calibration')
    assert done.returncode == 0, done.stderr
    assert quantize('--test_data=sound', '--overwrite', data='sound').returncode == 0
    assert 'calibrating on 2 clips of calibration' in done.stderr
    assert '3 videos of calibration, 0 failed' in done.stdout


@needs_nncf
@pytest.mark.parametrize(
    ('flags', 'data', 'message'),
    [
        (['--features=final_avg'], 'calibration', 'features leaves out softmax'),
        (['--load_model_path=nowhere.pkl'], 'calibration', 'nowhere.pkl'),
        ([], 'nowhere', 'nowhere'),
        ([], 'broken', 'there are no clips to calibrate with'),
        (['--output=x.pkl'], 'calibration', 'output is x.pkl; its name ends in .onnx'),
    ],
)
def test_refusals(quantize, tmp_path, flags, data, message):
    done = quantize(*flags, data=data)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'w_int8.onnx').exists()


@needs_nncf
def test_what_is_there_is_kept(quantize, tmp_path):
    (tmp_path / 'w_int8.onnx').write_text('mine')
    done = quantize()
    assert done.returncode == 1
    assert 'w_int8.onnx is there already; --overwrite=1 replaces it' in done.stderr
    assert (tmp_path / 'w_int8.onnx').read_text() == 'mine'


@pytest.mark.skipif(has_nncf(), reason='NNCF is installed')
def test_it_says_how_to_install_what_is_missing(quantize):
    done = quantize()
    assert done.returncode == 1
    assert 'requirements-int8.txt' in done.stderr
    assert len(done.stderr.splitlines()) == 1
