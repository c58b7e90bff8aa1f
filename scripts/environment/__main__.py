"""Makes the environment that scripts/setup.sh is asked for. Any Python from 3.6 on runs this."""

import os
import sys

import graphics
from find_python import Search
from installation import Environment
from kinds import KINDS, SetupError, kind_at, other_than, place_of, say

WORDS = (*KINDS, 'auto')


def main(arguments):
    """Set up what is missing and print the path of the environment's Python."""
    word = asked_for(arguments)
    python = python_asked_for(word)
    kind, reason = (word, '') if word in KINDS else chosen(python)
    environment = Environment(kind, python)
    if not environment.is_finished():
        if reason:
            other = other_than(kind)
            say(
                'auto: {}, for {}; sh scripts/setup.sh {} would add {}'.format(
                    kind, reason, other, KINDS[other].adds
                )
            )
        require_same_kind(environment)
        with environment.locked():
            # The set-up that held the lock may have been the one needed here.
            if not environment.is_finished():
                environment.set_up()
    print(environment.python)


def asked_for(arguments):
    word = arguments[0] if arguments else os.environ.get('R2PLUS1D_ENV') or 'auto'
    if len(arguments) > 1 or word not in WORDS:
        given = ' '.join(arguments) or 'R2PLUS1D_ENV=' + word
        raise SetupError('{} is not one of {}'.format(given, ', '.join(WORDS)))
    return word


def python_asked_for(word):
    """Return (version, path) of $PYTHON, None if it is not set."""
    name = os.environ.get('PYTHON')
    if not name:
        return None
    kinds = [word] if word in KINDS else list(KINDS)
    search = Search(every_version(kinds))
    found = search.named(name)
    if not found:
        raise SetupError(
            'PYTHON={} is not a working Python {}{}: name one, or unset it'.format(
                name,
                ' or '.join(KINDS[kind].pythons for kind in kinds),
                ''.join(' ({})'.format(fault) for fault in search.faults),
            )
        )
    return found


def chosen(python):
    """Return the kind that `auto` stands for, and why."""
    if python:
        return suits(python[0]), 'PYTHON is a Python ' + python[0]
    if os.environ.get('R2PLUS1D_VENV'):
        kind = kind_of_own(place_of('caffe2'))
        if kind:
            return kind, 'R2PLUS1D_VENV is of that kind'
    newer = graphics.newer_asked_for()
    if newer:
        return 'modern', 'GPUS asks for {}, which Caffe2 cannot use'.format(newer)
    there = [name for name in KINDS if kind_at(place_of(name)) == name]
    if there:
        return there[0], place_of(there[0]) + ' is there'
    found = Search(KINDS['caffe2'].versions).here()
    if found:
        return 'caffe2', 'Python 3.9 is here'
    return 'modern', 'no working Python 3.9 is here'


def kind_of_own(place):
    """Return the kind that an environment is, or that its Python suits, or None."""
    found = Search(every_version(KINDS)).try_one(os.path.join(place, 'bin', 'python'))
    return kind_at(place) or (suits(found[0]) if found else None)


def every_version(kinds):
    return [version for kind in kinds for version in KINDS[kind].versions]


def suits(version):
    return next(name for name, about in KINDS.items() if version in about.versions)


def require_same_kind(environment):
    """Raise SetupError where the place has an environment of the other kind."""
    there = kind_at(environment.place)
    if there not in (None, environment.kind):
        raise SetupError(
            '{} is an environment {}: set R2PLUS1D_VENV to another place for {}'.format(
                environment.place, there, environment.kind
            )
        )


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except SetupError as error:
        say(str(error))
        sys.exit(1)
    except OSError as error:
        say('{}: {}'.format(error.filename or 'output', error.strerror))
        sys.exit(1)
    except KeyboardInterrupt:
        say('interrupted: run again')
        sys.exit(130)
