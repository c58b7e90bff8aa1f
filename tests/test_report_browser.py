"""The pages of reports in a real browser: Chromium, without a screen and without a network."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from r2plus1d.evaluation.outcomes import Outcome
from r2plus1d.evaluation.tally import Tally
from r2plus1d.pictures.report import write_report

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
    '--disable-background-networking', '--host-resolver-rules=MAP * ~NOTFOUND',
    '--enable-logging=stderr', '--virtual-time-budget=4000',
)  # fmt: skip
POLICY = re.compile(r"script-src '[^']*'")
HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>'


@pytest.fixture
def browse(tmp_path):
    """Return a function that opens a page; gives its elements afterwards, and the console."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f'none of {", ".join(BROWSERS)} is on the PATH')

    def open_page(path, *flags):
        done = subprocess.run(
            [program, *FLAGS, f'--user-data-dir={tmp_path / "profile"}', *flags, '--dump-dom',
             path.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout, [line for line in done.stderr.splitlines() if ':CONSOLE' in line]

    return open_page


@pytest.fixture(params=[8, 400])
def page(request, tmp_path):
    """The page of a run with so many classes, one of which has a hostile name."""
    count, rng = request.param, np.random.default_rng(0)
    tally = Tally(count, top_k=5, most_mistakes=3)
    for i in range(6 * count):
        ranking = tuple(rng.permutation(count)[:5].tolist())
        label = ranking[0] if rng.random() < 0.5 else int(rng.integers(0, count))
        tally.add(Outcome(f'{i}', f'{HOSTILE}{i}', label, ranking, (0.5, 0.2, 0.1, 0.1, 0.1)))
    tally.fail('record 1', HOSTILE)
    names = [HOSTILE, *(f'class {i}' for i in range(1, count))]
    write_report(
        tmp_path / 'r.html', tally, title=HOSTILE, class_names=names, pictures=HOSTILE,
        facts_of_run={HOSTILE: [(HOSTILE, HOSTILE)]},
    )  # fmt: skip
    return tmp_path / 'r.html'


def with_script(page, script):
    """A copy of a page that runs one more script."""
    text = POLICY.sub("script-src 'unsafe-inline'", page.read_text(encoding='utf-8'))
    copy = page.with_name('copy.html')
    copy.write_text(text.replace('</body>', f'<script>{script}</script></body>'), encoding='utf-8')
    return copy


def rows_of(elements):
    """Texts of the cells of the table of classes, row by row."""
    (table,) = re.findall(r'<table class="sortable">.*?</table>', elements, re.DOTALL)[:1]
    return [
        re.findall(r'<td[^>]*>(.*?)</td>', row)
        for row in re.findall(r'<tr><td.*?</tr>', table, re.DOTALL)
    ]


def test_it_opens_without_a_complaint(page, browse):
    elements, console = browse(page)
    assert console == []
    assert elements.count('<button type="button">') == 7 + 5  # its script has run
    assert elements.count('<script') == 1
    assert '<title>owned' not in elements
    assert 'x" onerror' not in elements and '<img src="x"' not in elements


def test_what_a_browser_complains_of_is_seen(page, browse):
    """The policy is what it says: no script but the page's own, and no picture from elsewhere."""
    text = page.read_text(encoding='utf-8')
    page.write_text(text.replace('</h1>', '</h1><script>document.title="owned"</script>', 1))
    elements, console = browse(page)
    assert any('Content Security Policy' in line for line in console)
    assert '<title>owned' not in elements
    page.write_text(text.replace('</h1>', '</h1><img src="http://localhost/x.png">', 1))
    assert any('Content Security Policy' in line for line in browse(page)[1])


def test_a_click_sorts_and_another_one_reverses(page, browse):
    before = rows_of(browse(page)[0])
    for column, key in ((0, lambda row: row[0]), (1, lambda row: -int(row[1]))):
        click = f'document.querySelectorAll("table.sortable th button")[{column}].click();'
        once, console = browse(with_script(page, click))
        twice, _ = browse(with_script(page, 2 * click))
        assert console == []
        assert sorted(rows_of(once)) == sorted(rows_of(twice)) == sorted(before)
        assert rows_of(once) != before
        values = [key(row) for row in rows_of(once)]
        if column:
            assert values == sorted(values)
            assert [int(row[1]) for row in rows_of(twice)] == sorted(-v for v in values)
        else:
            numbers = [int(v.split()[1]) for v in values if v.startswith('class ')]
            assert numbers == sorted(numbers)
        assert 'aria-sort="' + ('descending' if column else 'ascending') in once
        assert 'aria-sort="' + ('ascending' if column else 'descending') in twice


@pytest.mark.parametrize('width', [1280, 400])
def test_no_part_is_wider_than_the_window(page, browse, width):
    """In a frame, because a window has at least 500 pixels."""
    widths = 'document.documentElement.scrollWidth, window.innerWidth'
    copy = with_script(page, f'parent.postMessage([{widths}], "*");')
    frame = page.with_name('frame.html')
    frame.write_text(
        '<body><script>onmessage = (e) => { document.body.dataset.widths = e.data; }</script>'
        f'<iframe src="{copy.name}" style="border: 0; width: {width}px; height: 900px">'
    )
    elements, console = browse(frame, '--window-size=1400,900')
    whole, window = map(int, re.search(r'data-widths="(\d+),(\d+)"', elements).groups())
    assert console == []
    assert window == width
    assert whole <= window


def test_the_matrix_at_full_size_has_letters_to_read(page, browse):
    """At first it fits in the page; at full size each letter has its own height."""
    script = (
        'const box = document.querySelector("svg.matrix"); '
        'const seen = () => `${box.getBoundingClientRect().width | 0}`; '
        'const one = seen(); document.getElementById("full").click(); '
        'const name = box.querySelector("text").getBoundingClientRect(); '
        'document.body.dataset.seen = `${one} ${seen()} ${Math.round(name.height)}`;'
    )
    elements, console = browse(with_script(page, script), '--window-size=1280,900')
    fitted, full, letter = map(int, re.search(r'data-seen="(\d+) (\d+) (\d+)"', elements).groups())
    assert console == []
    assert fitted <= 1152
    assert full >= fitted
    assert letter >= 10


def test_the_cell_under_the_pointer_is_named(page, browse):
    script = (
        'const b = document.querySelector("svg.matrix image").getBoundingClientRect(); '
        'const n = document.querySelectorAll("svg text.row").length; '
        'const said = []; for (const [row, column] of [[n - 1, 2], [3, 3], [-1, 0]]) { '
        'document.querySelector("svg.matrix").dispatchEvent(new PointerEvent("pointermove", {'
        'clientX: b.left + (column + 0.5) * b.width / n, '
        'clientY: b.top + (row + 0.5) * b.height / n})); '
        'said.push(document.getElementById("cell").textContent); } '
        'document.body.dataset.said = said.join("|");'
    )
    elements, console = browse(with_script(page, script), '--window-size=1280,900')
    count = elements.count('class="row"')
    assert console == []
    said = re.search(r'data-said="(.*?)"', elements)[1]
    assert said == f'class {count - 1} taken for class 2|class 3 taken for class 3|'
