"""The golden cases of a real VideoInput: their arguments as our flags, their records."""

from r2plus1d.cli import command_line, flags, from_flags

# VideoInput's names of what the tools call otherwise
RENAMED = {
    'length_rgb': 'clip_length_rgb',
    'length_of': 'clip_length_of',
}
NOT_FLAGS = {'get_rgb', 'get_optical_flow'}


def settings_of(arguments):
    """ClipSettings from VideoInput's arguments, through the tools' own flags."""
    groups = (flags.DATABASE, flags.NETWORK, flags.CLIPS)
    argv = ['--test_data=unused']
    for name, value in arguments.items():
        if name not in NOT_FLAGS:
            argv.append(f'--{RENAMED.get(name, name)}={int(value)}')
    return from_flags.clip_settings(command_line.parse('', *groups, argv=argv))


def records_of(case, golden, local=None):
    """(record, video id) in the golden arrays' order: by video, then by start frame."""
    local = case['args']['use_local_file'] if local is None else local
    for number, name in enumerate(case['videos']):
        path = golden / 'videos' / name
        for start in case['starts'] or [0]:
            yield path if local else path.read_bytes(), 0, start, 1000 * number + start
