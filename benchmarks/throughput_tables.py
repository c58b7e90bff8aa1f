"""What throughput.py found, as Markdown tables."""

import statistics

from machine_peak import INT8

DECODING = 'decoding alone'
# heading: (key of a row, a format of its value)
COLUMNS = {
    'videos/s': ('videos_s', '#.3g'),
    'clips/s': ('clips_s', '#.3g'),
    'network alone, videos/s': ('network_videos_s', '#.3g'),
    'network alone, clips/s': ('network_clips_s', '#.3g'),
    'together / network alone': ('overlap', '.2f'),
    'CPU-seconds a video': ('cpu_s', '#.3g'),
    'peak memory, MB': ('peak_mb', '.0f'),
    'network, GFLOP/s': ('network_gops', '.0f'),
    'of the best matrix product': ('share', '.2f'),
}
LEFT_TO_THE_BASE = ('network alone, videos/s', 'together / network alone', 'network, GFLOP/s')
GROWTH_COLUMNS = {head: column for head, column in COLUMNS.items() if head not in LEFT_TO_THE_BASE}
FLAGS = {
    'clip_per_video': 'clips a video',
    'stride': 'stride, frames',
    'clip_length_rgb': 'clip length, frames',
    'clip_length_of': 'clip length, flow frames',
    'model_depth': 'depth, layers',
    'num_decode_threads': 'decoding threads',
    'engine_threads': 'network threads',
}


def flag_name(flag):
    return FLAGS.get(flag, flag)


def decoding_row(results):
    """The row of decoding alone, medians over the rounds."""
    return {
        'engine': DECODING,
        'precision': None,
        **_rates(results),
        'peak_mb': max(m['peak'] for m in results) / 1e6,
        'seconds': [m['seconds'] for m in results],
    }


def engine_row(spec, network, both, peak):
    """The row of one engine, medians over the rounds.

    Args:
        network, both: measurements of the network alone and end to end, one a round.
        peak: the best matrix product, operations a second, or None.
    """
    alone = _rates(network)
    operations = _median(network, lambda m: m['operations'] * m['clips'] / m['seconds'])
    return {
        'engine': str(spec),
        'precision': spec.precision,
        **_rates(both),
        'network_videos_s': alone['videos_s'],
        'network_clips_s': alone['clips_s'],
        'overlap': statistics.median(n['seconds'] / b['seconds'] for n, b in zip(network, both)),
        'peak_mb': max(m['peak'] for m in both) / 1e6,
        'network_gops': operations / 1e9,
        'share': operations / peak if peak else None,
        'seconds': [m['seconds'] for m in both],
    }


def _rates(results):
    return {
        'videos_s': _median(results, lambda m: m['videos'] / m['seconds']),
        'clips_s': _median(results, lambda m: m['clips'] / m['seconds']),
        'cpu_s': _median(results, lambda m: m['cpu'] / m['videos']),
    }


def _median(results, value):
    return statistics.median(map(value, results))


def base_table(rows):
    """The table of all engines with nothing varied, each against the first."""
    first = next(row for row in rows if row['engine'] != DECODING)
    head = ['', *COLUMNS, f'videos/s, times {first["engine"]}']
    return markdown(
        head, [[row['engine'], *_cells(row, COLUMNS), _times(row, first)] for row in rows]
    )


def growth_table(flag, rows):
    """The table of one flag's values, each engine against the first of them and the first value.

    The first engine is the first of those that run at the first value.
    """
    engines = [row['engine'] for row in rows if row['value'] == rows[0]['value']]
    first_engine = next(name for name in engines if name != DECODING)
    references = {row['value']: row for row in rows if row['engine'] == first_engine}
    first_rows = {row['engine']: row for row in rows if row['value'] == rows[0]['value']}
    return markdown(
        [
            flag_name(flag), '', *GROWTH_COLUMNS, f'videos/s, times {first_engine}',
            f'clips/s, times those at {rows[0]["value"]}',
        ],
        [
            [
                row['value'], row['engine'], *_cells(row, GROWTH_COLUMNS),
                _times(row, references.get(row['value'])),
                _growth(row, first_rows.get(row['engine'])),
            ]
            for row in rows
        ],
    )  # fmt: skip


def _times(row, reference):
    """How many times as fast as `reference`, both end to end: the median over the rounds."""
    if reference is None or row['engine'] == DECODING:
        return ''
    ratios = [a / b for a, b in zip(reference['seconds'], row['seconds'])]
    return _shown(statistics.median(ratios), '#.3g')


def _growth(row, first):
    return _shown(row['clips_s'] / first['clips_s'], '#.3g') if first else ''


def _cells(row, columns):
    return [_shown(row.get(key), how) for key, how in columns.values()]


def _shown(value, how):
    if value is None:
        return ''
    return f'{value:.0f}' if value >= 100 else f'{value:{how}}'


def markdown(head, rows):
    """A Markdown table of texts, in columns that a terminal shows straight, too."""
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    lines = [head, ['-' * max(3, width) for width in widths], *rows]
    return '\n'.join(
        f'| {" | ".join(cell.ljust(max(3, width)) for cell, width in zip(line, widths))} |'
        for line in lines
    )


def footnotes(rows):
    """Lines that explain the tables."""
    yield f'{DECODING}: reading the database included; the network stands still.'
    yield 'peak memory: of a process that decodes and runs the network.'
    if any(row['precision'] == INT8 for row in rows):
        yield 'int8: its GFLOP/s are GOP/s, of integers, and so is its best matrix product.'
