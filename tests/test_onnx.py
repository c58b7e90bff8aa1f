"""ONNX models: the numbers of Caffe2 by way of OpenVINO, what is in them, what is not exported."""

import subprocess
import sys

import numpy as np
import pytest

from onnx_models import (
    TINY,
    assert_close,
    blobs_of,
    clips_of,
    parameters_of,
    run_caffe2,
    run_openvino,
    settings_of,
)
from r2plus1d.errors import InputError
from r2plus1d.networks import graph
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import ARCHITECTURES, depths_of

onnx = pytest.importorskip('onnx', reason='needs ONNX')

from r2plus1d.weights import onnx_file as onnx_engine  # noqa: E402

NARROW = Network('r2plus1d', 10, clip_length=8, num_labels=7, width=0.125)
VARIANTS = [
    *(
        Network(name, depths_of(name)[0], clip_length=8, num_labels=7, width=0.125)
        for name in ARCHITECTURES
    ),
    *(
        Network(
            name,
            50,
            clip_length=8,
            crop_size=256,
            num_labels=7,
            width=0.0625,
            use_pool1=True,
            use_convolutional_pred=True,
        )
        for name in ('ir-csn', 'ip-csn')
    ),
    Network('r3d', 18, crop_size=128, num_labels=7, width=0.0625, use_convolutional_pred=True),
    Network('r2plus1d', 18, clip_length=16, num_labels=4, width=0.0625),
    Network('r2plus1d', 10, clip_length=8, num_labels=4, width=0.125, num_channels=2),
    Network('mc3', 10, clip_length=8, num_labels=6, width=0.125, multi_label=True),
    Network('rmc4', 10, clip_length=8, num_labels=6, width=0.0625, crop_size=224),
    Network('r3d', 10, clip_length=8, num_labels=6, width=0.125, use_dropout=True),
    Network('c3d', num_labels=5, width=0.0625),
    Network('c3d', num_labels=5, width=0.0625, num_channels=5, multi_label=True),
]


# Numbers


@pytest.mark.parametrize('network', VARIANTS, ids=lambda n: n.name)
def test_every_blob_equals_caffe2s(network):
    parameters, clips, every = parameters_of(network), clips_of(network), blobs_of(network)
    expected = run_caffe2(network, parameters, every, clips)
    plain = onnx_engine.export(network, parameters, every, fold_batch_norm=False)
    assert_close(run_openvino(plain, clips)[0], expected)

    # With the convolutions among the outputs, none could be folded; one stays to be right too.
    few = [*blobs_of(network, without=['Conv']), blobs_of(network)[-6]]
    few = list(dict.fromkeys(few))
    folded = onnx_engine.export(network, parameters, few)
    assert kinds_of(folded).count('BatchNormalization') < kinds_of(plain).count(
        'BatchNormalization'
    )
    assert_close(run_openvino(folded, clips)[0], {name: expected[name] for name in few})


def kinds_of(model):
    return [node.op_type for node in model.graph.node]


def test_any_batch():
    model = onnx_engine.export(NARROW, parameters_of(NARROW), ['softmax', 'final_avg'])
    clips = clips_of(NARROW, 5)
    (whole, *parts) = run_openvino(model, clips, clips[:1], clips[1:])
    assert whole['final_avg'].shape == (5, 64, 1, 1, 1)
    for name, rows in whole.items():
        np.testing.assert_allclose(
            np.concatenate([part[name] for part in parts]), rows, rtol=1e-4, atol=1e-5
        )


# What is in a model


@pytest.mark.parametrize('fold', [False, True])
@pytest.mark.parametrize('network', VARIANTS[-7:], ids=lambda n: n.name)
def test_models_are_valid(network, fold):
    outputs = blobs_of(network, without=['Conv'])
    model = onnx_engine.export(network, parameters_of(network), outputs, fold_batch_norm=fold)
    onnx.checker.check_model(model, full_check=True)
    (opset,) = model.opset_import
    assert (opset.domain, 13 <= opset.version <= 17, model.ir_version <= 9) == ('', True, True)
    assert ('BatchNormalization' in kinds_of(model)) is not fold
    shapes = graph.trace(network).shapes
    for value in (*model.graph.input, *model.graph.output):
        batch, *sizes = value.type.tensor_type.shape.dim
        assert (batch.dim_param, value.type.tensor_type.elem_type) == ('N', onnx.TensorProto.FLOAT)
        assert tuple(size.dim_value for size in sizes) == shapes[value.name]
    assert [value.name for value in model.graph.input] == ['data']
    assert [value.name for value in model.graph.output] == outputs


def test_only_what_the_outputs_need():
    model = onnx_engine.export(NARROW, parameters_of(NARROW), ['comp_0_sum_2'])
    made = [name for node in model.graph.node for name in node.output]
    assert made[-1] == 'comp_0_sum_2'
    assert not any(name.startswith(('comp_1', 'final', 'last', 'softmax')) for name in made)
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} == read - set(made) - {'data'}


def test_only_what_is_not_an_output_is_folded():
    model = onnx_engine.export(NARROW, parameters_of(NARROW), ['softmax', 'comp_1_conv_2'])
    norms = [node for node in model.graph.node if node.op_type == 'BatchNormalization']
    assert [node.input[0] for node in norms] == ['comp_1_conv_2']
    biased = [len(node.input) == 3 for node in model.graph.node if node.op_type == 'Conv']
    assert (biased.count(False), len(biased)) == (1, 2 + 4 * 4 + 3)


def test_numbers_are_kept():
    parameters = parameters_of(TINY)
    model = onnx_engine.export(TINY, parameters, ['softmax'], fold_batch_norm=False)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert set(tensors) == set(parameters)
    for name, array in parameters.items():
        assert np.array_equal(tensors[name], array), name
        assert tensors[name].dtype == np.float32


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    code = (
        'import sys\n'
        'from onnx_models import TINY, parameters_of, settings_of\n'
        'from r2plus1d.weights import onnx_file as onnx_engine\n'
        'metadata = onnx_engine.describe(TINY, settings_of(), class_names="abcde")\n'
        'model = onnx_engine.export(TINY, parameters_of(TINY), ["softmax"], metadata=metadata)\n'
        'onnx_engine.save(model, sys.argv[1])'
    )
    paths = [tmp_path / 'a.onnx', tmp_path / 'b.onnx']
    for seed, path in enumerate(paths):
        command = [sys.executable, '-c', code, str(path)]
        environment = {'PYTHONHASHSEED': str(seed), 'PYTHONPATH': ':'.join(sys.path)}
        subprocess.run(command, check=True, env=environment)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_file_is_complete_or_not_there(tmp_path):
    class Broken:
        def SerializeToString(self, deterministic):  # noqa: N802
            raise MemoryError

    path = tmp_path / 'model.onnx'
    path.write_bytes(b'as it was')
    with pytest.raises(MemoryError):
        onnx_engine.save(Broken(), path)
    assert path.read_bytes() == b'as it was'
    onnx_engine.save(onnx_engine.export(TINY, parameters_of(TINY), ['softmax']), path)
    assert onnx_engine.read(path).network == TINY
    assert list(tmp_path.iterdir()) == [path]


# What is not exported


@pytest.mark.parametrize(
    ('outputs', 'message'),
    [
        (['softmax', 'comp_99'], 'features asks for comp_99, which r2d_10_8_w0.0625 does not have'),
        (['data'], 'features asks for data, which'),
        (['conv1_w'], 'features asks for conv1_w, which'),
        (['conv1_spatbn_relu/overwritten'], 'features asks for conv1_spatbn_relu/overwritten'),
        ([], 'features asks for nothing'),
        (['softmax', 'softmax'], 'features names a blob twice: softmax,softmax'),
    ],
)
def test_outputs_that_are_not_there(outputs, message):
    with pytest.raises(InputError, match=message):
        onnx_engine.export(TINY, parameters_of(TINY), outputs)


def test_parameters_that_do_not_fit():
    parameters = parameters_of(TINY)
    del parameters['conv1_w']
    parameters['last_out_L5_b'] = np.zeros(6, np.float32)
    with pytest.raises(InputError, match=r'missing \(1\): conv1_w; .* last_out_L5_b is 6, not 5'):
        onnx_engine.export(TINY, parameters, ['softmax'])


@pytest.mark.parametrize('variance', [-1e-3, -2])
def test_a_batch_norm_that_divides_by_nothing(variance):
    parameters = parameters_of(TINY)
    parameters['conv1_spatbn_relu_riv'][2] = variance
    with pytest.raises(InputError, match=f'conv1_spatbn_relu_riv: .* {variance:g}; .*norm=0'):
        onnx_engine.export(TINY, parameters, ['softmax'])
    onnx_engine.export(TINY, parameters, ['softmax'], fold_batch_norm=False)


def test_more_than_2_gb():
    network = Network('r2plus1d', 34, clip_length=8, width=4)
    with pytest.raises(InputError, match='the weights have 4[0-9]{9} bytes; .* at most 2147483647'):
        onnx_engine.export(network, {}, ['softmax'])


def test_a_last_layer_with_a_slash():
    network = Network('r2d', 10, clip_length=8, width=0.1, pred_layer_name='softmax/flat')
    with pytest.raises(InputError, match='pred_layer_name is softmax/flat'):
        onnx_engine.export(network, parameters_of(network), ['softmax'])


@pytest.mark.parametrize(
    ('network', 'changes', 'message'),
    [
        ({}, {'input_type': 'flow'}, 'num_channels is 3; the input has 2'),
        ({'num_channels': 5}, {}, 'num_channels is 5; the input has 3'),
        ({}, {'scale_h': 100}, 'crop_size is 112, larger than frames resized to 100'),
        ({}, {'sampling_rate_rgb': 0}, 'sampling_rate_rgb: 0 is less than 1'),
        ({}, {'class_names': ['a'] * 4}, 'labels name 4 classes; num_labels is 5'),
        ({}, {'class_names': ['a', 'b', 'c', 'd', '\x1b[31m']}, r'labels has .*x1b'),
        ({}, {'class_names': ['a', 'b', 'c', 'd', '\ud800']}, r'labels has .*ud800'),
        ({}, {'weights_sha256': 'abc'}, "weights_sha256 is 'abc'"),
    ],
)
def test_what_cannot_be_described(network, changes, message):
    network = Network('r2d', 10, clip_length=8, num_labels=5, **network)
    others = {k: changes.pop(k) for k in ('class_names', 'weights_sha256') if k in changes}
    with pytest.raises(InputError, match=message):
        onnx_engine.describe(network, settings_of(**changes), **others)


def test_metadata_that_could_not_be_read_is_not_written():
    metadata = onnx_engine.describe(TINY, settings_of())
    del metadata['scale_w']
    with pytest.raises(InputError, match='scale_w is not among the metadata'):
        onnx_engine.export(TINY, parameters_of(TINY), ['softmax'], metadata=metadata)


def test_the_graph_of_parameters_or_of_a_file(tmp_path):
    outputs = ['final_avg', 'conv1', 'softmax']
    whole = onnx_engine.export(TINY, parameters_of(TINY), outputs)
    onnx_engine.save(whole, tmp_path / 'model.onnx')
    model = onnx_engine.read(tmp_path / 'model.onnx')
    for source in (parameters_of(TINY), model):
        made = onnx_engine.graph_of(TINY, source, outputs)
        assert made.graph == whole.graph
        assert not made.metadata_props, 'texts that no engine reads'
    part = onnx_engine.graph_of(TINY, model, ['softmax', 'final_avg'])
    assert [value.name for value in part.graph.output] == ['softmax', 'final_avg']
    onnx.checker.check_model(part, full_check=True)
    (expected,), (got,) = run_openvino(whole, clips_of(TINY)), run_openvino(part, clips_of(TINY))
    assert_close(got, {name: expected[name] for name in got})


def test_a_graph_of_a_file_has_no_other_outputs(tmp_path):
    path = tmp_path / 'model.onnx'
    onnx_engine.save(onnx_engine.export(TINY, parameters_of(TINY), ['softmax', 'conv1']), path)
    with pytest.raises(InputError, match=f'{path} gives softmax, conv1, not final_avg; tools/exp'):
        onnx_engine.graph_of(TINY, onnx_engine.read(path), ['softmax', 'final_avg'])
