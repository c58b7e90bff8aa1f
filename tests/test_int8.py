"""Networks that compute in 8 bits: the files, and what runs them."""

import pickle

import numpy as np
import pytest

from r2plus1d.backends.choose import CAFFE2, EngineSettings, open_engine
from r2plus1d.backends.installed import has
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.initial import random_parameters
from r2plus1d.weights.files import save_pickle

onnx = pytest.importorskip('onnx', reason='needs ONNX')

from int8_models import NETWORKS, compared, initializer, precisions_of, quantize  # noqa: E402
from onnx_models import (  # noqa: E402
    TINY,
    clips_of,
    distance,
    parameters_of,
    proto_of,
    run_openvino,
    settings_of,
)
from r2plus1d.networks import int8  # noqa: E402
from r2plus1d.weights import onnx_file as onnx_engine  # noqa: E402

needs_openvino = pytest.mark.skipif(not has('openvino'), reason='needs OpenVINO')

OUTPUTS = ('softmax', 'final_avg')
INT8 = EngineSettings('openvino', 'int8')


@pytest.fixture(scope='module')
def model():
    """TINY in 8 bits."""
    return quantize(TINY, parameters_of(TINY), None, OUTPUTS)


@pytest.fixture
def file_of(tmp_path):
    """Return a function that saves a ModelProto and gives the path."""

    def save(proto):
        onnx_engine.save(proto, tmp_path / 'int8.onnx')
        return tmp_path / 'int8.onnx'

    return save


@needs_openvino
@pytest.mark.parametrize('network', NETWORKS, ids=lambda network: network.name)
def test_numbers_are_near_those_of_fp32(network, file_of):
    outputs = compared(network)
    parameters, clips = parameters_of(network), clips_of(network)
    model = quantize(network, parameters, clips, outputs)
    onnx.checker.check_model(model, full_check=True)
    with open_engine(
        network, devices=Devices(), outputs=outputs, settings=INT8, from_onnx=True
    ) as engine:
        engine.load(onnx_engine.read(file_of(model)))
        found = engine.run(clips)
        alone = engine.run(clips[1:])
    expected = run_openvino(onnx_engine.export(network, parameters, outputs), clips)[0]
    for name in outputs:
        assert 1e-5 < distance(found[name], expected[name]) < 0.2, name
        np.testing.assert_array_equal(alone[name], found[name][1:])


@needs_openvino
def test_it_computes_in_8_bits(model):
    assert precisions_of(model, TINY) <= {'u8', 'i8'}


def test_a_file_is_read_as_it_was_written(model, file_of):
    got = onnx_engine.read(file_of(model))
    assert got.is_int8
    assert proto_of(got) == model
    assert (got.network, got.outputs, got.batch_norm_folded) == (TINY, OUTPUTS, True)
    weights_of = {t.name: t for t in model.graph.initializer}
    assert weights_of['conv1_w/folded/int8'].data_type == onnx.TensorProto.INT8
    assert 'conv1_w/folded' not in weights_of
    floats = onnx_engine.export(TINY, parameters_of(TINY), OUTPUTS)
    assert not onnx_engine.read(file_of(floats)).is_int8


def test_a_blob_that_the_file_does_not_give(model, file_of):
    with pytest.raises(InputError, match='not conv1; tools/quantize.py --features=... makes one'):
        onnx_engine.require_outputs(onnx_engine.read(file_of(model)), ['conv1'])


def zero_scale(proto):
    initializer(proto, 'data/scale').raw_data = np.float32(0).tobytes()


def negative_scale(proto):
    tensor = initializer(proto, 'conv1_w/folded/scale')
    tensor.raw_data = (-np.frombuffer(tensor.raw_data, np.float32)).tobytes()


def nan_scale(proto):
    initializer(proto, 'data/scale').raw_data = np.float32('nan').tobytes()


def short_weights(proto):
    tensor = initializer(proto, 'conv1_w/folded/int8')
    tensor.raw_data = tensor.raw_data[:-1]


def other_type(proto):
    initializer(proto, 'conv1_w/folded/int8').data_type = onnx.TensorProto.UINT8


def quantizer_without_inputs(proto):
    del proto.graph.node[0].input[:]


def unknown_value(proto):
    proto.graph.node[0].input[0] = 'elsewhere'


def bytes_for_a_name(proto):
    node = next(n for n in proto.graph.node if n.op_type == 'QuantizeLinear')
    changed = node.SerializeToString().replace(b'\x04data', b'\x04dat\xff')
    assert changed != node.SerializeToString()
    proto.ParseFromString(proto.SerializeToString().replace(node.SerializeToString(), changed))


def one_quantizer_less(proto):
    node = next(n for n in proto.graph.node if n.op_type == 'DequantizeLinear')
    proto.graph.node.remove(node)


def quantizer_twice(proto):
    proto.graph.node.append(proto.graph.node[0])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (zero_scale, 'data/scale has a scale of 0; scales are above 0'),
        (negative_scale, 'conv1_w/folded/scale has a scale of -'),
        (nan_scale, 'NaN or infinite values in data/scale'),
        (short_weights, 'conv1_w/folded/int8 has .* bytes, not'),
        (other_type, r'conv1_w/folded/int8 is \[.*\], not int8'),
        (quantizer_without_inputs, 'its initializers are not those of the network'),
        (unknown_value, "it quantizes 'elsewhere', which is not of the network"),
        (bytes_for_a_name, r"it quantizes b'dat.xff', which is not of the network"),
        (one_quantizer_less, 'its graph is not the one that is exported'),
        (quantizer_twice, 'its graph is not the one that is exported'),
    ],
)
def test_what_is_not_ours_is_refused(model, file_of, change, message):
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    change(proto)
    with pytest.raises(InputError, match=message) as caught:
        onnx_engine.read(file_of(proto))
    assert 'int8.onnx: ' in str(caught.value)


@needs_openvino
def test_precision_and_weights_have_to_fit(model, file_of):
    parameters, int8 = random_parameters(TINY, 0), onnx_engine.read(file_of(model))
    with (
        open_engine(TINY, devices=Devices(), outputs=OUTPUTS, settings=INT8) as engine,
        pytest.raises(InputError, match='precision is int8, which needs an .onnx file'),
    ):
        engine.load(parameters)
    settings = EngineSettings('openvino', 'fp32')
    with (
        open_engine(TINY, devices=Devices(), outputs=OUTPUTS, settings=settings) as engine,
        pytest.raises(InputError, match='precision is fp32, and .*int8.onnx computes in int8'),
    ):
        engine.load(int8)


def test_engines_without_8_bits_refuse_them():
    for settings in (CAFFE2, EngineSettings('torch')):
        if has(settings.engine):
            int8 = EngineSettings(settings.engine, 'int8')
            with pytest.raises(InputError, match='precision is int8; (the )?engine'):
                open_engine(TINY, devices=Devices(), outputs=OUTPUTS, settings=int8)


def save_described(path):
    """TINY in 8 bits, as tools take it."""
    metadata = onnx_engine.describe(TINY, settings_of(clip_length_rgb=8))
    onnx_engine.save(quantize(TINY, parameters_of(TINY), None, OUTPUTS, metadata), path)


@needs_openvino
def test_extract_features(tmp_path, run_tool, make_video):
    save_described(tmp_path / 'w.onnx')
    done = run_tool(
        'tools/extract_features.py', '--videos', make_video(20), '--load_model_path=w.onnx',
        '--features=final_avg,data', '--output_path=f.pkl',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'openvino in int8' in done.stderr
    with (tmp_path / 'f.pkl').open('rb') as file:
        features = pickle.load(file)
    settings = EngineSettings('openvino', 'int8')
    with open_engine(TINY, devices=Devices(), outputs=['final_avg'], settings=settings) as engine:
        engine.load(onnx_engine.read(tmp_path / 'w.onnx'))
        expected = engine.run(features['data'])['final_avg']
    scale = np.abs(expected).max()
    np.testing.assert_allclose(features['final_avg'], expected, atol=2e-2 * scale, rtol=0)


@needs_openvino
def test_test_net(model, tmp_path, run_tool, make_video, make_database):
    save_described(tmp_path / 'w.onnx')
    save_pickle(tmp_path / 'w.pkl', parameters_of(TINY))
    database = make_database([(make_video(20).read_bytes(), 1)])

    def run(path, *flags):
        return run_tool(
            'tools/test_net.py', f'--test_data={database}', f'--load_model_path={path}', *flags
        )

    done = run('w.onnx')
    assert done.returncode == 0, done.stderr
    assert 'engine openvino, int8, on the CPU' in done.stderr
    assert 'videos: 1, scored: 1' in done.stdout
    assert run('w.onnx', '--precision=int8').stdout == done.stdout
    for done, message in (
        (run('w.onnx', '--precision=bf16'), 'precision is bf16, and w.onnx is of int8'),
        (run('w.pkl', '--precision=int8'), 'precision is int8, and w.pkl is not: tools/quantize'),
        (run('w.onnx', '--engine=caffe2'), 'caffe2'),
    ):
        assert done.returncode == 1
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_ranges_become_scales_and_zero_points():
    found = int8.Quantization({'x': (-1.0, 1.55), 'y': (0.0, 5.1)}, {}, {}).values
    assert found['x/scale'] == np.float32(0.01)
    assert (found['x/zero_point'], found['y/zero_point']) == (100, 0)
    assert found['y/scale'] == np.float32(0.02)
