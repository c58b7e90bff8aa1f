#!/bin/sh
# Builds a database of the videos that a CSV list names, such as Kinetics' validation list.
# Without LIST_FILE: of the videos that come with this repository. Arguments go to create_video_db.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

LIST_FILE=${LIST_FILE:-}              # org_video,label[,start_frm][,video_id]
OUTPUT=${OUTPUT:-}                    # made beside the list, as LIST_lmdb, when empty
USE_LIST=${USE_LIST:-0}               # 1: store the paths of the videos, not the videos
USE_VIDEO_ID=${USE_VIDEO_ID:-0}       # 1: store the column video_id
USE_START_FRAME=${USE_START_FRAME:-0} # 1: store the column start_frm; needs USE_LIST=1
OVERWRITE=${OVERWRITE:-}              # 1: replace an existing database; the sample's always is
SAMPLE=${SAMPLE:-$root/data/sample}   # where the bundled videos are put

python=$(sh "$root/scripts/setup.sh")

if [ -n "$LIST_FILE" ]; then
    OUTPUT=${OUTPUT:-${LIST_FILE%.csv}_lmdb}
    echo "create_kinetics_lmdb.sh: $LIST_FILE -> $OUTPUT" >&2
else
    LIST_FILE=$SAMPLE/test_list.csv
    OUTPUT=${OUTPUT:-$SAMPLE/test_lmdb}
    case $OUTPUT in
    "$SAMPLE"/*) OVERWRITE=${OVERWRITE:-1} ;;
    esac
    echo "create_kinetics_lmdb.sh: no LIST_FILE: the bundled sample -> $OUTPUT" >&2
    "$python" "$root/data/create_sample.py" --output="$SAMPLE" --split=test
fi

"$python" "$root/data/create_video_db.py" \
    --list_file="$LIST_FILE" \
    --output_file="$OUTPUT" \
    --use_list="$USE_LIST" \
    --use_video_id="$USE_VIDEO_ID" \
    --use_start_frame="$USE_START_FRAME" \
    --overwrite="${OVERWRITE:-0}" \
    "$@"
