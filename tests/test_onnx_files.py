"""Reading ONNX files: what they tell, and that nothing but our networks is taken from them."""

import dataclasses
import json
import os
import random

import pytest

from onnx_models import TINY, parameters_of, proto_of, settings_of
from r2plus1d.errors import InputError
from r2plus1d.networks.input import RGB_MEAN, RGB_STD
from r2plus1d.networks.network import Network

onnx = pytest.importorskip('onnx', reason='needs ONNX')

from r2plus1d.weights import onnx_file as onnx_engine  # noqa: E402


@pytest.fixture
def written(tmp_path):
    """Return a function that writes bytes, or a ModelProto, and gives the path."""

    def write(content):
        path = tmp_path / 'model.onnx'
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        return path

    return write


FLOW = {'input_type': 'flow', 'flow_data_type': 'xy_gray', 'do_flow_aggregation': True}


@pytest.mark.parametrize('fold', [False, True])
@pytest.mark.parametrize(
    ('network', 'changes'),
    [
        (TINY, {'sampling_rate_rgb': 3, 'video_res_type': 'short_edge', 'short_edge': 120}),
        (Network('r2d', 10, clip_length=16, width=0.1, num_channels=3, multi_label=True), FLOW),
        (Network('mc3', 16, crop_size=224, width=0.1), {'video_res_type': 'original'}),
        (Network('r2d', 10, width=1 / 24, pred_layer_name='my layer', use_dropout=True), {}),
        (Network('c3d', width=0.01), {}),
    ],
)
def test_a_file_tells_what_it_is(written, network, changes, fold):
    names = tuple(f'class {i}, "ä"\t' for i in range(network.num_labels))
    metadata = onnx_engine.describe(
        network, settings_of(**changes), class_names=names, weights_sha256='0a' * 32
    )
    outputs = (network.logits, network.prediction)
    model = onnx_engine.export(
        network, parameters_of(network), outputs, fold_batch_norm=fold, metadata=metadata
    )
    path = written(model)
    got = onnx_engine.read(path)
    assert (got.path, got.network, got.outputs) == (path, network, outputs)
    assert (got.class_names, got.batch_norm_folded) == (names, fold)
    assert got.metadata['weights_sha256'] == '0a' * 32
    assert proto_of(got) == model
    own = {'length': network.clip_length, 'crop_size': network.crop_size}
    assert got.input == dataclasses.replace(settings_of(**changes), **own)
    assert got.input.channels == network.num_channels
    statistics = [json.loads(got.metadata[f'channel_{what}']) for what in ('mean', 'std')]
    assert [len(numbers) for numbers in statistics] == [network.num_channels] * 2


def test_the_statistics_of_the_channels():
    network = Network('r2d', 10, num_channels=5)
    metadata = onnx_engine.describe(
        network, settings_of(input_type='flow', flow_data_type='xy_rgb')
    )
    assert json.loads(metadata['channel_mean']) == [0.0046635, 0.0046261, *RGB_MEAN]
    assert json.loads(metadata['channel_std']) == [0.972347, 0.755146, *RGB_STD]


def test_a_file_may_be_silent_about_its_clips(written):
    path = written(onnx_engine.export(TINY, parameters_of(TINY), ['softmax']))
    got = onnx_engine.read(path)
    assert (got.network, got.input, got.class_names) == (TINY, None, None)


def tiny_model():
    metadata = onnx_engine.describe(TINY, settings_of(), class_names='abcde')
    return onnx_engine.export(TINY, parameters_of(TINY), ['softmax'], metadata=metadata)


def test_a_stranger_may_add_metadata(written):
    model = tiny_model()
    model.metadata_props.add(key='licence', value='CC0')
    assert onnx_engine.read(written(model)).metadata['licence'] == 'CC0'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'no ONNX file of tools/export_onnx.py or quantize.py, or cut short'),
        (b'garbage', 'not an ONNX file, or cut short'),
        (b'\x80\x02}q\x00.', 'not an ONNX file, or cut short'),
        (onnx.ModelProto(producer_name='pytorch'), 'no ONNX file of tools/export_onnx.py'),
    ],
)
def test_other_files_are_refused(written, content, message):
    path = written(content)
    with pytest.raises(InputError, match=f'^{path}: {message}'):
        onnx_engine.read(path)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=f'{tmp_path} is a folder'):
        onnx_engine.read(tmp_path)
    with pytest.raises(InputError, match='absent.onnx: no such'):
        onnx_engine.read(tmp_path / 'absent.onnx')


def test_a_file_that_is_cut_short_is_refused(written):
    content = tiny_model().SerializeToString()
    for length in (1, 10, 100, len(content) // 2, len(content) - 2000, len(content) - 1):
        path = written(content[:length])
        with pytest.raises(InputError, match=f'^{path}: .*cut short|^{path}: .*metadata'):
            onnx_engine.read(path)


@pytest.mark.parametrize('more', [b'\x0c', b'\x0b\x0a', b'\xff'])
def test_a_file_that_goes_on_after_its_end_is_refused(written, more):
    with pytest.raises(InputError, match='not an ONNX file, or cut short'):
        onnx_engine.read(written(tiny_model().SerializeToString() + more))


def test_a_file_above_2_gb_is_refused_unread(tmp_path):
    path = tmp_path / 'model.onnx'
    with path.open('wb') as file:
        file.truncate(1 << 32)  # of which nothing lies on the disk
    with pytest.raises(InputError, match='4294967296 bytes; an ONNX file has at most 2147483647'):
        onnx_engine.read(path)


def test_a_file_of_many_empty_parts_is_refused_before_it_is_parsed(written, monkeypatch):
    """Two bytes of the file would take a hundred of memory."""
    many = b'\x0a\x00' * 200_000  # nodes
    path = written(b'\x3a' + bytes([*_varint(len(many))]) + many)
    monkeypatch.setattr(onnx.ModelProto, 'FromString', None)
    with pytest.raises(InputError, match=f'^{path}: it has more than 100000 parts'):
        onnx_engine.read(path)


def _varint(number):
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number


def test_a_pipe_is_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / 'model.onnx')
    with pytest.raises(InputError, match='model.onnx is a FIFO, not a weight file'):
        onnx_engine.read(tmp_path / 'model.onnx')


def set_metadata(key, value):
    def change(model):
        for prop in model.metadata_props:
            if prop.key == key:
                prop.value = value

    return change


def drop_metadata(key):
    def change(model):
        kept = [(p.key, p.value) for p in model.metadata_props if p.key != key]
        del model.metadata_props[:]
        for name, value in kept:
            model.metadata_props.add(key=name, value=value)

    return change


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('format_version', '2', "format_version is '2'; 1 is known here"),
        ('model_name', 'r4d', "model_name: 'r4d' is unknown; known: r2d"),
        ('model_depth', '19', 'model_depth is 19; known depths: 10'),
        ('model_depth', '-1', 'model_depth: -1 is less than 1'),
        ('model_depth', '18', 'its initializers are not those of the network'),
        ('clip_length', '12', 'clip_length is 12; a multiple of 8'),
        ('clip_length', '16', r'conv1_w/folded is \[4, 3, 8, 7, 7\], not float32 \[4, 3, 16'),
        ('clip_length', '8' * 190, 'clip_length is 8{190}; at most 1048576'),
        ('clip_length', '8' * 100000, 'clip_length has 100000 characters; at most 200'),
        ('crop_size', '224', 'its graph is not the one that is exported of r2d_10_8'),
        ('crop_size', '112.0', "crop_size: '112.0' is not an integer"),
        ('num_channels', '2', r'not float32 \[4, 2, 8'),
        ('num_labels', '1000000', r'last_out_L5_w is \[5, 32\], not float32 \[1000000, 32\]'),
        ('multi_label', 'yes', "multi_label: 'yes' is unknown; known: 0, 1"),
        ('multi_label', '1', 'features asks for softmax, which'),
        ('width', 'nan', 'width: nan is not above 0'),
        ('width', '99', 'width is 99.0; above 0, at most 4'),
        ('pred_layer_name', 'other', 'its initializers are not'),
        ('pred_layer_name', 'a\x1b[31mb', r'pred_layer_name is .*x1b'),
        ('pred_layer_name', 'a/b', 'pred_layer_name is a/b'),
        ('pred_layer_name', 'conv1', 'pred_layer_name makes a second conv1'),
        ('batch_norm_folded', '2', "batch_norm_folded: '2' is unknown; known: 0, 1"),
        ('batch_norm_folded', '0', 'its initializers are not'),
        ('input_type', 'audio', "input_type: 'audio' is unknown"),
        ('input_type', 'flow', 'num_channels is 3; the input has 2'),
        ('sampling_rate_rgb', '0', 'sampling_rate_rgb: 0 is less than 1'),
        ('video_res_type', 'any', "video_res_type: 'any' is unknown; known: scale"),
        ('scale_w', '100', 'crop_size is 112, larger than frames resized to 100'),
        ('channel_mean', '[1, 2, 3]', r"channel_mean is '\[1, 2, 3\]'; clips are normalized with"),
        ('channel_mean', '[' * 100000, 'channel_mean is missing, or not JSON'),
        ('channel_std', 'none', 'channel_std is missing, or not JSON'),
        ('labels', '["a", "b"]', 'labels name 2 classes; num_labels is 5'),
        ('labels', '{"a": 5}', 'labels are not a list of class names'),
        ('labels', '[1, 2, 3, 4, 5]', 'labels are not a list of class names'),
        ('labels', '[' + '9' * 1000000 + ']', 'labels are not a list of class names'),
        ('labels', '["a", "b", "c", "d", "\\u001b"]', r'labels has .*x1b'),
        ('weights_sha256', 'x', "weights_sha256 is 'x'"),
    ],
    ids=lambda text: text[:20],
)
def test_wrong_metadata_is_refused(written, key, value, message):
    model = tiny_model()
    if key == 'weights_sha256':
        model.metadata_props.add(key=key, value='0' * 64)
    path = written(model)
    onnx_engine.read(path)
    set_metadata(key, value)(model)
    path = written(model)
    with pytest.raises(InputError, match=message) as caught:
        onnx_engine.read(path)
    text = str(caught.value)
    assert text.startswith(f'{path}: ')
    assert text.isprintable()
    assert len(text) < 600


@pytest.mark.parametrize('key', ['model_name', 'width', 'scale_w', 'batch_norm_folded'])
def test_missing_metadata_is_refused(written, key):
    model = tiny_model()
    drop_metadata(key)(model)
    with pytest.raises(InputError, match=f'{key} is not among the metadata'):
        onnx_engine.read(written(model))


def test_missing_statistics_are_refused(written):
    model = tiny_model()
    drop_metadata('channel_std')(model)
    with pytest.raises(InputError, match='channel_std is missing'):
        onnx_engine.read(written(model))


def test_metadata_that_is_not_text_is_refused(written):
    content = tiny_model().SerializeToString()
    raw = content.replace(b'["a", "b", "c", "d", "e"]', b'["a", "b", "c", "d", "\xff"]')
    assert raw != content
    with pytest.raises(InputError, match='not UTF-8|not an ONNX file'):
        onnx_engine.read(written(raw))


def test_metadata_given_twice_is_refused(written):
    model = tiny_model()
    model.metadata_props.add(key='model_name', value='r3d')
    with pytest.raises(InputError, match='its metadata has a key twice'):
        onnx_engine.read(written(model))


# Graphs that are not ours. Each takes a model that is read and changes one thing.


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField('raw_data')
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value='/etc/passwd')


def external_too(model):
    model.graph.initializer[0].external_data.add(key='location', value='/etc/passwd')


def external_in_an_attribute(model):
    tensor = onnx.TensorProto(name='t', data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key='location', value='/etc/passwd')
    model.graph.node[0].attribute.add(name='value', type=onnx.AttributeProto.TENSOR, t=tensor)


def unknown_operator(model):
    model.graph.node[1].op_type = 'Loop'


def custom_domain(model):
    model.graph.node[1].domain = 'com.evil'


def custom_opset(model):
    model.opset_import.add(domain='com.evil', version=1)


def other_opset(model):
    model.opset_import[0].version = 17


def other_operator(model):
    model.graph.node[1].op_type = 'Sigmoid'


def node_more(model):
    model.graph.node.add(op_type='Relu', input=['softmax'], output=['more'])


def node_less(model):
    del model.graph.node[-1]


def attribute(model):
    (strides,) = [a for a in model.graph.node[0].attribute if a.name == 'strides']
    strides.ints[1] = 1


def function(model):
    model.functions.add(name='Relu', domain='com.evil')


def training(model):
    model.training_info.add()


def sparse(model):
    model.graph.sparse_initializer.add()


def input_more(model):
    model.graph.input.add(name='label')


def no_output(model):
    del model.graph.output[:]


def other_output(model):
    model.graph.output[0].name = 'evil\x1b[31m'


def dimensions(model):
    model.graph.initializer[0].dims[0] = 1 << 60


def short(model):
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def doubles(model):
    model.graph.initializer[0].data_type = onnx.TensorProto.DOUBLE


def lists(model):
    tensor = model.graph.initializer[0]
    tensor.float_data.extend(onnx.numpy_helper.to_array(tensor).ravel())
    tensor.ClearField('raw_data')


def both_lists(model):
    model.graph.initializer[0].float_data.append(1)


def nan(model):
    tensor = model.graph.initializer[2]
    tensor.raw_data = b'\0\0\xc0\x7f' + tensor.raw_data[4:]


def initializer_more(model):
    model.graph.initializer.add(name='more', data_type=1)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (external, 'conv1_w/folded lies in another file, which is not read'),
        (external_too, 'conv1_w/folded lies in another file, which is not read'),
        (external_in_an_attribute, 'its graph is not the one'),
        (unknown_operator, "operators 'Loop' are not of our networks"),
        (custom_domain, "operators of the domain 'com.evil' are not run"),
        (custom_opset, "operators of the domain 'com.evil' are not run"),
        (other_opset, 'its graph is not the one'),
        (other_operator, 'its graph is not the one'),
        (node_more, 'its graph is not the one'),
        (node_less, 'its graph is not the one'),
        (attribute, 'its graph is not the one'),
        (function, 'its graph is not the one'),
        (training, 'its graph is not the one'),
        (sparse, 'its graph is not the one'),
        (input_more, 'its graph is not the one'),
        (no_output, 'features asks for nothing'),
        (other_output, r'features asks for evil\\x1b\[31m, which'),
        (dimensions, r'conv1_w/folded is \[1152921504606846976, 3, 8, 7, 7\], not float32 \[4, 3'),
        (short, 'conv1_w/folded has 18812 bytes, not 18816'),
        (doubles, r'conv1_w/folded is .*, not float32'),
        (lists, 'conv1_w/folded has 0 bytes, not 18816'),
        (both_lists, 'its graph is not the one'),
        (nan, 'NaN or infinite values in comp_0_conv_1_w/folded'),
        (initializer_more, 'its initializers are not those of the network'),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)
def test_other_graphs_are_refused(written, change, message):
    model = tiny_model()
    change(model)
    path = written(model)
    with pytest.raises(InputError, match=message) as caught:
        onnx_engine.read(path)
    assert str(caught.value).startswith(f'{path}: ')
    assert str(caught.value).isprintable()


def test_broken_files_do_no_harm(written):
    """Whatever is changed in a file, it is refused in one line, or it is one of our networks."""
    model = onnx_engine.export(TINY, parameters_of(TINY), ['conv1_spatbn_relu'])
    for tensor in model.graph.initializer:
        tensor.raw_data = bytes(len(tensor.raw_data))
    whole, rng = model.SerializeToString(), random.Random(0)
    # Nearly all of the file is weights; what is before and after them is more interesting.
    weights_at = whole.index(bytes(1000))
    places = [*range(weights_at), *range(len(whole) - 1500, len(whole))]
    refused = 0
    for _ in range(1000):
        raw = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 8])):
            raw[rng.choice(places)] = rng.randrange(256)
        path = written(bytes(raw))
        try:
            got = onnx_engine.read(path)
        except InputError as error:
            assert str(error).startswith(f'{path}: ')
            refused += 1
        else:
            assert {node.op_type for node in proto_of(got).graph.node} <= {'Conv', 'Relu'}
            assert got.outputs == ('conv1_spatbn_relu',)
    assert 500 < refused < 1000, 'all or nothing was refused'
