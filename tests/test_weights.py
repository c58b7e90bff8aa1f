"""Weight files: what is read, what is refused, and that reading never runs what they contain."""

import collections
import io
import pickle
import random
import struct

import numpy as np
import pytest

from r2plus1d.errors import InputError
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.weights import files, safe_pickle, torch_file
from r2plus1d.weights.files import read_weights, save_pickle
from r2plus1d.weights.match import fit_parameter, match_parameters
from r2plus1d.weights.stored import open_weights

GOLDEN_PICKLES = ('python2_flat', 'python2_protocol0', 'python2_protocol2')
SMALL = Network('r2d', 10, clip_length=8, num_labels=5)
SHAPES = {'conv1_w': (4, 3, 1, 2, 2), 'last_out_L5_w': (5, 4), 'last_out_L5_b': (5,)}
BLOBS = {
    'conv1_w': np.arange(48, dtype=np.float32).reshape(4, 3, 1, 2, 2),
    'last_out_L5_w': np.arange(20, dtype=np.float32).reshape(5, 4),
    'last_out_L5_b': np.arange(5, dtype=np.float32),
}


@pytest.fixture
def pickled(tmp_path):
    """Return a function that pickles an object, or writes bytes, and gives the path."""

    def write(content, protocol=2):
        path = tmp_path / 'weights.pkl'
        raw = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
        path.write_bytes(raw)
        return path

    return write


def blobs_of(path):
    return read_weights(path, 'pickle').blobs


def assert_same(got, expected):
    assert list(got) == list(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        assert np.array_equal(got[name], array), name


# What is read


@pytest.mark.parametrize('name', GOLDEN_PICKLES)
def test_python2_pickles(golden, name):
    blobs = blobs_of(golden / 'pickles' / f'{name}.pkl')
    expected = dict(np.load(golden / 'pickles' / 'expected.npz'))
    assert_same(blobs, {blob: expected.pop(blob) for blob in blobs})
    assert not expected


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    'wrap',
    [dict, collections.OrderedDict, lambda blobs: {'cfg': 'DATASET: kinetics', 'blobs': blobs}],
)
def test_python3_pickles(pickled, protocol, wrap):
    blobs = {
        **BLOBS,
        'fortran': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        'strided': np.arange(10, dtype=np.int64)[::3],
        'big_endian': np.arange(3, dtype='>f4'),
        'empty': np.zeros((0, 3), np.float32),
        'single': np.zeros((), np.float32),
        'lr': np.float32(0.01),
    }
    got = blobs_of(pickled(wrap(blobs), protocol))
    assert_same(got, {k: np.asarray(v, v.dtype.newbyteorder('=')) for k, v in blobs.items()})


def test_names_of_numpy_2_are_read(pickled):
    raw = pickle.dumps(BLOBS, 2).replace(b'numpy.core.multiarray', b'numpy._core.multiarray')
    assert_same(blobs_of(pickled(raw)), BLOBS)


def test_arrays_come_out_plain(pickled):
    content = safe_pickle.load(pickled({'list': [BLOBS], 'pair': (1, BLOBS['conv1_w'])}))
    assert type(content['list'][0]['conv1_w']) is type(content['pair'][1]) is np.ndarray


def test_text_entries_are_left_out(pickled):
    path = pickled({**BLOBS, 'cfg': 'a text', 'names': np.array(['a', 'b']), 'none': None})
    assert list(blobs_of(path)) == list(BLOBS)


# What is refused


class Call:
    """Pickles as a call of a function, as an attacker writes it."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def call_of(module, name, argument):
    """The bytes of a pickle that calls module.name(argument)."""
    return f'c{module}\n{name}\n(X'.encode() + struct.pack('<I', len(argument)) + argument + b'tR.'


@pytest.mark.parametrize(
    ('module', 'name'),
    [
        ('os', 'system'),
        ('posix', 'system'),
        ('subprocess', 'check_call'),
        ('builtins', 'eval'),
        ('builtins', 'exec'),
        ('builtins', 'getattr'),
        ('__builtin__', 'eval'),
        ('numpy', 'load'),
        ('numpy', 'fromfile'),
        ('numpy.core.multiarray', 'fromfile'),
        ('numpy.f2py', 'compile'),
        ('numpy', 'core.multiarray._reconstruct'),
        ('codecs', 'encode'),
        ('caffe2.python.workspace', 'RunNetOnce'),
    ],
)
@pytest.mark.parametrize('inside', ['alone', 'a blob'])
def test_globals_are_refused(pickled, module, name, inside):
    raw = call_of(module, name, b'/tmp/anything')
    raw = raw if inside == 'alone' else b'(dX\x01\x00\x00\x00b' + raw[:-1] + b's.'
    with pytest.raises(InputError, match=rf'refused: the pickle names {module}\.{name}'):
        blobs_of(pickled(raw))


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_pickle_is_run(pickled, tmp_path, protocol):
    marker = tmp_path / 'marker'
    path = pickled({**BLOBS, 'lr': Call(open, str(marker), 'w')}, protocol)
    with pytest.raises(InputError, match=r'refused: the pickle names (_?io|__builtin__)\.open'):
        blobs_of(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())['lr'].close()  # an ordinary unpickler does run it
    assert marker.exists()


def test_shared_containers_do_not_grow_without_bound(pickled):
    content = [1]
    for _ in range(60):
        content = [content, content]
    assert safe_pickle.load(pickled({'blobs': content}))['blobs'][1][0][1]


def test_functions_take_no_attributes(pickled):
    raw = b'\x80\x02cnumpy.core.multiarray\nscalar\n}X\x01\x00\x00\x00aK\x01sb.'
    with pytest.raises(InputError, match='sets attributes of a function'):
        safe_pickle.load(pickled(raw))


def test_other_codecs_are_refused(pickled):
    raw = b'c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.'
    with pytest.raises(InputError, match="refused: codecs.encode to 'rot13'"):
        safe_pickle.load(pickled(raw))


def test_persistent_ids_are_refused(pickled):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return 'outside' if isinstance(value, np.ndarray) else None

    raw = io.BytesIO()
    Pickler(raw, 2).dump(BLOBS)
    with pytest.raises(InputError, match="refused: .* an outside object 'outside'"):
        safe_pickle.load(pickled(raw.getvalue()))


RECONSTRUCT, SCALAR = np.zeros(1).__reduce__()[0], np.float32(0).__reduce__()[0]
POINTER = b'A' * 8  # not the address of anything


class Dtype:
    """A dtype of which a pickle sets the flags: 0 hides that its values are Python objects."""

    def __init__(self, text, flags):
        self.reduced = np.dtype, (text, False, True), (3, '|', None, None, None, -1, -1, flags)

    def __reduce__(self):
        return self.reduced


class Array:
    def __init__(self, dtype, content):
        self.state = 1, (1,), dtype, False, content

    def __reduce__(self):
        return RECONSTRUCT, (np.ndarray, (0,), b'b'), self.state


@pytest.mark.parametrize(
    'content',
    [
        Array(Dtype('O8', 0), POINTER),
        Array(np.dtype('f8'), [1.0]),
        Array(Dtype('f8', 63), [1.0]),
        Array(np.dtype('f8'), POINTER[:3]),
        Array(np.dtype('f8'), 2 * POINTER),
        Call(SCALAR, Dtype('O8', 0), POINTER),
        Call(np.ndarray, (1,), 'O', POINTER),
        Call(np.ndarray, (1000,), 'f8', POINTER, 0, (4096,)),
        Call(RECONSTRUCT, np.ndarray, (1 << 40,), b'd'),
        Call(np.dtype, [('a', 'O')]),
        Call(np.dtype, ',8'),
    ],
)
def test_arrays_are_not_made_of_anything_but_numbers(pickled, content):
    with pytest.raises(InputError):
        safe_pickle.load(pickled(content))


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        (b'', 'not a readable pickle'),
        (b'\x00' * 100, 'weights.pkl'),
        (b'these are no weights\n', 'weights.pkl'),
        (b'<!DOCTYPE html><html></html>', 'weights.pkl'),
        (b'PK\x03\x04' + bytes(60), 'weights.pkl'),
        (pickle.dumps(BLOBS, 2)[:-30], 'weights.pkl'),
        (pickle.dumps(['a list'], 2), 'holds a list; weights are a dict'),
        (pickle.dumps({'cfg': 'text only'}, 2), 'holds no arrays'),
        (pickle.dumps({'blobs': {}}, 2), 'holds no arrays'),
    ],
)
def test_files_that_are_no_weights(pickled, raw, message):
    with pytest.raises(InputError, match=message):
        blobs_of(pickled(raw))


def test_damaged_pickles_give_one_kind_of_error(pickled):
    rng = random.Random(0)
    for raw in (pickle.dumps(BLOBS, 0), pickle.dumps({'blobs': BLOBS}, 2), pickle.dumps(BLOBS, 4)):
        for _ in range(200):
            damaged = bytearray(raw)
            for _ in range(rng.randint(1, 4)):
                damaged[rng.randrange(len(raw) // 2)] = rng.randrange(256)
            try:
                blobs_of(pickled(bytes(damaged[: rng.randrange(1, 2 * len(raw))])))
            except InputError as error:
                assert str(error).isprintable()


# What fits a network


def test_load_fills_a_network(pickled):
    shapes = parameter_shapes(SMALL)
    blobs = {name: np.full(shape, 0.5, np.float64) for name, shape in shapes.items()}
    loaded = open_weights(pickled({'blobs': blobs}), 'pickle').parameters(SMALL)
    assert_same(loaded, {name: array.astype(np.float32) for name, array in blobs.items()})


def test_what_is_saved_loads(tmp_path):
    parameters = random_parameters(SMALL, seed=1)
    save_pickle(tmp_path / 'small.pkl', parameters)
    assert_same(open_weights(tmp_path / 'small.pkl', 'pickle').parameters(SMALL), parameters)
    assert [path.name for path in tmp_path.iterdir()] == ['small.pkl']


def test_missing_and_misshapen_are_told_together():
    blobs = {
        'conv1_w': np.zeros((4, 3, 1, 5, 5)),
        'last_out_L5_w': np.zeros((4, 4)),
        'last_out_L4_b': np.zeros(4),
    }
    with pytest.raises(InputError) as caught:
        match_parameters(blobs, SHAPES, source='file.pkl')
    assert str(caught.value) == (
        'file.pkl does not hold this network: missing (1): last_out_L5_b; '
        'misshapen (2): conv1_w is 4x3x1x5x5, not 4x3x1x2x2, last_out_L5_w is 4x4, not 5x4; '
        'not in the network (1): last_out_L4_b'
    )


def test_long_lists_are_cut():
    with pytest.raises(InputError, match=r'missing \(20\): b0, b1, .*, b4 and 15 more;'):
        match_parameters({'a': np.zeros(1)}, {f'b{i}': (1,) for i in range(20)}, source='file.pkl')


def test_unused_blobs_are_told(caplog):
    match_parameters(
        {**BLOBS, 'lr': np.zeros(1), 'b_momentum': np.zeros(3)}, SHAPES, source='f.pkl'
    )
    assert caplog.messages == ['f.pkl: 1 blobs are not used: lr']


def test_all_used_is_silent(caplog):
    assert_same(match_parameters(BLOBS, SHAPES, source='f.pkl'), BLOBS)
    assert not caplog.messages


@pytest.mark.parametrize('value', [np.nan, np.inf, 1e39])  # the last is too large for float32
@pytest.mark.filterwarnings('ignore:overflow')
def test_nan_is_refused(value):
    broken = {**BLOBS, 'last_out_L5_b': np.array([0, 1, value, 3, 4], np.float64)}
    with pytest.raises(InputError, match='NaN or infinite values in last_out_L5_b'):
        match_parameters(broken, SHAPES, source='f.pkl')


def test_fc_fits_a_pointwise_convolution():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    fitted = fit_parameter(array, (2, 3, 1, 1, 1))
    assert fitted.shape == (2, 3, 1, 1, 1)
    assert np.array_equal(fitted.ravel(), array.ravel())


def test_2d_kernel_is_inflated():
    kernel = np.random.default_rng(0).random((2, 3, 3, 3)).astype(np.float32)
    inflated = fit_parameter(kernel, (2, 3, 4, 3, 3))
    assert inflated.shape == (2, 3, 4, 3, 3)
    assert inflated.dtype == np.float32
    for t in range(4):
        assert np.array_equal(inflated[:, :, t], kernel / np.float32(4))


@pytest.mark.parametrize(
    ('have', 'want'),
    [
        ((2, 3), (3, 2)),
        ((2, 3), (2, 3, 1, 1, 3)),
        ((6,), (2, 3)),
        ((2, 3, 3, 3), (2, 3, 3, 5, 5)),
        ((2, 3, 3, 3, 3), (2, 3, 1, 3, 3)),
        ((1,), ()),
    ],
)
def test_other_shapes_do_not_fit(have, want):
    assert fit_parameter(np.zeros(have), want) is None


def test_old_names_of_the_multi_label_head():
    shapes = {'pred_logit_w': (5,), 'pred_logit_b': (5,)}
    old = {'pred_logit_L5_w': np.ones(5, np.float32), 'pred_logit_L5_b': np.zeros(5, np.float32)}
    fitted = match_parameters(old, shapes, source='f.pkl')
    assert fitted['pred_logit_w'].tolist() == [1] * 5
    assert fitted['pred_logit_b'].tolist() == [0] * 5


def test_load_refuses_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match='absent.pkl: no such weight file'):
        open_weights(tmp_path / 'absent.pkl', 'pickle').parameters(SMALL)
    with pytest.raises(InputError, match='db_type is lmdb; known: pickle, minidb'):
        open_weights(tmp_path / 'absent.pkl', 'lmdb').parameters(SMALL)


def test_numbers_that_16_bits_do_not_hold_are_named():
    blobs = {'a_riv': np.array([7e4], np.float32), 'b': np.ones(1, np.float32)}
    with pytest.raises(InputError, match='a_riv has numbers beyond 65504, which 16 bits do not'):
        files.halved(blobs)
    assert files.halved({'b': blobs['b']})['b'].dtype == np.float16


def test_a_kind_of_file_that_a_flag_contradicts_is_named(tmp_path):
    torch_file.write(tmp_path / 'x.pth', {'fc.weight': np.ones((2, 2), np.float32)})
    with pytest.raises(InputError, match='a file of PyTorch or safetensors, and db_type is pickle'):
        files.read_weights(tmp_path / 'x.pth', 'pickle')


def test_random_weights_replace_no_others(tmp_path, run_tool):
    command = ('tools/random_weights.py', '--save_model_path=x.pkl', '--width=0.0625')
    (tmp_path / 'x.pkl').write_bytes(b'trained')
    done = run_tool(*command)
    assert done.returncode == 1
    assert done.stderr == 'random_weights.py: x.pkl is there already; --overwrite=1 replaces it\n'
    assert (tmp_path / 'x.pkl').read_bytes() == b'trained'
    done = run_tool(*command, '--overwrite=1', '--seed=3')
    assert done.returncode == 0, done.stderr
    found = read_weights(tmp_path / 'x.pkl', 'pickle').blobs
    expected = random_parameters(Network(width=0.0625, clip_length=16), 3)
    assert all(np.array_equal(found[name], array) for name, array in expected.items())
