"""What --help shows: an example, what is required, then the common flags in groups, on one screen.

`--help=all` shows all flags.
"""

import argparse
import dataclasses
import textwrap
from typing import Any, Optional

WIDTH = 80
LINES = 40
INDENT = 22
ALL = 'all'

# A flag of no group here belongs to the last one.
GROUPS = {
    'what goes in': """
        predictions test_data videos stride train_data calibration_data calibration_clips
        test_videos
        input_dir input_dir1 input_dir2 file_count alpha runs list_file dataset annotations subset
        use_local_file use_list use_video_id use_start_frame shuffle get_video_id num_iter
        num_iterations num_records max_clip
    """,
    'which network': """
        load_model_path pretrained_model is_checkpoint db_type download mirror cache model_name
        model_depth num_labels clip_length_rgb clip_length_of input_type flow_data_type
        num_channels crop_size multi_label pred_layer_name width bn_epsilon use_dropout
    """,
    'which clips': """
        clips decode_type clip_per_video clip_start_positions crop_per_clip clip_length
        sampling_rate_rgb sampling_rate_of frame_gap_of do_flow_aggregation video_res_type scale_h
        scale_w short_edge random_crop random_mirror seed use_truncated max_decode_seconds
        max_decode_memory_mb max_packet_mb max_pixels max_frame_pixels
    """,
    'training': """
        epoch_size num_epochs base_learning_rate weight_decay step_epoch gamma max_loss
    """,
    'what runs it': """
        engine precision engine_threads engine_cache deterministic gpus num_gpus cpu_replicas
        use_cudnn cudnn_workspace_limit_mb batch_size num_decode_threads num_threads num_shards
        shard_id run_id
    """,
    'what comes out': '',
}
# The first of these, beside what is required, are shown where not all flags fit on a screen.
COMMON = """
    test_data videos clips format annotate heatmap train_data load_model_path pretrained_model
    features output output_path sheet
    file_store_path model_name model_depth num_labels clip_length_rgb input_type clip_per_video
    epoch_size num_epochs base_learning_rate step_epoch gpus batch_size use_local_file labels
    engine precision decode_type calibration_clips top_k stride width num_decode_threads plot
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """A flag as help shows it.

    Attributes:
        name: without the dashes.
        metavar: what stands for its value.
        text: what it is; details stand behind a semicolon.
        words: the values that are allowed, empty where they are not words.
        default: empty where there is nothing to show.
        is_required: whether the tool does not run without it.
        is_positional: it may be given without its name.
    """

    name: str
    metavar: str
    text: str
    words: str
    default: str
    is_required: bool
    is_positional: bool = False

    @property
    def usage(self) -> str:
        """How it is written on a command line."""
        return self.metavar if self.is_positional else f'--{self.name}={self.metavar}'


class Help(argparse.Action):
    """--help prints the common flags, --help=all prints all."""

    def __call__(
        self,
        parser: Any,
        namespace: argparse.Namespace,
        values: Any,
        option_string: Optional[str] = None,
    ) -> None:
        if values not in (None, ALL):
            parser.error(f'argument --help: {values!r} is unknown; --help or --help={ALL}')
        print(parser.help_text(is_full=values == ALL), end='')
        parser.exit()


def split_description(text: str) -> 'tuple[str, str]':
    """The first paragraph of a tool's docstring, and the command of its `Example:`."""
    before, _, example = text.partition('Example:')
    return before.strip().partition('\n\n')[0], textwrap.dedent(example.strip('\n')).rstrip()


def render(prog: str, description: str, rows: 'list[Row]', *, is_full: bool) -> str:
    """The text of --help in lines of at most 80 characters.

    Args:
        prog: name of the tool's file.
        description: the tool's docstring.
        rows: its flags.
        is_full: show all of them; otherwise as many of the common ones as a screen takes.
    """
    full = _text(prog, description, rows)
    if is_full or full.count('\n') <= LINES:
        return full
    last = f'\n--help={ALL} shows all {len(rows)} flags and says more of each.\n'
    brief = [dataclasses.replace(row, text=row.text.partition('; ')[0]) for row in rows]
    names = [name for name in COMMON.split() if any(row.name == name for row in rows)]
    for count in range(len(names), -1, -1):
        shown = [row for row in brief if row.is_required or row.name in names[:count]]
        text = _text(prog, description, shown) + last
        if text.count('\n') <= LINES:
            break
    return text


def _text(prog, description, rows):
    about, example = split_description(description)
    required = ''.join(f' {row.usage}' for row in rows if row.is_required)
    usage = f'usage: {prog}{required} [--flag=value]...'
    lines = [*_wrapped(usage, indent=7), *_wrapped(about)]
    if example:
        lines += ['', *textwrap.indent(example, '  ').split('\n')]
    for title, members in _grouped(rows):
        lines += ['', f'{title}:']
        for row in members:
            lines += _lines_of(row)
    return '\n'.join(lines) + '\n'


def _grouped(rows):
    """Yield (title, rows): what is required, then each group that has rows, in its order."""
    required = [row for row in rows if row.is_required]
    if required:
        yield 'required', required
    others = {row.name: row for row in rows if not row.is_required}
    for title, names in GROUPS.items():
        members = [others.pop(name) for name in names.split() if name in others]
        members = members if names else list(others.values())
        if members:
            yield title, members


def _lines_of(row):
    text = f'{row.text}: {row.words}' if row.words else row.text
    text = f'{text} ({row.default})' if row.default else text
    left = f'  {row.usage}'
    return _wrapped(f'{left:<{INDENT}} {text}', indent=INDENT + 1)


def _wrapped(text, indent=0):
    return textwrap.wrap(
        text,
        WIDTH,
        subsequent_indent=' ' * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
