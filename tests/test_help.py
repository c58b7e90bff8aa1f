"""What --help shows, and what is said of an unknown flag."""

import functools
import pathlib
import re
import subprocess
import sys

import pytest

from r2plus1d.cli import command_line, flag_types, flags, help
from r2plus1d.cli.help import Row
from tool_here import run_here

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAMS = sorted(
    str(path.relative_to(ROOT))
    for folder in ('tools', 'data')
    for path in ROOT.glob(f'{folder}/[!_]*.py')
)


@functools.lru_cache(None)
def whole_help(program):
    return subprocess.run(
        [sys.executable, program, '--help=all'],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize('program', PROGRAMS)
def test_help_is_a_screen_with_an_example(program):
    short, full = run_here(program, '--help'), whole_help(program)
    if short.returncode == 1 and 'not installed' in short.stderr:
        pytest.skip(short.stderr)
    assert (short.returncode, full.returncode) == (0, 0)
    assert len(short.stdout.splitlines()) <= 40
    assert max(map(len, short.stdout.splitlines())) <= 80
    example = rf'^  \.venv/bin/python {program}( --| \\$|$| [\w/]+ )'
    assert re.search(example, short.stdout, re.MULTILINE)
    in_short = re.findall(r'^  --(\w+)=', short.stdout, re.MULTILINE)
    in_full = re.findall(r'^  --(\w+)=', full.stdout, re.MULTILINE)
    assert {*in_short} <= {*in_full}
    assert len({*in_full}) == len(in_full)
    assert (in_short == in_full) == ('--help=all' not in short.stdout)
    is_required = [f'--{name}=' in short.stdout.partition('[--flag')[0] for name in in_short]
    assert is_required == sorted(is_required, reverse=True)  # the required ones come first


@pytest.mark.parametrize('program', PROGRAMS)
def test_the_example_parses(program):
    """Its flags are known and none does nothing; whether its files are there is another matter."""
    _, example = help.split_description(
        re.search(r'"""(.*?)"""', (ROOT / program).read_text(encoding='utf-8'), re.DOTALL)[1]
    )
    words = example.replace('\\\n', ' ').split()
    assert words[:2] == ['.venv/bin/python', program]
    shown = whole_help(program)
    if 'not installed' in shown.stderr:
        pytest.skip(shown.stderr)
    known = shown.stdout
    assert all(f'  {word.split("=")[0]}=' in known for word in words[2:] if word[:2] == '--')
    if any(word[:2] != '--' for word in words[2:]):
        assert re.search(r'^  [A-Z]+\.\.\. ', known, re.MULTILINE)  # words without a flag


def test_groups_come_in_their_order():
    shown = run_here('tools/test_net.py', '--help').stdout
    titles = re.findall(r'^([\w ]+):$', shown, re.MULTILINE)
    assert titles == ['required', *(t for t in help.GROUPS if t in titles)]


def test_a_row_that_is_too_long_is_wrapped():
    row = Row('name', 'WORD', 'many words ' * 20, 'a, b', 'a', is_required=False)
    text = help.render('tool.py', 'About.', [row], is_full=True)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count('many') == 20
    assert ' '.join(text.split()).endswith('many words : a, b (a)')


@pytest.mark.parametrize(
    ('word', 'nearest'),
    [
        ('--model-name=r2d', '; the nearest flag is --model_name'),
        ('--model_nam=r2d', '; the nearest flag is --model_name'),
        ('--modeldepth', '; the nearest flag is --model_depth'),
        ('--zzz=1', ''),
    ],
)
def test_an_unknown_flag_names_the_nearest(capsys, word, nearest):
    with pytest.raises(SystemExit) as end:
        command_line.parse('', flags.NETWORK, argv=[word])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert f'unrecognized arguments: {word}{nearest} (--help lists the flags)' in said


def test_an_unknown_flag_is_named_before_a_missing_one(capsys):
    with pytest.raises(SystemExit):
        command_line.parse('', flags.DATABASE, argv=['--test-data=d'])
    assert 'the nearest flag is --test_data' in capsys.readouterr().err


@pytest.mark.parametrize('positional', [(), ('videos',)])
def test_a_flag_of_paths_that_is_given_again_adds_to_them(positional):
    options = {'videos': (flag_types.paths, None, 'files')}
    words = ['--videos=a', '--videos', 'b', 'c']
    args = command_line.parse('Tool.', options, argv=words, positional=positional)
    assert [str(path) for path in args.videos] == ['a', 'b', 'c']


def test_help_takes_all_or_nothing(capsys):
    with pytest.raises(SystemExit) as end:
        command_line.parse('', flags.NETWORK, argv=['--help=more'])
    assert end.value.code == 2
    assert "'more' is unknown; --help or --help=all" in capsys.readouterr().err
