"""What this Linux distribution calls its packages of Python. Any Python from 3.6 on runs this."""

import os

# Of releases whose packages are known: the Pythons that they have, and their names
APT = {
    ('debian', '11'): ('3.9',),
    ('debian', '12'): ('3.11',),
    ('debian', '13'): ('3.13',),
    ('ubuntu', '20.04'): ('3.8', '3.9'),
    ('ubuntu', '22.04'): ('3.10',),
    ('ubuntu', '24.04'): ('3.12',),
    ('ubuntu', '26.04'): ('3.14',),
}
DNF = {
    '8': {'3.9': 'python39', '3.11': 'python3.11', '3.12': 'python3.12'},
    '9': {'3.9': 'python3', '3.11': 'python3.11', '3.12': 'python3.12'},
    '10': {'3.12': 'python3'},
}


def read_release(path='/etc/os-release'):
    """Return the fields of os-release, {} where there is none."""
    try:
        with open(path, encoding='utf-8') as file:
            pairs = [line.strip().partition('=') for line in file if '=' in line]
    except OSError:
        return {}
    return {name: value.strip('"\'') for name, _, value in pairs}


def python_line(versions, release):
    """Return the line that installs the first of `versions` that the release has, or ''."""
    known, number = release.get('ID', ''), release.get('VERSION_ID', '')
    if 'rhel' in (known, *release.get('ID_LIKE', '').split()):
        packages = DNF.get(number.partition('.')[0], {})
        lines = {v: 'dnf install ' + name for v, name in packages.items()}
    else:
        found = APT.get((known, number), ())
        lines = {v: 'apt-get install python{0} python{0}-venv'.format(v) for v in found}
    return as_root(next((lines[v] for v in versions if v in lines), ''))


def ensurepip_line(python, version, release):
    """Return the line that installs what a Python of the distribution lacks, or ''.

    Debian and Ubuntu keep ensurepip in a package of its own.
    """
    family = (release.get('ID', ''), *release.get('ID_LIKE', '').split())
    if not python.startswith('/usr/bin/') or not {'debian', 'ubuntu'} & set(family):
        return ''
    return as_root('apt-get install python{}-venv'.format(version))


def as_root(line):
    return 'sudo ' + line if line and os.geteuid() else line
