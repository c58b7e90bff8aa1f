"""What the pages name is there: files, anchors, modules; and none has a count of tests."""

import re

import pytest

from conftest import ROOT

PAGES = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')])
LINK = re.compile(r'\]\(([^)\s]+)\)')
FOLDERS = 'benchmarks|data|docs|lib|scripts|tests|tools'
FILE = re.compile(rf'(?<![\w/.-])(?:{FOLDERS})/[\w./-]*\w\.(?:py|sh|md|pkl|png)\b')
MODULE = re.compile(r'from (r2plus1d[\w.]+) import')
COUNT_OF_TESTS = re.compile(r'\b\d+ (passed|tests\b)')
GONE = {'CHANGELOG.md'}  # names files and modules that are no more


def anchors(page):
    """What a link to a heading of a page ends with, as GitHub makes it."""
    headings = re.findall(r'^#+ (.*)$', page.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings}


def broken_links(page):
    for target in LINK.findall(page.read_text()):
        if re.match('[a-z]+:', target):
            continue
        name, _, anchor = target.partition('#')
        path = page.parent / name if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            yield target


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert not list(broken_links(page))


@pytest.mark.parametrize('page', [p for p in PAGES if p.name not in GONE], ids=lambda p: p.name)
def test_files_and_modules_that_a_page_names_are_there(page):
    text = page.read_text()
    assert not [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    places = {name: ROOT / 'lib' / name.replace('.', '/') for name in MODULE.findall(text)}
    found = [n for n, p in places.items() if p.is_dir() or p.with_suffix('.py').is_file()]
    assert sorted(found) == sorted(places)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_no_page_counts_tests(page):
    assert not COUNT_OF_TESTS.search(page.read_text())


def test_what_to_cite_is_this_version():
    version = re.search(r"version='(.*)'", (ROOT / 'setup.py').read_text())[1]
    assert f'\nversion: {version}\n' in (ROOT / 'CITATION.cff').read_text()


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('# A `heading`, here\n[a](#a-heading-here) [b](#b) [c](c.md) [d](https://d.e)')
    assert list(broken_links(page)) == ['#b', 'c.md']
