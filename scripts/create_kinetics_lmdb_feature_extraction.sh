#!/bin/sh
# Builds databases of densely sampled clips, for dense prediction, from a CSV list of videos: of
# paths, start frames and video ids. Without LIST_FILE: of the bundled sample's test videos.
# Arguments go to create_dense_list.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

LIST_FILE=${LIST_FILE:-}          # org_video,label[,video_id]
CLIP_FRAMES=${CLIP_FRAMES:-}      # frames that a clip needs; 33 is for 32 flow frames, and for RGB
STRIDE=${STRIDE:-8}               # frames from one clip's first to the next one's
SPLITS=${SPLITS:-}                # databases, to spread the work; 10, and 2 for the sample
OUTPUT=${OUTPUT:-}                # prefix: OUTPUT_1_lmdb, OUTPUT_2_lmdb ... are made
THREADS=${THREADS:-4}             # videos read at the same time
MAX_FAILURES=${MAX_FAILURES:-0}   # videos that may be too short or unreadable
SAMPLE=${SAMPLE:-$root/data/sample} # where the bundled sample is put

python=$(sh "$root/scripts/setup.sh")

if [ -z "$LIST_FILE" ]; then
    echo "create_kinetics_lmdb_feature_extraction.sh: no LIST_FILE: the bundled sample" >&2
    "$python" "$root/data/create_sample.py" --output="$SAMPLE" --split=test
    LIST_FILE=$SAMPLE/test_list.csv
    CLIP_FRAMES=${CLIP_FRAMES:-9}
    SPLITS=${SPLITS:-2}
    OUTPUT=${OUTPUT:-$SAMPLE/dense}
    case $OUTPUT in
    "$SAMPLE"/* | */sample_* | sample_*) ;;
    *)
        if [ -e "${OUTPUT}_1_lmdb" ] || [ -e "${OUTPUT}_1.csv" ]; then
            echo "create_kinetics_lmdb_feature_extraction.sh: the sample would replace" \
                "${OUTPUT}_1.csv and its database: set LIST_FILE, or another OUTPUT" >&2
            exit 2
        fi
        ;;
    esac
fi
SPLITS=${SPLITS:-10}
case $SPLITS in
*[!0-9]* | 0)
    echo "create_kinetics_lmdb_feature_extraction.sh: SPLITS is $SPLITS; a number from 1 on" >&2
    exit 2
    ;;
esac
OUTPUT=${OUTPUT:-$root/output/kinetics_dense}

stop() {
    [ "$1" -ne 3 ] || echo "create_kinetics_lmdb_feature_extraction.sh: more videos failed than" \
        "MAX_FAILURES ($MAX_FAILURES) allows: no database is made" >&2
    exit "$1"
}

# The list's place and number come last: the databases below are made of these.
"$python" "$root/data/create_dense_list.py" \
    --clip_length="${CLIP_FRAMES:-33}" \
    --stride="$STRIDE" \
    --num_threads="$THREADS" \
    --max_failures="$MAX_FAILURES" \
    "$@" \
    --list_file="$LIST_FILE" \
    --num_splits="$SPLITS" \
    --output="$OUTPUT" || stop "$?"

split=1
while [ "$split" -le "$SPLITS" ]; do
    "$python" "$root/data/create_video_db.py" \
        --list_file="${OUTPUT}_$split.csv" \
        --output_file="${OUTPUT}_${split}_lmdb" \
        --use_list=1 --use_start_frame=1 --use_video_id=1 --overwrite=1
    split=$((split + 1))
done
