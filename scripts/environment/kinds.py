"""The two kinds of environment, and where each is. Any Python from 3.6 on runs this."""

import collections
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
# A finished environment has a stamp that says what it was made of. One that was made here has a
# mark besides; only such a one is ever removed.
STAMP, MARK = 'setup.stamp', 'setup.made-here'

Kind = collections.namedtuple('Kind', 'folder versions pythons requirements gigabytes adds')
KINDS = {
    'caffe2': Kind(
        folder='.venv',
        versions=('3.9',),
        pythons='3.9',
        requirements='requirements.txt',
        gigabytes=4.5,  # 3.2 at the peak of the installation, and what pip keeps in its cache
        adds='Caffe2, which is the reference, and training with it',
    ),
    'modern': Kind(
        folder='.venv-modern',
        versions=('3.14', '3.13', '3.12', '3.11', '3.10'),
        pythons='3.10 to 3.14',
        requirements='requirements-modern.txt',
        gigabytes=4,
        adds='PyTorch 2 (faster training, GPUs after 2018), the latest OpenVINO, and quantization',
    ),
}


class SetupError(Exception):
    """What ends a set-up, as one line."""


def say(text):
    print('setup.sh: ' + text, file=sys.stderr, flush=True)


def other_than(kind):
    return next(name for name in KINDS if name != kind)


def place_of(kind):
    """Return the absolute path of the environment of a kind."""
    folder = os.environ.get('R2PLUS1D_VENV') or KINDS[kind].folder
    return os.path.normpath(os.path.join(ROOT, folder))


def kind_at(place):
    """Return the kind of an environment that a set-up worked on, or None."""
    for name in (STAMP, MARK):
        words = [line.rpartition(' ')[2] for line in lines_of(os.path.join(place, name))[:1]]
        if words and words[0] in KINDS:
            return words[0]
    return 'caffe2' if os.path.exists(os.path.join(place, STAMP)) else None


def lines_of(path):
    """Return the lines of a text file, [] where there is none."""
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read().splitlines()
    except OSError:
        return []
