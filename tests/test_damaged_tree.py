"""Damaged pages of a database: each is named before LMDB follows it out of the file."""

import itertools
import random
import struct
import subprocess
import sys

import lmdb
import pytest

from r2plus1d.datasets import database as database_module
from r2plus1d.datasets.database import DATA_FILE, Database
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.meta_pages import read_newest
from r2plus1d.datasets.record import Record
from r2plus1d.datasets.tree import PAGE, require_sound_tree
from r2plus1d.errors import InputError

SIZE, META = 4096, 16
SIZE_OF_PAGES, FLAGS, DEPTH, ROOT = META + 24, META + 76, META + 78, META + 112
LAST_PAGE = META + 120
NODES = 16  # where the places of the nodes begin in a page


@pytest.fixture
def made(tmp_path):
    """The file of a database of 200 paths and a video, whose tree has a branch over its leaves."""
    with DatabaseWriter(tmp_path / 'made', 201) as writer:
        for index in range(200):
            writer.add(Record(b'/videos/%03d.mp4' % index * 3, (index,)))
        writer.add(Record(b'\0' * 9000, (0,)))
    data = tmp_path / 'made' / DATA_FILE
    assert len(data.read_bytes()) % SIZE == 0
    return data


def pages_of(data):
    """(root, first leaf, the leaf of the video) by their numbers."""
    with data.open('rb') as file:
        meta = read_newest(file.fileno())
    content = data.read_bytes()
    assert meta.depth == 2
    places = struct.unpack_from('<3H', content, meta.root * SIZE + NODES)
    leaves = [struct.unpack_from('<HH', content, meta.root * SIZE + place)[0] for place in places]
    lower = struct.unpack_from('<H', content, meta.root * SIZE + 12)[0]
    last = struct.unpack_from('<H', content, meta.root * SIZE + lower - 2)[0]
    return meta.root, leaves[0], struct.unpack_from('<H', content, meta.root * SIZE + last)[0]


def change(data, kind, place, value):
    with data.open('r+b') as file:
        file.seek(place)
        file.write(struct.pack(kind, value))


def refusal(data):
    with pytest.raises(InputError) as caught:
        Database(data.parent)
    text = str(caught.value)
    assert text.startswith(f'{data} is damaged: ') and text.endswith('copy it again')
    return text


def node_of(data, page, number=0):
    """Place in the file of a node of a page."""
    place = struct.unpack_from('<H', data.read_bytes(), page * SIZE + NODES + 2 * number)[0]
    return page * SIZE + place


ROOM, LEAF, LAST = 'root', 'leaf', 'last'
DAMAGE = [
    (ROOM, 0, '<Q', 99, 'is another one .number 99'),
    (ROOM, 10, '<H', 2, 'is another one .number .*flags 0x2'),
    (LEAF, 10, '<H', 4, 'is another one .number .*flags 0x4'),
    (LEAF, 12, '<H', 15, 'says wrongly how much it holds'),
    (LEAF, 12, '<H', 16, 'says wrongly how much it holds'),
    (ROOM, 12, '<H', 18, 'says wrongly how much it holds'),
    (LEAF, 12, '<H', 5000, 'says wrongly how much it holds'),
    (LEAF, 14, '<H', 5000, 'says wrongly how much it holds'),
    (LEAF, NODES, '<H', 4095, 'has a record at a place outside of it'),
    (LEAF, NODES, '<H', 4090, 'has a record at a place outside of it'),
    (LEAF, NODES, '<H', 3, 'has a record at a place outside of it'),
]


@pytest.mark.parametrize(('page', 'place', 'kind', 'value', 'reason'), DAMAGE)
def test_a_damaged_page_is_named(made, page, place, kind, value, reason):
    number = dict(zip((ROOM, LEAF, LAST), pages_of(made)))[page]
    change(made, kind, number * SIZE + place, value)
    text = refusal(made)
    assert f'page {number} ' in text
    with pytest.raises(InputError, match=reason):
        Database(made.parent)


@pytest.mark.parametrize(
    ('page', 'place', 'kind', 'value', 'reason'),
    [
        (ROOM, 0, '<H', 60000, 'page 60000 is where no page of records can be'),
        (ROOM, 0, '<H', 1, 'page 1 is where no page of records can be'),
        (ROOM, 6, '<H', 5000, 'has a key that reaches out of it'),
        (LEAF, 4, '<H', 5, 'has a record that reaches out of it'),
        (LEAF, 0, '<H', 5000, 'has a record that reaches out of it'),
        (LEAF, 6, '<H', 5000, 'has a record that reaches out of it'),
        (LEAF, 4, '<H', 1, 'has a record in a page that is not there'),
    ],
)
def test_a_damaged_node_is_named(made, page, place, kind, value, reason):
    number = dict(zip((ROOM, LEAF, LAST), pages_of(made)))[page]
    change(made, kind, node_of(made, number) + place, value)
    assert reason in refusal(made)


def test_two_ways_to_one_page_are_named(made):
    root, leaf, _ = pages_of(made)
    change(made, '<H', node_of(made, root, 1), leaf)
    assert f'page {leaf} is where no page of records can be' in refusal(made)


@pytest.mark.parametrize(('first', 'reason'), [(2**40, 'in a page that is not there'), (0, 'out')])
def test_a_video_that_is_elsewhere_is_named(made, first, reason):
    leaf, content = pages_of(made)[2], made.read_bytes()
    count = (struct.unpack_from('<H', content, leaf * SIZE + 12)[0] - NODES) // 2
    node = node_of(made, leaf, count - 1)
    key = struct.unpack_from('<H', content, node + 6)[0]
    last = len(content) // SIZE - 1
    change(made, '<Q', node + 8 + key, first or last)
    assert reason in refusal(made)


@pytest.mark.parametrize(
    ('place', 'kind', 'value', 'reason'),
    [
        (FLAGS, '<H', 4, 'ordered in a way that is not known, 0x4'),
        (DEPTH, '<H', 33, 'has the depth 33'),
        (DEPTH, '<H', 0, 'has the depth 0'),
        (DEPTH, '<H', 3, 'is another one'),
        (ROOT, '<Q', 2**63, 'is where no page of records can be'),
        (SIZE_OF_PAGES, '<I', 3000, 'its pages have 3000 bytes'),
        (SIZE_OF_PAGES + SIZE, '<I', 8192, 'its pages have 4096 and 8192 bytes'),
        (SIZE_OF_PAGES, '<I', 0, 'its pages have 0 bytes'),
    ],
)
def test_a_damaged_meta_page_is_named(made, place, kind, value, reason):
    for page in (0, 1):
        change(made, kind, page * SIZE + place, value)
        if 'pages' in reason:
            break
    assert reason in refusal(made)


READ = """
import random, sys
from r2plus1d.datasets import database
from r2plus1d.errors import InputError

data, guarded = sys.argv[1:]
if guarded == '0':
    database.require_sound_tree = lambda data: None
path = database.pathlib.Path(data)
sound, rng = path.read_bytes(), random.Random(3)
for trial in range(400):
    content, place = bytearray(sound), rng.randrange(len(sound) // 2 // 4096) * 4096 + 8192
    for _ in range(3):
        content[place + rng.randrange(64)] = rng.choice((0, 1, 255, rng.randrange(256)))
    folder = path.parent / str(trial)
    folder.mkdir(exist_ok=True)
    (folder / 'data.mdb').write_bytes(content)
    try:
        with database.Database(folder) as opened:
            for _ in opened:
                pass
            for key in opened.keys():
                opened.get(key)
    except InputError:
        pass
"""


@pytest.mark.parametrize('guarded', [True, False])
def test_no_damaged_page_ends_the_process(made, guarded):
    command = [sys.executable, '-c', READ, str(made), str(int(guarded))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 if guarded else done.returncode < 0, done.stderr


@pytest.mark.parametrize('size', [10, 1000, 3000, 100_000])
@pytest.mark.parametrize('deleted', [False, True])
def test_sound_trees_of_other_hands_are_taken(tmp_path, size, deleted):
    rng = random.Random(size)
    with lmdb.open(str(tmp_path), map_size=1 << 30) as environment:
        for begin in range(0, 900, 300):
            with environment.begin(write=True) as transaction:
                for index in range(begin, begin + 300):
                    key = str(rng.random()).encode() * rng.choice((1, 1, 20))
                    transaction.put(key, bytes(rng.randrange(size)))
                    if deleted and index % 3 == 0:
                        transaction.delete(key)
        count = environment.stat()['entries']
    require_sound_tree(tmp_path / DATA_FILE)
    with Database(tmp_path) as database:
        assert len(list(database)) == len(database.keys()) == count


def test_keys_that_lead_back_do_not_make_a_reader_go_on_for_ever(made, monkeypatch):
    root, leaf, _ = pages_of(made)
    (made.parent / 'records.crc32').unlink()
    content = made.read_bytes()
    key = node_of(made, root, 1) + 8
    length = struct.unpack_from('<H', content, key - 2)[0]
    assert content[key : key + length].isdigit()
    monkeypatch.setattr(database_module, 'MAPPED_BYTES', 1)
    change(made, f'{length}s', key, b'9' * length)
    with (
        Database(made.parent) as database,
        pytest.raises(InputError, match='it says that it holds 201 records'),
    ):
        list(itertools.islice(database, 10_000))


def test_the_header_of_a_page_is_as_lmdb_has_it(made):
    root, *_ = pages_of(made)
    number, _, flags, lower, upper = PAGE.unpack_from(made.read_bytes(), root * SIZE)
    assert (number, flags) == (root, 1) and NODES < lower < upper < SIZE
