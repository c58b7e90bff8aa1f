#!/bin/sh
# Clip and video accuracy of R(2+1)D-18 on clips of 8 frames, 10 a video: the first row of the
# published table. Without TEST_DATA and MODEL: on the bundled sample. Arguments go to test_net.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

TEST_DATA=${TEST_DATA:-}           # LMDB of videos, such as scripts/create_kinetics_lmdb.sh makes
MODEL=${MODEL:-}                   # weights, or the name of published ones, such as r2.5d_d18_l8
# The network, where the weights do not say which one it is:
MODEL_NAME=${MODEL_NAME:-}
MODEL_DEPTH=${MODEL_DEPTH:-}
CLIP_LENGTH=${CLIP_LENGTH:-}       # frames
NUM_LABELS=${NUM_LABELS:-}
CLIPS=${CLIPS:-10}                 # a video
BATCH_SIZE=${BATCH_SIZE:-3}        # videos a device
GPUS=${GPUS:-}                     # such as 0,1,2,3; empty: the CPU
THREADS=${THREADS:-4}              # videos decoded at the same time
USE_LOCAL_FILE=${USE_LOCAL_FILE:-0} # 1: the LMDB holds paths of videos
SAMPLE=${SAMPLE:-$root/data/sample} # where the bundled sample is put

python=$(sh "$root/scripts/setup.sh")

if [ -z "$TEST_DATA" ] && [ -z "$MODEL" ]; then
    echo "test_r2plus1d_kinetics.sh: the bundled sample, eight motions, and a narrow network trained" \
        "on it. For Kinetics: TEST_DATA=kinetics_val_lmdb MODEL=r2.5d_d18_l8 sh $0" >&2
    TEST_DATA=$SAMPLE/test_lmdb
    MODEL=$root/data/sample/r2plus1d_18_8_w0.125.pkl
    USE_LOCAL_FILE=0
    LIST_FILE='' OUTPUT=$TEST_DATA SAMPLE=$SAMPLE USE_LIST=0 USE_START_FRAME=0 \
        sh "$root/scripts/create_kinetics_lmdb.sh" >&2
elif [ -z "$TEST_DATA" ] || [ -z "$MODEL" ]; then
    echo "test_r2plus1d_kinetics.sh: set TEST_DATA (an LMDB) and MODEL (its weights), or neither" >&2
    exit 2
fi

exec "$python" "$root/tools/test_net.py" \
    --test_data="$TEST_DATA" \
    --load_model_path="$MODEL" \
    ${MODEL_NAME:+"--model_name=$MODEL_NAME"} \
    ${MODEL_DEPTH:+"--model_depth=$MODEL_DEPTH"} \
    ${CLIP_LENGTH:+"--clip_length_rgb=$CLIP_LENGTH"} \
    ${NUM_LABELS:+"--num_labels=$NUM_LABELS"} \
    --clip_per_video="$CLIPS" \
    --batch_size="$BATCH_SIZE" \
    --gpus="$GPUS" \
    --num_decode_threads="$THREADS" \
    --use_local_file="$USE_LOCAL_FILE" \
    "$@"
