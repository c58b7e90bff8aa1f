#!/bin/sh
# Clip and video accuracy of ir-CSN-152 as published: 10 clips of a video, 3 crops of each, predicted by
# convolution. Without TEST_DATA and MODEL: the steps alone, with a narrow network of random weights on
# the bundled sample, whose accuracy is that of guessing. Arguments go to test_net.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

TEST_DATA=${TEST_DATA:-}           # LMDB of videos, such as scripts/create_kinetics_lmdb.sh makes
MODEL=${MODEL:-}                   # weights, or a published name: irCSN_152_ft_kinetics_from_ig65m
# The network, where the weights do not say which one it is:
MODEL_NAME=${MODEL_NAME:-}
MODEL_DEPTH=${MODEL_DEPTH:-}
CLIP_LENGTH=${CLIP_LENGTH:-}       # frames
NUM_LABELS=${NUM_LABELS:-}
CLIPS=${CLIPS:-10}                 # a video
CROPS=${CROPS:-3}                  # a clip
BATCH_SIZE=${BATCH_SIZE:-1}        # videos a device
GPUS=${GPUS:-}                     # such as 0,1,2,3; empty: the CPU
THREADS=${THREADS:-4}              # videos decoded at the same time
USE_LOCAL_FILE=${USE_LOCAL_FILE:-0} # 1: the LMDB holds paths of videos
SAMPLE=${SAMPLE:-$root/data/sample} # where the bundled sample is put

python=$(sh "$root/scripts/setup.sh")

if [ -z "$TEST_DATA" ] && [ -z "$MODEL" ]; then
    echo "test_ircsn_kinetics.sh: no TEST_DATA and MODEL: random weights on the bundled sample, to show" \
        "the steps. The accuracy is that of guessing, one in eight. For Kinetics:" \
        "TEST_DATA=kinetics_val_lmdb MODEL=irCSN_152_ft_kinetics_from_ig65m sh $0" >&2
    TEST_DATA=$SAMPLE/test_lmdb
    MODEL=$SAMPLE/random_ir-csn_50_8_w0.125.pkl
    USE_LOCAL_FILE=0
    LIST_FILE='' OUTPUT=$TEST_DATA SAMPLE=$SAMPLE USE_LIST=0 USE_START_FRAME=0 \
        sh "$root/scripts/create_kinetics_lmdb.sh" >&2
    "$python" "$root/tools/random_weights.py" --save_model_path="$MODEL" --overwrite=1 \
        --model_name=ir-csn --model_depth=50 --width=0.125 --use_pool1=1 --crop_size=224 \
        --clip_length_rgb=8 --num_labels=8 >&2
elif [ -z "$TEST_DATA" ] || [ -z "$MODEL" ]; then
    echo "test_ircsn_kinetics.sh: set TEST_DATA (an LMDB) and MODEL (its weights), or neither" >&2
    exit 2
fi

exec "$python" "$root/tools/test_net.py" \
    --test_data="$TEST_DATA" \
    --load_model_path="$MODEL" \
    ${MODEL_NAME:+"--model_name=$MODEL_NAME"} \
    ${MODEL_DEPTH:+"--model_depth=$MODEL_DEPTH"} \
    ${CLIP_LENGTH:+"--clip_length_rgb=$CLIP_LENGTH"} \
    ${NUM_LABELS:+"--num_labels=$NUM_LABELS"} \
    --use_pool1=1 \
    --use_convolutional_pred=1 \
    --crop_size=256 \
    --video_res_type=1 \
    --scale_h=256 \
    --scale_w=342 \
    --sampling_rate_rgb=2 \
    --clip_per_video="$CLIPS" \
    --crop_per_clip="$CROPS" \
    --batch_size="$BATCH_SIZE" \
    --gpus="$GPUS" \
    --num_decode_threads="$THREADS" \
    --use_local_file="$USE_LOCAL_FILE" \
    "$@"
