"""What throughput.py found, as Markdown tables and as a picture."""

import statistics

DECODING = 'decoding alone'
# heading: (key of a row, a format of its value)
COLUMNS = {
    'videos/s': ('videos_s', '#.3g'),
    'clips/s': ('clips_s', '#.3g'),
    'network alone, videos/s': ('network_videos_s', '#.3g'),
    'network alone, clips/s': ('network_clips_s', '#.3g'),
    'together / network alone': ('overlap', '.2f'),
    'CPU-seconds per video': ('cpu_s', '#.3g'),
    'peak memory, MB': ('peak_mb', '.0f'),
    'network, GFLOP/s': ('network_gops', '.0f'),
    'of the best matrix product': ('share', '.2f'),
    'times the first engine': ('times', '#.3g'),
}
FOOTNOTES = f"""{DECODING}: reading the database is included; the network stands still.
peak memory: of a process that decodes and runs the network.
int8: its GFLOP/s are GOP/s, of integers, and so is its best matrix product."""
PANEL = (4.3, 3.4)  # inches
# Told apart by colour-blind people, too (Okabe and Ito).
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')


def decoding_row(results):
    """The row of decoding alone, medians over the rounds."""
    peak = max(m['peak'] for m in results) / 1e6
    return {'engine': DECODING, **_rates(results), 'peak_mb': peak}


def engine_row(name, network, both, first, peak):
    """The row of one engine, medians over the rounds.

    Args:
        network, both: measurements of the network alone and end to end, one for each round.
        first: those of the first engine end to end.
        peak: the best matrix product, operations per second, or None.
    """
    operations = _median(network, lambda m: m['operations'] * m['clips'] / m['seconds'])
    return {
        'engine': name,
        **_rates(both),
        **{f'network_{key}': value for key, value in _rates(network).items()},
        'overlap': statistics.median(n['seconds'] / b['seconds'] for n, b in zip(network, both)),
        'peak_mb': max(m['peak'] for m in both) / 1e6,
        'network_gops': operations / 1e9,
        'share': operations / peak if peak else None,
        'times': statistics.median(f['seconds'] / b['seconds'] for f, b in zip(first, both)),
    }


def _rates(results):
    return {
        'videos_s': _median(results, lambda m: m['videos'] / m['seconds']),
        'clips_s': _median(results, lambda m: m['clips'] / m['seconds']),
        'cpu_s': _median(results, lambda m: m['cpu'] / m['videos']),
    }


def _median(results, value):
    return statistics.median(map(value, results))


def table(flag, rows):
    """The Markdown table of the rows of one flag; `flag` is None where nothing varies."""
    head = ['', *COLUMNS] if flag is None else [flag, '', *COLUMNS]
    cells = [[row['engine'], *_cells(row)] for row in rows]
    if flag is not None:
        cells = [[row['value'], *line] for row, line in zip(rows, cells)]
    widths = [max(3, *map(len, column)) for column in zip(head, *cells)]
    lines = [head, ['-' * width for width in widths], *cells]
    return '\n'.join(
        f'| {" | ".join(cell.ljust(width) for cell, width in zip(line, widths))} |'
        for line in lines
    )


def _cells(row):
    return [_shown(row.get(key), how) for key, how in COLUMNS.values()]


def _shown(value, how):
    if value is None:
        return ''
    return f'{value:.0f}' if value >= 100 else f'{value:{how}}'


def plot(path, title, rows):
    """Draw clips per second into a PNG, a panel for each flag, on one logarithmic scale.

    Solid lines are end to end, dashed lines the network alone, dotted lines decoding alone.
    """
    from matplotlib.figure import Figure

    flags = list(dict.fromkeys(row['flag'] for row in rows if row['flag']))
    size = (max(6, PANEL[0] * len(flags)), PANEL[1] + 1.2)
    figure = Figure(figsize=size, layout='constrained')
    axes = figure.subplots(1, len(flags), sharey=True, squeeze=False)[0]
    for axis, flag in zip(axes, flags):
        _draw(axis, [row for row in rows if row['flag'] == flag])
        axis.set(xlabel=f'--{flag}', yscale='log')
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('clips per second')
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc='outside lower center', ncols=4, frameon=False)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=120, format='png')


def _draw(axis, rows):
    names = list(dict.fromkeys(row['engine'] for row in rows))
    for name in names:
        own = [row for row in rows if row['engine'] == name]
        places, clips = range(len(own)), [row['clips_s'] for row in own]
        axis.set_xticks(places, [row['value'] for row in own])
        if name == DECODING:
            axis.plot(places, clips, ':o', ms=4, color='0.45', label=name)
            continue
        colour = COLOURS[names.index(name) % len(COLOURS)]
        axis.plot(places, clips, '-o', ms=4, color=colour, label=name)
        alone = [row['network_clips_s'] for row in own]
        axis.plot(places, alone, '--o', ms=4, mfc='white', color=colour, label=f'{name}, alone')
