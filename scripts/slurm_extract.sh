#!/bin/sh
# Features of a database or of video files in SHARDS parts, as a Slurm job array:
#
#     sbatch --array=0-39 --cpus-per-task=8 --gres=gpu:1 --export=ALL,SHARDS=40,... scripts/slurm_extract.sh
#
# Each task does the part of its number, and the last one to end puts all parts together. A task that
# was killed goes on where it was when it is queued again. Without Slurm, all parts run here, PROCESSES
# at a time. With nothing set: on the bundled sample. Arguments go to extract_features.py.
# docs/cluster.md says more.
set -eu

SHARDS=${SHARDS:-}            # parts: that many array tasks; 4 of the sample
ROOT=${ROOT:-}                # of this repository; Slurm runs a copy of this script elsewhere
TEST_DATA=${TEST_DATA:-}      # LMDB, on storage that all nodes see
VIDEOS=${VIDEOS:-}            # or a folder, or a .txt list of paths
MODEL=${MODEL:-}              # weights, or the name of published ones
FEATURES=${FEATURES:-final_avg}
FORMAT=${FORMAT:-npy}         # pickle, npy, parquet; per_video with VIDEOS
OUTPUT=${OUTPUT:-}            # file or folder, on storage that all nodes see
GPUS=${GPUS:-}                # 0 where Slurm gives each task a GPU; empty: the CPU
THREADS=${THREADS:-${SLURM_CPUS_PER_TASK:-4}} # videos decoded at the same time
BATCH_SIZE=${BATCH_SIZE:-32}  # clips on each device
COPY_DATABASE=${COPY_DATABASE:-0} # 1: each node copies TEST_DATA to its own disk first, in TMPDIR
MAX_FAILURES=${MAX_FAILURES:-0} # records that may fail; else the status is 3
PROCESSES=${PROCESSES:-2}     # parts at a time, without Slurm
TASK=${SLURM_ARRAY_TASK_ID:-} # this part; all of them without Slurm
SAMPLE=${SAMPLE:-}            # where the bundled sample is put

root=${ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)}
if [ -z "$ROOT" ] && [ ! -e "$root/scripts/setup.sh" ]; then
    root=${SLURM_SUBMIT_DIR:-.} # where sbatch was called
fi
if [ ! -e "$root/scripts/setup.sh" ]; then
    echo "slurm_extract.sh: $root is not the folder of this repository: set ROOT to that" >&2
    exit 2
fi
python=$(sh "$root/scripts/setup.sh")

if [ -z "$TEST_DATA$VIDEOS$MODEL" ]; then
    echo "slurm_extract.sh: no TEST_DATA, VIDEOS and MODEL: the bundled sample" >&2
    SAMPLE=${SAMPLE:-$root/data/sample}
    SHARDS=${SHARDS:-4}
    LIST_FILE='' CLIP_FRAMES=9 OUTPUT=$SAMPLE/dense SAMPLE=$SAMPLE SPLITS=2 \
        sh "$root/scripts/create_kinetics_lmdb_feature_extraction.sh" >&2
    TEST_DATA=$SAMPLE/dense_1_lmdb
    MODEL=$root/data/sample/r2plus1d_18_8_w0.125.pkl
    OUTPUT=${OUTPUT:-$root/output/sample_shards}
    case $OUTPUT in
    */sample_* | sample_*) set -- --if_different=replace "$@" ;; # and nothing else
    esac
    set -- --use_local_file=1 "$@"
fi
: "${SHARDS:?slurm_extract.sh: set SHARDS, the number of parts: as many as array tasks}"
: "${MODEL:?slurm_extract.sh: set MODEL, the weights}"
: "${OUTPUT:?slurm_extract.sh: set OUTPUT, the file or folder to make}"
case $SHARDS in
*[!0-9]* | 0)
    echo "slurm_extract.sh: SHARDS is $SHARDS; a number from 1 on" >&2
    exit 2
    ;;
esac
case $PROCESSES in
*[!0-9]* | 0)
    echo "slurm_extract.sh: PROCESSES is $PROCESSES; a number from 1 on" >&2
    exit 2
    ;;
esac
if [ -n "$TEST_DATA" ]; then
    set -- --test_data="$TEST_DATA" --copy_database="$COPY_DATABASE" "$@"
elif [ -n "$VIDEOS" ]; then
    set -- --videos="$VIDEOS" "$@"
else
    echo "slurm_extract.sh: set TEST_DATA (an LMDB) or VIDEOS (a folder or a list)" >&2
    exit 2
fi

set -- "$python" "$root/tools/extract_features.py" \
    --load_model_path="$MODEL" \
    --features="$FEATURES" \
    --output_format="$FORMAT" \
    --output_path="$OUTPUT" \
    --gpus="$GPUS" \
    --num_decode_threads="$THREADS" \
    --batch_size="$BATCH_SIZE" \
    --max_failures="$MAX_FAILURES" \
    "$@"

if [ -n "$TASK" ]; then
    exec "$@" --shard="$TASK/$SHARDS"
fi
# xargs puts each number where the mark is.
part=0
status=0
while [ "$part" -lt "$SHARDS" ]; do
    echo "$part"
    part=$((part + 1))
done | xargs -P "$PROCESSES" -I '{part}' "$@" --shard='{part}'"/$SHARDS" || status=$?
[ "$status" -ne 123 ] || status=3 # xargs's word for the statuses of its parts
exit "$status"
