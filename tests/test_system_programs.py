"""The check with which the tests end: that no program of the machine was changed."""

import os
import sys

import system_programs


def test_a_program_that_a_link_was_written_through_is_named(tmp_path):
    for name in ('df', 'kept'):
        (tmp_path / name).write_text('a program')
    before = system_programs.states([tmp_path])
    link = tmp_path / 'elsewhere' / 'df'
    link.parent.mkdir()
    link.symlink_to(tmp_path / 'df')
    link.write_text('#!/bin/sh\n')
    after = system_programs.states([tmp_path])
    assert system_programs.changed(before, after) == [str(tmp_path / 'df')]
    (tmp_path / 'kept').unlink()
    assert len(system_programs.changed(before, system_programs.states([tmp_path]))) == 2


def test_the_folders_are_those_of_the_path_without_this_environment():
    found = [str(folder) for folder in system_programs.folders()]
    assert os.path.realpath('/usr/bin') in found
    assert os.path.join(os.path.realpath(sys.prefix), 'bin') not in found  # noqa: PTH118
