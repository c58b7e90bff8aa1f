"""Weights in Caffe2's minidb: what Caffe2 saved is read, what is damaged is refused."""

import pickle
import struct

import numpy as np
import pytest

from minidb_records import joined, split
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network
from r2plus1d.weights.files import read_minidb

pytest.importorskip('caffe2.python', reason='needs Caffe2')

from caffe2.proto import caffe2_pb2  # noqa: E402
from caffe2.python import core, workspace  # noqa: E402
from caffe2.python.predictor import predictor_exporter  # noqa: E402

from r2plus1d.backends.caffe2 import layers  # noqa: E402
from r2plus1d.backends.caffe2.layers import build  # noqa: E402
from r2plus1d.weights.stored import open_weights

SMALL = Network('r2d', 10, clip_length=8, num_labels=5)
BLOBS = {
    'conv1_w': np.arange(48, dtype=np.float32).reshape(4, 3, 1, 2, 2),
    'last_out_L5_b': np.arange(5, dtype=np.float32),
}


def assert_same(got, expected):
    assert list(got) == list(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        assert np.array_equal(got[name], array), name


@pytest.fixture
def caffe2_workspace():
    previous = workspace.CurrentWorkspace()
    workspace.SwitchWorkspace('test_minidb', True)
    yield workspace
    workspace.ResetWorkspace()
    workspace.SwitchWorkspace(previous)


@pytest.fixture
def saved(tmp_path, caffe2_workspace):
    """Return a function that saves {blob: array} with Caffe2's Save operator; gives the path."""

    def save(blobs):
        path = tmp_path / 'model.mdl'
        for name, array in blobs.items():
            workspace.FeedBlob(name, array)
        arguments = {'db': str(path), 'db_type': 'minidb', 'absolute_path': 1}
        workspace.RunOperatorOnce(core.CreateOperator('Save', list(blobs), [], **arguments))
        return path

    return save


@pytest.mark.parametrize('scope', ['', 'gpu_0/', 'cpu_0/'])
def test_minidb_of_save(saved, scope):
    blobs = {**BLOBS, 'steps': np.arange(4, dtype=np.int64), 'double': np.arange(3.0)}
    path = saved({scope + name: array for name, array in blobs.items()})
    assert_same(dict(sorted(read_minidb(path).items())), dict(sorted(blobs.items())))


def test_minidb_of_several_replicas(saved):
    path = saved({'gpu_0/a': np.zeros(2, np.float32), 'gpu_1/a': np.ones(2, np.float32)})
    assert_same(read_minidb(path), {'a': np.zeros(2, np.float32)})


def test_minidb_of_the_predictor_export(tmp_path, caffe2_workspace):
    model = layers.new_model(SMALL.name)
    with core.NameScope('gpu_0'):
        build(model, SMALL)
    workspace.RunNetOnce(model.param_init_net)
    parameters = [str(blob) for blob in model.GetParams() + model.GetComputedParams()]
    expected = {name[len('gpu_0/') :]: workspace.FetchBlob(name) for name in parameters}
    meta = predictor_exporter.PredictorExportMeta(
        predict_net=model.net.Proto(),
        parameters=parameters,
        inputs=['gpu_0/data', 'gpu_0/label'],
        outputs=['gpu_0/softmax'],
        shapes={'gpu_0/data': (1, 3, 8, 112, 112), 'gpu_0/label': (1,), 'gpu_0/softmax': (1, 5)},
    )
    path = tmp_path / 'r2d_1.mdl'
    predictor_exporter.save_to_db('minidb', str(path), meta)
    assert_same(open_weights(path, 'minidb').parameters(SMALL), expected)


def test_minidb_in_chunks(saved):
    large = np.arange(2_500_000, dtype=np.float32).reshape(5, -1)
    path = saved({'large': large, 'small': np.ones(3, np.float32)})
    records = [key for key, _ in split(path.read_bytes())]
    assert sum(b'large' in key for key in records) == 3  # Caffe2 did save it in pieces
    assert_same(read_minidb(path), {'large': large, 'small': np.ones(3, np.float32)})


def test_minidb_without_one_of_its_chunks(saved):
    path = saved({'large': np.zeros(2_500_000, np.float32)})
    path.write_bytes(joined(split(path.read_bytes())[:-1]))
    with pytest.raises(InputError, match='large is cut short: '):
        read_minidb(path)


@pytest.mark.parametrize('size', [3, 8, 20, 100])
def test_minidb_cut_short(saved, size):
    path = saved(BLOBS)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match='model.mdl'):
        read_minidb(path)


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        (b'', 'holds no tensors; is it a minidb'),
        (b'no minidb, just text', 'not a minidb'),
        (b'\x00' * 64, 'holds no tensors'),
        (struct.pack('<ii', -1, 5) + bytes(20), 'not a minidb'),
        (joined([(b'key', b'\xff\xff\xff')]), 'not a readable minidb'),
        (pickle.dumps(BLOBS, 2), 'not a minidb'),
    ],
)
def test_files_that_are_no_minidb(tmp_path, raw, message):
    path = tmp_path / 'model.mdl'
    path.write_bytes(raw)
    with pytest.raises(InputError, match=message):
        read_minidb(path)


@pytest.mark.parametrize('dims', [[-1], [1 << 40], [1 << 31, 1 << 31, 1 << 31]])
def test_minidb_with_a_shape_that_it_cannot_hold(saved, dims):
    path = saved({'a': np.zeros(3, np.float32)})
    ((key, value),) = split(path.read_bytes())
    blob = caffe2_pb2.BlobProto.FromString(value)
    blob.tensor.dims[:] = dims
    path.write_bytes(joined([(key, blob.SerializeToString())]))
    with pytest.raises(
        InputError, match=r'a has the shape \[.*\], which no tensor has|a is cut short: 3 of'
    ):
        read_minidb(path)


def test_minidb_with_more_values_than_its_shape(saved):
    path = saved({'a': np.zeros(3, np.float32)})
    ((key, value),) = split(path.read_bytes())
    blob = caffe2_pb2.BlobProto.FromString(value)
    blob.tensor.dims[:] = [2]
    path.write_bytes(joined([(key, blob.SerializeToString())]))
    with pytest.raises(InputError, match=r'a holds 3 values, more than its shape \[2\]'):
        read_minidb(path)
