"""PyTorch's files of tensors, read as data and written without PyTorch."""

import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from r2plus1d.backends.installed import has
from r2plus1d.errors import InputError
from r2plus1d.weights import card, torch_file, torch_pickle
from torch_entries import assert_same

ARRAYS = {
    'a.weight': np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    'half': np.arange(6, dtype=np.float16).reshape(2, 3),
    'count': np.array(7, np.int64),
    'empty': np.empty((0, 3), np.float32),
    'flags': np.array([True, False]),
}
MAGIC = 0x1950A86A20F9469CFC6C


def opcodes(*tensors):
    """The pickle of tensors: (storage, its numbers, offset, size, strides and perhaps class)."""
    out = [b'\x80\x02}(']
    for name, (key, count, offset, size, stride, *kind) in zip('abcdefgh', tensors):
        out += [torch_pickle._text(name), b'ctorch._utils\n_rebuild_tensor_v2\n((']
        out += [torch_pickle._text('storage'), b'ctorch\n%s\n' % (kind or [b'FloatStorage'])[0]]
        out += [torch_pickle._text(key), torch_pickle._text('cpu'), torch_pickle._integer(count)]
        out += [b'tQ', torch_pickle._integer(offset), torch_pickle._integers(size)]
        out += [torch_pickle._integers(stride), b'\x89ccollections\nOrderedDict\n)RtR']
    return b''.join([*out, b'u.'])


def zipped(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, content in parts.items():
            archive.writestr(f'archive/{name}', content)
    return path


def old(path, content, keys, storages):
    """A file as PyTorch wrote it before 1.6; `storages` are (count stated, bytes)."""
    system = {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'int': 4}}
    raw = b''.join(pickle.dumps(part, 2) for part in (MAGIC, 1001, system))
    raw += content + pickle.dumps(keys, 2)
    path.write_bytes(raw + b''.join(struct.pack('<q', n) + numbers for n, numbers in storages))
    return path


def test_there_and_back(tmp_path):
    path = tmp_path / 'x.pth'
    torch_file.write(path, ARRAYS, {'clip_length': '8'})
    content, said = torch_file.read(path)
    assert_same(content, ARRAYS)
    assert said == {'clip_length': '8'}
    first = path.read_bytes()
    torch_file.write(path, ARRAYS, {'clip_length': '8'})
    assert path.read_bytes() == first
    assert not (tmp_path / 'x.pth.partial').exists()


@pytest.mark.skipif(not has('torch'), reason='needs PyTorch 2')
def test_pytorch_reads_what_is_written(tmp_path):
    import torch

    torch_file.write(tmp_path / 'x.pth', ARRAYS, {'clip_length': '8'})
    found = torch.load(tmp_path / 'x.pth', weights_only=True)
    assert_same({name: tensor.numpy() for name, tensor in found.items()}, ARRAYS)


@pytest.mark.parametrize('new', [True, False], ids=['zip', 'old'])
def test_what_pytorch_writes_is_read(tmp_path, new):
    torch = pytest.importorskip('torch', reason='needs PyTorch')
    whole = torch.arange(12.0).reshape(3, 4)
    norm = torch.nn.BatchNorm3d(3)
    saved = collections.OrderedDict(
        norm.state_dict(), turned=whole.t()[1:], part=whole[1], brain=torch.arange(5).bfloat16()
    )
    path = tmp_path / 'x.pth'
    torch.save(
        {'state_dict': saved, 'epoch': 3, 'learned': torch.nn.Parameter(torch.ones(2))},
        path, _use_new_zipfile_serialization=new,
    )  # fmt: skip
    content, said = torch_file.read(path)
    assert said is None
    assert content['epoch'] == 3
    expected = {name: tensor.float().numpy() for name, tensor in saved.items()}
    expected['num_batches_tracked'] = np.array(0)
    assert_same(content['state_dict'], expected)
    assert_same({'x': content['learned']}, {'x': np.ones(2, np.float32)})


def test_an_old_file_is_read(tmp_path):
    numbers = np.arange(6, dtype='<f4')
    content = opcodes(('k', 6, 2, (2, 2), (2, 1)))
    path = old(tmp_path / 'x.pth', content, ['k'], [(6, numbers.tobytes())])
    assert torch_file.is_torch_file(path)
    assert_same(torch_file.read(path).content, {'a': numbers[2:].reshape(2, 2)})


NUMBERS = np.arange(6, dtype='<f4').tobytes()
GOOD = {'data.pkl': opcodes(('0', 6, 0, (6,), (1,))), 'data/0': NUMBERS}
BAD = {
    'outside': ({**GOOD, 'data.pkl': opcodes(('0', 6, 1, (6,), (1,)))}, 'a storage of 6 numbers'),
    'stretched': ({**GOOD, 'data.pkl': opcodes(('0', 6, 0, (9999, 9999), (0, 0)))}, 'in a storage'),
    'negative': ({**GOOD, 'data.pkl': opcodes(('0', 6, 0, (2,), (-1,)))}, 'strides'),
    'short storage': ({**GOOD, 'data/0': NUMBERS[:-1]}, 'a storage of 23 bytes, not 24'),
    'no storage': ({'data.pkl': GOOD['data.pkl']}, 'archive/data/0'),
    'no pickle': ({'data/0': NUMBERS}, 'no zip of tensors'),
    'two sizes': (
        {**GOOD, 'data.pkl': opcodes(('0', 6, 0, (6,), (1,)), ('0', 5, 0, (5,), (1,)))},
        'storage 0 has 6 and 5 numbers',
    ),
    'code': ({**GOOD, 'data.pkl': b'\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.'}, 'os.system'),
    'class': (
        {**GOOD, 'data.pkl': opcodes(('0', 6, 0, (6,), (1,), b'load'))}, 'names torch.load'
    ),
    'attributes': ({**GOOD, 'data.pkl': GOOD['data.pkl'][:-2] + b'}b0u.'}, 'damaged|refused'),
}  # fmt: skip


@pytest.mark.parametrize('name', BAD)
def test_damaged_and_hostile_zips(tmp_path, name):
    parts, message = BAD[name]
    path = zipped(tmp_path / 'x.pth', parts)
    with pytest.raises(InputError, match=message) as caught:
        torch_file.read(path)
    assert str(caught.value).startswith(f'{path}: ')


def test_views_cannot_take_more_than_the_file(tmp_path):
    tensor = opcodes(('0', 1 << 20, 0, (1 << 20,), (1,)))
    one = tensor[len(b'\x80\x02}(') : -len(b'u.')]
    many = b'\x80\x02}(' + b''.join(
        torch_pickle._text(str(i)) + one[len(torch_pickle._text('a')) :] for i in range(40)
    )
    path = zipped(tmp_path / 'x.pth', {'data.pkl': many + b'u.', 'data/0': bytes(4 << 20)})
    with pytest.raises(InputError, match='far more than the file holds'):
        torch_file.read(path)


def test_a_tensor_under_many_names_is_copied_once(tmp_path):
    turned = opcodes(('0', 6, 0, (3, 2), (1, 3)))[: -len(b'u.')] + b'q\x01'
    again = b''.join(torch_pickle._text(f'again {i}') + b'h\x01' for i in range(100))
    path = zipped(tmp_path / 'x.pth', {'data.pkl': turned + again + b'u.', 'data/0': NUMBERS})
    content = torch_file.read(path).content
    assert len(content) == 101
    assert len({id(array) for array in content.values()}) == 1
    assert content['a'].tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    'text',
    [b'[' * 100_000, b'{"a": ' + b'9' * 1_000_000 + b'}', b'{"a": ', b'\xff', b'{"a": "bcd"}'],
    ids=lambda text: repr(text[:6]),
)
def test_a_card_that_is_no_json_or_too_long_is_refused(tmp_path, monkeypatch, text):
    path = zipped(tmp_path / 'x.pth', {**GOOD, 'extra/r2plus1d_card.json': text})
    if text.startswith(b'{"a": 9'):  # an integer that takes Python seconds, read as a float
        assert torch_file.read(path).card == {'a': float('inf')}
        return
    if text.endswith(b'}'):
        assert torch_file.read(path).card == {'a': 'bcd'}
        monkeypatch.setattr(card, 'LONGEST_JSON', len(text) - 1)
    with pytest.raises(InputError, match=f'^{path}: refused: its card is not JSON, or too long'):
        torch_file.read(path)


def test_compressed_and_overlapping_parts_are_refused(tmp_path):
    path = zipped(tmp_path / 'x.pth', GOOD, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match='its parts are compressed'):
        torch_file.read(path)
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, 'w') as archive:
        archive.writestr('archive/data.pkl', GOOD['data.pkl'])
        archive.writestr('archive/data/0', NUMBERS * 1000)
        first = archive.infolist()[1]
        for number in range(1, 4):  # three more names for the same bytes
            again = zipfile.ZipInfo(f'archive/data/{number}')
            again.file_size = again.compress_size = first.file_size
            again.CRC, again.header_offset = first.CRC, first.header_offset
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    path.write_bytes(raw.getvalue())
    with pytest.raises(InputError, match='its parts overlap'):
        torch_file.read(path)


@pytest.mark.parametrize(
    ('keys', 'storages', 'message'),
    [
        (['k'], [(5, NUMBERS)], 'storage k has 5 numbers, not 6'),
        (['k'], [(6, NUMBERS[:-4])], 'truncated: storage k has 24 bytes'),
        (['k', 'l'], [(6, NUMBERS)], 'not those of its tensors'),
        ([], [], 'not those of its tensors'),
    ],
)
def test_damaged_old_files(tmp_path, keys, storages, message):
    path = old(tmp_path / 'x.pth', opcodes(('k', 6, 0, (6,), (1,))), keys, storages)
    with pytest.raises(InputError, match=message):
        torch_file.read(path)


@pytest.mark.parametrize('kind', ['zip', 'old'])
def test_a_file_that_is_cut_anywhere_is_one_line(tmp_path, kind):
    path = tmp_path / 'x.pth'
    if kind == 'zip':
        zipped(path, GOOD)
    else:
        old(path, opcodes(('k', 6, 0, (6,), (1,))), ['k'], [(6, NUMBERS)])
    whole = path.read_bytes()
    for size in range(len(torch_file.OLD), len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r'x\.pth: '):
            torch_file.read(path)


@pytest.mark.parametrize('seed', range(4))
def test_flipped_bytes_raise_nothing_else(tmp_path, seed):
    rng = np.random.default_rng(seed)
    path = zipped(tmp_path / 'x.pth', GOOD) if seed % 2 else tmp_path / 'x.pth'
    if not seed % 2:
        old(path, opcodes(('k', 6, 0, (6,), (1,))), ['k'], [(6, NUMBERS)])
    whole = bytearray(path.read_bytes())
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        changed[rng.integers(4, len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            torch_file.read(path)
        except InputError:
            refused += 1
    assert refused > 100


def test_nothing_is_imported_or_run(tmp_path):
    """The pickle names a function of a module that is not imported; neither happens."""
    path = zipped(tmp_path / 'x.pth', {**GOOD, 'data.pkl': b'\x80\x02cantigravity\nfly\n)R.'})
    program = (
        'import sys; from r2plus1d.weights import torch_file\n'
        'try: torch_file.read(sys.argv[1])\n'
        'except ValueError as error: print(error)\n'
        'print("antigravity" in sys.modules, "torch" in sys.modules)'
    )
    done = subprocess.run(
        [sys.executable, '-c', program, path], capture_output=True, text=True, check=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert 'refused: the pickle names antigravity.fly' in done.stdout
    assert done.stdout.endswith('False False\n')
