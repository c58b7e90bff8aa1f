"""A picture of what throughput.py found: clips a second, a panel for each flag that varied."""

import math

from throughput_tables import DECODING, flag_name

COLUMNS = 3
PANEL = (4.3, 3.4)  # inches
GRAY = '0.45'
# Told apart by colour-blind people, too (Okabe and Ito).
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
DECADE = (1, 2, 5)


def plot(path, title, rows):
    """Draw the rows of all tables into a PNG, those with nothing varied as bars.

    Solid lines and filled bars are end to end, dashed lines and outlined bars the network alone,
    the gray dotted line is decoding alone.
    """
    from matplotlib.figure import Figure

    flags = list(dict.fromkeys(row['flag'] for row in rows))
    engines = [name for name in dict.fromkeys(row['engine'] for row in rows) if name != DECODING]
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(engines)}
    columns = min(COLUMNS, len(flags))
    lines = math.ceil(len(flags) / columns)
    figure = Figure(
        figsize=(max(6, PANEL[0] * columns), PANEL[1] * lines + 1.2), layout='constrained'
    )
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axis, flag in zip(axes.flat, flags):
        chosen = [row for row in rows if row['flag'] == flag]
        draw = draw_base if flag is None else draw_flag
        draw(axis, chosen, colours)
    finish(axes, len(flags), lowest=min(row['clips_s'] for row in rows))
    figure.suptitle(title, fontsize=11)
    handles = legend(colours)
    places = math.ceil(len(handles) / (1 + COLUMNS - columns))
    figure.legend(handles=handles, loc='outside lower center', ncols=places, frameon=False)
    figure.savefig(path, dpi=120, format='png')


def draw_base(axis, rows, colours):
    """Two bars an engine."""
    for place, (name, colour) in enumerate(colours.items()):
        row = next(row for row in rows if row['engine'] == name)
        axis.bar(place - 0.2, row['clips_s'], 0.38, color=colour)
        axis.bar(
            place + 0.2, row['network_clips_s'], 0.38,
            facecolor='none', edgecolor=colour, linestyle='--',
        )  # fmt: skip
    decoding = next(row for row in rows if row['engine'] == DECODING)
    axis.axhline(decoding['clips_s'], color=GRAY, linestyle=':')
    axis.set_xticks(range(len(colours)), [name.replace(', ', '\n') for name in colours])
    axis.set_title('nothing varied')


def draw_flag(axis, rows, colours):
    """Two lines an engine, over the values of a flag."""
    texts = list(dict.fromkeys(row['value'] for row in rows))
    places, is_scale = places_of(texts)
    for name, colour in [*colours.items(), (DECODING, GRAY)]:
        own = [row for row in rows if row['engine'] == name]
        x = [places[row['value']] for row in own]
        style = ':' if name == DECODING else '-'
        axis.plot(x, [row['clips_s'] for row in own], style, marker='o', ms=4, color=colour)
        if name != DECODING:
            alone = [row['network_clips_s'] for row in own]
            axis.plot(x, alone, '--', marker='o', ms=4, mfc='white', color=colour)
    if is_scale:
        axis.set_xscale('log', base=2)
    axis.set_xticks([places[text] for text in texts], texts)
    axis.minorticks_off()
    axis.set(title=f'--{rows[0]["flag"]}', xlabel=flag_name(rows[0]['flag']))


def places_of(texts):
    """({text: place on the axis}, whether the places are the values, on a logarithmic scale)."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        values = [0]
    if min(values) <= 0:
        return {text: place for place, text in enumerate(texts)}, False
    return dict(zip(texts, values)), True


def finish(axes, used, lowest):
    """The scale that all panels share, and empty places of the grid taken away."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for axis in axes.flat[used:]:
        axis.remove()
    for axis in axes.flat[:used]:
        axis.set_yscale('log')
        axis.yaxis.set_major_locator(LogLocator(subs=DECADE))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[['top', 'right']].set_visible(False)
    axes[0, 0].set_ylim(bottom=lowest / 2)  # of all, so that the lowest bar can be seen
    for axis in axes[:, 0]:
        axis.set_ylabel('clips a second')


def legend(colours):
    """A handle for each engine and for each kind of line."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        *(Patch(color=colour, label=name) for name, colour in colours.items()),
        Line2D([], [], color='black', label='end to end'),
        Line2D([], [], color='black', linestyle='--', label='network alone'),
        Line2D([], [], color=GRAY, linestyle=':', label=DECODING),
    ]
