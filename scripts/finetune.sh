#!/bin/sh
# Fine-tunes weights on a data set; finetune_hmdb51.sh and finetune_ucf101.sh set what differs
# between the two. Arguments go to train_net.py; --resume=1 continues a run.
# With VIDEOS, a folder with a folder of videos for each class: see finetune_folder.sh.
# Without TRAIN_DATA and PRETRAINED: a few steps of a narrow network on the bundled sample.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

if [ -n "${VIDEOS:-}" ] && [ -z "${TRAIN_DATA:-}" ]; then
    exec sh "$root/scripts/finetune_folder.sh" "$@"
fi

TRAIN_DATA=${TRAIN_DATA:-}       # LMDB, such as create_hmdb51_lmdb.sh makes
TEST_DATA=${TEST_DATA:-}         # LMDB, tested after each epoch; empty: no test
PRETRAINED=${PRETRAINED:-}       # weights, or the name of published ones: r2.5d_d34_l32_ft_sports1m
DB_TYPE=${DB_TYPE:-}             # pickle or minidb; goes by the file when empty
# The network and its clips, where the weights do not say which they are:
MODEL_NAME=${MODEL_NAME:-}
MODEL_DEPTH=${MODEL_DEPTH:-}
CLIP_LENGTH=${CLIP_LENGTH:-}     # frames; of optical flow: --clip_length_of=N behind the script
NUM_LABELS=${NUM_LABELS:-51}
BATCH_SIZE=${BATCH_SIZE:-4}      # clips a device
LEARNING_RATE=${LEARNING_RATE:-0.0002} # of one device
WEIGHT_DECAY=${WEIGHT_DECAY:-0.005}
EPOCH_SIZE=${EPOCH_SIZE:-40000} # clips
NUM_EPOCHS=${NUM_EPOCHS:-8}
STEP_EPOCH=${STEP_EPOCH:-2}
TRAINER=${TRAINER:-auto}         # torch or caffe2; auto: torch where PyTorch 2 is installed
GPUS=${GPUS:-}                   # such as 0,1,2,3; empty: the CPU
THREADS=${THREADS:-4}            # videos decoded at the same time
USE_LOCAL_FILE=${USE_LOCAL_FILE:-0} # 1: the LMDBs hold paths of videos
OUTPUT=${OUTPUT:-$root/output/finetune} # checkpoints and the log
SAMPLE=${SAMPLE:-$root/data/sample} # where the bundled sample is put

python=$(sh "$root/scripts/setup.sh")

if [ -z "$TRAIN_DATA" ] && [ -z "$PRETRAINED" ]; then
    echo "finetune.sh: no TRAIN_DATA and PRETRAINED: a few steps on the bundled sample" >&2
    LIST_FILE='' OUTPUT=$SAMPLE/test_lmdb SAMPLE=$SAMPLE sh "$root/scripts/create_kinetics_lmdb.sh" >&2
    TRAIN_DATA=$SAMPLE/test_lmdb
    PRETRAINED=$SAMPLE/random_r2plus1d_18_8_w0.125_L400.pkl
    "$python" "$root/tools/random_weights.py" --save_model_path="$PRETRAINED" --overwrite=1 \
        --clip_length_rgb=8 --num_labels=400 --width=0.125 >&2
    # Whatever was set is for a real run: this one is a trial, of its own each time.
    MODEL_NAME=''
    MODEL_DEPTH=''
    CLIP_LENGTH=''
    NUM_LABELS=8
    EPOCH_SIZE=16
    NUM_EPOCHS=1
    OUTPUT=$root/output/finetune_trial
    rm -rf -- "$OUTPUT"
    set -- --random_mirror=0 "$@"
elif [ -z "$TRAIN_DATA" ] || [ -z "$PRETRAINED" ]; then
    echo "finetune.sh: set TRAIN_DATA (an LMDB) and PRETRAINED (weights), or neither" >&2
    exit 2
fi

exec "$python" "$root/tools/train_net.py" \
    --train_data="$TRAIN_DATA" \
    ${TEST_DATA:+"--test_data=$TEST_DATA"} \
    --pretrained_model="$PRETRAINED" \
    ${DB_TYPE:+"--db_type=$DB_TYPE"} \
    --is_checkpoint=0 \
    ${MODEL_NAME:+"--model_name=$MODEL_NAME"} \
    ${MODEL_DEPTH:+"--model_depth=$MODEL_DEPTH"} \
    ${CLIP_LENGTH:+"--clip_length_rgb=$CLIP_LENGTH"} \
    --num_labels="$NUM_LABELS" \
    --batch_size="$BATCH_SIZE" \
    --base_learning_rate="$LEARNING_RATE" \
    --weight_decay="$WEIGHT_DECAY" \
    --epoch_size="$EPOCH_SIZE" \
    --num_epochs="$NUM_EPOCHS" \
    --step_epoch="$STEP_EPOCH" \
    --trainer="$TRAINER" \
    --gpus="$GPUS" \
    --num_decode_threads="$THREADS" \
    --use_local_file="$USE_LOCAL_FILE" \
    --file_store_path="$OUTPUT" \
    "$@"
