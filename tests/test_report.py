"""The page of an evaluation: by tools/test_net.py, from its CSV, and from feature files."""

import base64
import csv
import dataclasses
import html.parser
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from conftest import ROOT, number_of
from r2plus1d.evaluation.outcomes import Outcome
from r2plus1d.evaluation.tally import Tally
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.pictures import confusion
from r2plus1d.pictures.html_page import shown
from r2plus1d.pictures.report import FRAME_HEIGHT, FRAMES, Pictures, write_report
from r2plus1d.video.spread_frames import spread_frames
from r2plus1d.weights.files import save_pickle
from tool_here import run_here

TEST_NET, MAKE_REPORT = 'tools/test_net.py', 'tools/make_report.py'
NETWORK = Network('r2d', 10, clip_length=8, num_labels=7, width=0.125)
HOSTILE = '<script>document.title="owned"</script>'
NAMES = (HOSTILE, 'a & b', '"quoted"', "it's", 'plain', 'žluťoučký', '<img src=x onerror=alert(1)>')
TIME = re.compile(r'<time.*?</time>')


class Page(html.parser.HTMLParser):
    """What is in a page: tags, addresses, tables (lists of rows of texts) and all text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.addresses, self.tables, self.words = [], [], [], []
        self._cell, self._is_hidden = None, False
        self.feed(path.read_text(encoding='utf-8'))
        self.text = ' '.join(''.join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._is_hidden = tag in ('style', 'script')
        self.addresses += [v for k, v in attributes if k in ('src', 'href', 'action', 'data')]
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self.tables[-1][-1].append('')
            self._cell = self.tables[-1][-1]

    def handle_endtag(self, tag):
        self._is_hidden = False
        if tag in ('td', 'th'):
            self._cell = None

    def handle_data(self, data):
        if not self._is_hidden:
            self.words.append(data)
        if self._cell is not None:
            self._cell[-1] += data

    def table(self, *headings):
        """Rows of the table whose first headings are these."""
        (found,) = [r[1:] for r in self.tables if tuple(r[0][: len(headings)]) == headings]
        return found


def require_alone(path):
    """The page loads nothing: no address but data, and a policy that forbids others."""
    page, text = Page(path), path.read_text(encoding='utf-8')
    assert all(address.startswith('data:image/') for address in page.addresses)
    assert "default-src 'none'; img-src data:;" in text
    assert not {'link', 'iframe', 'object', 'embed', 'base', 'form'} & {*page.tags}
    assert 'url(' not in text and '@import' not in text
    assert page.tags.count('script') == 1
    return page


def pictures_of(page):
    """BGR arrays of the pictures of a page, by kind."""
    found = {'png': [], 'jpeg': []}
    for address in page.addresses:
        kind, data = re.fullmatch(r'data:image/(\w+);base64,(.*)', address).groups()
        array = np.frombuffer(base64.b64decode(data), np.uint8)
        found[kind].append(cv2.imdecode(array, cv2.IMREAD_COLOR))
    return found


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('files')
    save_pickle(folder / 'weights.pkl', random_parameters(NETWORK, 0))
    (folder / 'names.txt').write_text(''.join(f'{name}\n' for name in NAMES), encoding='utf-8')
    return folder


@pytest.fixture
def database(make_video, make_database):
    """Fifteen videos, of which two cannot be used."""
    records = [(make_video(20 + i, seed=i).read_bytes(), i % 7, None, 1000 + i) for i in range(15)]
    records[3] = (b'\0no <b>video</b>', 3, None, 1003)
    records[8] = (records[8][0], 7, None, 1008)
    return make_database(records)


@pytest.fixture
def evaluate(files, database, tmp_path):
    def run(*arguments):
        return run_here(
            TEST_NET, f'--test_data={database}', f'--load_model_path={files / "weights.pkl"}',
            '--clip_length_rgb=8', '--clip_per_video=2',
            f'--labels={files / "names.txt"}', f'--failures={tmp_path / "failures.csv"}',
            *arguments,
        )  # fmt: skip

    return run


def test_the_page_of_a_run(evaluate, files, database, tmp_path):
    path = tmp_path / 'new' / 'r.html'
    done = evaluate(f'--report={path}', '--mistakes=5', '--top_k=3')
    assert done.returncode == 3, done.stderr
    page = require_alone(path)
    printed = re.search(r'clip: ([\d.]+), top 1: ([\d.]+), top3: ([\d.]+)', done.stdout).groups()
    assert tuple(row[1] for row in page.table('accuracy')) == printed
    assert [row[0] for row in page.table('accuracy')] == ['clip', 'video top 1', 'video top 3']
    assert '13 videos of 7 classes were scored, 2 failed.' in page.text
    assert {row[0] for row in page.table('class', 'videos')} == {*NAMES}
    assert sum(int(row[1]) for row in page.table('class', 'videos')) == 13
    shares = [float(row[3]) for row in page.table('class', 'videos')]
    assert shares == sorted(shares)
    reasons = page.table('records')
    assert sorted(row[0] for row in reasons) == ['1', '1']
    assert any('label 7 is out of range' in row[1] for row in reasons)
    assert page.text.count('is taken for') == 5
    assert len(pictures_of(page)['jpeg']) == 5
    weights = files / 'weights.pkl'
    assert re.search(rf'{re.escape(str(weights))}, SHA-256 [0-9a-f]{{64}}', page.text)
    assert re.search(rf'{re.escape(str(database))}, CRC-32 [0-9a-f]{{8}} of the checks', page.text)
    assert f'test_net.py --test_data={database}' in page.text
    assert 'clip_per_video2' in page.text
    assert f'Python{sys.version.split()[0]}' in page.text


def test_names_and_reasons_are_text(evaluate, tmp_path):
    path = tmp_path / 'r.html'
    evaluate(f'--report={path}')
    page, text = require_alone(path), path.read_text(encoding='utf-8')
    for name in NAMES:
        assert name in page.text
        assert shown(name) in text
        assert not set('<>&"\'') & set(name) or name not in text
    assert 'img' in page.tags and 'alert(1)' not in ' '.join(page.addresses)


def test_what_is_no_unicode_is_shown():
    assert shown('caf\udce9 <b>') == 'caf\ufffd &lt;b&gt;'
    assert shown('a\x1b[2J\u202ex') == 'a\\x1b[2J\\u202ex'
    assert shown('"\'') == '&quot;&#x27;'


def test_a_run_that_goes_on_has_the_same_page(evaluate, tmp_path):
    """A first run ends at the failed record; what is done is taken from its journal."""
    pages, output = [], tmp_path / 'p.csv'
    for name in ('whole', 'parts'):
        path = tmp_path / f'{name}.html'
        words = [f'--report={path}', f'--output={output}', '--batch_size=1']
        if name == 'parts':
            done = evaluate(*words, '--on_error=fail')
            assert done.returncode == 3
            assert f'{path} is written when the run is complete' in done.stderr
            assert not path.exists() and output.with_name('p.csv.journal').exists()
        done = evaluate(*words, '--max_failures=2')
        assert done.returncode == 0
        assert ('3 of 15 videos are done' in done.stderr) == (name == 'parts')
        output.unlink()
        text = TIME.sub('', path.read_text(encoding='utf-8'))
        pages.append(text.replace(f'{name}.html', 'x.html'))
    assert pages[0] == pages[1]


def test_the_page_of_a_csv_has_the_same_results(evaluate, files, database, tmp_path):
    path, output = tmp_path / 'r.html', tmp_path / 'p.csv'
    evaluate(f'--report={path}', f'--output={output}')
    made = tmp_path / 'm.html'
    done = run_here(
        MAKE_REPORT, output, f'--report={made}', f'--labels={files / "names.txt"}',
        f'--test_data={database}', f'--failures={tmp_path / "failures.csv"}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cut = [p.read_text(encoding='utf-8').partition('<h2>Command</h2>')[0] for p in (path, made)]
    assert cut[0].partition('<h2>')[2] == cut[1].partition('<h2>')[2]
    assert done.stdout.splitlines()[1].startswith('video top 1: ')
    alone = tmp_path / 'alone.html'
    assert run_here(MAKE_REPORT, output, f'--report={alone}').returncode == 0
    page = require_alone(alone)
    assert 'The frames are not shown: --test_data names the database' in page.text
    assert 'The predictions do not say which records failed.' in page.text
    assert pictures_of(page)['jpeg'] == []


def test_paths_are_followed_only_where_that_is_asked_for(make_video, tmp_path):
    lost = tmp_path / 'lost.mp4'
    rows = [['0', make_video(40), 1, 0, 0.9], ['1', lost, 1, 0, 0.8], ['2', '', 1, 0, 0.7]]
    with (tmp_path / 'p.csv').open('w', newline='') as file:
        csv.writer(file).writerows([['key', 'video', 'label', 'top1', 'probability1'], *rows])
    words = [tmp_path / 'p.csv', f'--report={tmp_path / "r.html"}']
    assert run_here(MAKE_REPORT, *words).returncode == 0
    assert pictures_of(Page(tmp_path / 'r.html'))['jpeg'] == []
    assert run_here(MAKE_REPORT, *words, '--use_local_file=1').returncode == 0
    page = Page(tmp_path / 'r.html')
    (strip,) = pictures_of(page)['jpeg']
    assert strip.shape == (FRAME_HEIGHT, FRAMES * 128, 3)
    numbers = [number_of(part) for part in np.split(strip, FRAMES, axis=1)]
    assert numbers == [(2 * i + 1) * 40 // (2 * FRAMES) for i in range(FRAMES)]
    assert 'No frames: missing file' in page.text
    assert 'No frames: the predictions do not hold its path' in page.text


def test_a_database_of_other_videos_is_said(evaluate, make_video, make_database, tmp_path):
    evaluate(f'--output={tmp_path / "p.csv"}')
    other = make_database([(make_video(20).read_bytes(), 0)], name='other')
    words = [tmp_path / 'p.csv', f'--report={tmp_path / "r.html"}', f'--test_data={other}']
    assert run_here(MAKE_REPORT, *words).returncode == 0
    assert f'No frames: {other} has no record 1' in Page(tmp_path / 'r.html').text


def test_several_labels_are_refused(database, tmp_path):
    network = dataclasses.replace(NETWORK, multi_label=True)
    save_pickle(tmp_path / 'w.pkl', random_parameters(network, 0))
    done = run_here(
        TEST_NET, f'--test_data={database}', f'--load_model_path={tmp_path / "w.pkl"}',
        '--clip_length_rgb=8', '--num_labels=7', '--multi_label=1',
        f'--report={tmp_path / "r.html"}',
    )  # fmt: skip
    assert done.returncode == 1
    assert 'report is of videos with one label each' in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--report=r.csv'], 'report is r.csv; its name has to end in .html'),
        (
            ['--report=r.html', '--output=r.html'],
            'output and report are both r.html; name two files',
        ),
        (['--report=.'], '. is a folder; name a file'),
    ],
)
def test_a_report_that_cannot_be_made(evaluate, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = evaluate(*words)
    assert (done.returncode, done.stdout) == (1, '')
    assert message in done.stderr


@pytest.fixture
def sound(make_video, make_database):
    """Nine videos that can be used."""
    videos = [make_video(20 + i, seed=i).read_bytes() for i in range(9)]
    return make_database([(video, i % 7, None, 50 + i) for i, video in enumerate(videos)])


@pytest.fixture
def features(sound, files, tmp_path):
    """A folder with a feature file of the network, with video ids."""
    done = run_here(
        'tools/extract_features.py', f'--test_data={sound}', '--features=softmax,label,video_id',
        '--decode_type=uniform',
        f'--load_model_path={files / "weights.pkl"}', '--clip_length_rgb=8', '--clip_per_video=3',
        f'--output_path={tmp_path / "features" / "f_1.pkl"}'
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return tmp_path / 'features'


def test_the_dense_tools_make_it_too(features, files, sound, tmp_path):
    words = [f'--report={tmp_path / "r.html"}', f'--labels={files / "names.txt"}']
    pages = []
    for tool, inputs in (
        ('aggregation', [f'--input_dir={features}']),
        ('fusion', [f'--input_dir1={features}', f'--input_dir2={features}', '--file_count=1']),
    ):
        done = run_here(
            f'tools/dense_prediction_{tool}.py', *inputs, *words, f'--test_data={sound}'
        )
        assert done.returncode == 0, done.stderr
        pages.append(require_alone(tmp_path / 'r.html'))
        top1, top5 = re.search(r'top1 ([\d.]+), top5 ([\d.]+)', done.stdout).groups()
        found = {row[0]: row[1] for row in pages[-1].table('accuracy')}
        assert (found['video top 1'], found['video top 5']) == (top1, top5)
        assert ('clip' in found) == (tool == 'aggregation')
        assert str(features / 'f_1.pkl') in pages[-1].text
    assert len(pictures_of(pages[0])['jpeg']) == len(pictures_of(pages[1])['jpeg']) > 3
    assert pages[0].table('class', 'videos') == pages[1].table('class', 'videos')


def tally_of(num_labels, seed=0):
    rng = np.random.default_rng(seed)
    tally = Tally(num_labels, top_k=1, most_mistakes=3)
    for i in range(5 * num_labels):
        label = int(rng.integers(0, num_labels))
        best = label if rng.random() < 0.6 else int(rng.integers(0, num_labels))
        tally.add(Outcome(f'{i}', '', label, (best,), (0.5,)))
    return tally


@pytest.mark.parametrize('num_labels', [8, 400])
def test_the_matrix_is_blue_where_right_and_red_where_wrong(tmp_path, num_labels):
    tally = tally_of(num_labels)
    write_report(
        tmp_path / 'r.html', tally, title='t', class_names=None, facts_of_run={}, pictures='none'
    )
    page = require_alone(tmp_path / 'r.html')
    (picture,) = pictures_of(page)['png']
    assert picture.shape == (num_labels, num_labels, 3)
    blue, red = (picture[..., channel].astype(int) for channel in (0, 2))
    wrong = np.zeros((num_labels, num_labels), bool)
    wrong[tuple(zip(*tally.confused))] = True
    assert ((red > blue) == wrong).all()
    assert ((blue > red) == np.diag(tally.right > 0)).all()
    grey = (picture == confusion.NO_VIDEOS[0]).all(axis=2)
    assert (grey.all(axis=1) == (tally.videos == 0)).all()
    texts = re.findall('<text.*?</text>', (tmp_path / 'r.html').read_text())
    numbers = np.count_nonzero(tally.right) + len(tally.confused)
    assert len(texts) == 2 * num_labels + (numbers if num_labels == 8 else 0)


def test_a_matrix_of_very_many_classes_shows_those_with_videos(tmp_path, monkeypatch):
    monkeypatch.setattr(confusion, 'MOST_CLASSES', 5)
    videos = np.array([0, 3, 9, 0, 1, 2, 7, 8])
    assert confusion.choose_classes(videos) == [1, 2, 5, 6, 7]
    tally = tally_of(8)
    matrix = confusion.matrix_of(tally.confused, tally.right, [1, 2, 5])
    expected = [
        [tally.right[a] if a == b else tally.confused[a, b] for b in (1, 2, 5)] for a in (1, 2, 5)
    ]
    assert matrix.tolist() == expected
    write_report(
        tmp_path / 'r.html', tally, title='t', class_names=None, facts_of_run={}, pictures='none'
    )
    assert 'The 5 classes with the most videos, of 8.' in Page(tmp_path / 'r.html').text


def test_frames_of_short_and_broken_videos(make_video, tmp_path):
    def look(path, **budget):
        pictures = Pictures(lambda outcome: str(path))
        tally = Tally(2, top_k=1, most_mistakes=1)
        tally.add(Outcome('0', '', 0, (1,), (0.5,)))
        write_report(
            tmp_path / 'r.html', tally, title='t', class_names=None, facts_of_run={},
            pictures=pictures,
        )  # fmt: skip
        return Page(tmp_path / 'r.html')

    (strip,) = pictures_of(look(make_video(2)))['jpeg']
    assert strip.shape == (FRAME_HEIGHT, 2 * 128, 3)
    (tmp_path / 'no.mp4').write_bytes(b'no video')
    assert 'No frames: not a video' in look(tmp_path / 'no.mp4').text


def test_a_long_strip_of_a_video_is_squeezed(make_video):
    frames = spread_frames(
        make_video(3, width=1600, height=32), Pictures(None).budget, count=6, height=40
    )
    assert [frame.shape for frame in frames] == [(40, 160, 3)] * 3


def test_the_page_appears_when_it_is_complete(tmp_path, monkeypatch):
    path = tmp_path / 'r.html'
    path.write_text('before')
    monkeypatch.setattr('r2plus1d.pictures.report.page', lambda **parts: '\ud800')  # not writable
    with pytest.raises(UnicodeEncodeError):
        write_report(
            path, tally_of(3), title='t', class_names=None, facts_of_run={}, pictures='none'
        )
    assert path.read_text() == 'before'
    assert [*tmp_path.iterdir()] == [path]


def test_the_parts_of_the_page_are_packed(tmp_path):
    command = [sys.executable, 'setup.py', '-q', 'build', '--build-base', tmp_path / 'build']
    command += ['egg_info', '--egg-base', tmp_path]
    shutil.copy(ROOT / 'setup.py', tmp_path)
    (tmp_path / 'lib').symlink_to(ROOT / 'lib')
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    packed = {path.name for path in tmp_path.glob('build/lib/r2plus1d/pictures/page/*')}
    assert packed == {'page.html', 'style.css', 'page.js'}


def test_the_picture_in_the_pages_is_small():
    picture = ROOT / 'docs' / 'report.png'
    assert picture.stat().st_size < 200_000
    assert cv2.imread(str(picture)).shape[1] == 900
