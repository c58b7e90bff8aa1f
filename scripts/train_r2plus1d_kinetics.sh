#!/bin/sh
# Trains R(2+1)D-18 on clips of 8 frames from scratch, as on Kinetics. Run again it continues.
# Without TRAIN_DATA: a narrow one on the bundled sample. Arguments go to train_net.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

TRAIN_DATA=${TRAIN_DATA:-}         # LMDB of videos
TEST_DATA=${TEST_DATA:-}           # LMDB of videos, tested after each epoch; empty: no test
SAMPLE=${SAMPLE:-$root/data/sample} # where the bundled sample is put

if [ -z "$TRAIN_DATA" ]; then
    on_sample=yes
    NUM_LABELS=8
    BATCH_SIZE=${BATCH_SIZE:-8}
    LEARNING_RATE=${LEARNING_RATE:-0.005}
    EPOCH_SIZE=${EPOCH_SIZE:-640}
    NUM_EPOCHS=${NUM_EPOCHS:-24}
    STEP_EPOCH=${STEP_EPOCH:-16}
fi

MODEL_NAME=${MODEL_NAME:-r2plus1d}
MODEL_DEPTH=${MODEL_DEPTH:-18}
CLIP_LENGTH=${CLIP_LENGTH:-8}
NUM_LABELS=${NUM_LABELS:-400}
BATCH_SIZE=${BATCH_SIZE:-32}       # clips a device
LEARNING_RATE=${LEARNING_RATE:-0.01} # of one device
WEIGHT_DECAY=${WEIGHT_DECAY:-0.0001}
EPOCH_SIZE=${EPOCH_SIZE:-1000000}  # clips
NUM_EPOCHS=${NUM_EPOCHS:-45}
STEP_EPOCH=${STEP_EPOCH:-10}
TRAINER=${TRAINER:-auto}         # torch or caffe2; auto: torch where PyTorch 2 is installed
GPUS=${GPUS:-}                     # such as 0,1,2,3; empty: the CPU
THREADS=${THREADS:-4}              # videos decoded at the same time
USE_LOCAL_FILE=${USE_LOCAL_FILE:-0} # 1: the LMDBs hold paths of videos
OUTPUT=${OUTPUT:-$root/output/train} # checkpoints and the log

python=$(sh "$root/scripts/setup.sh")

if [ -n "${on_sample:-}" ]; then
    echo "train_r2plus1d_kinetics.sh: no TRAIN_DATA: a narrow network on the bundled sample" >&2
    TRAIN_DATA=$SAMPLE/train_lmdb
    TEST_DATA=$SAMPLE/test_lmdb
    "$python" "$root/data/create_sample.py" --output="$SAMPLE" --split=all >&2
    for split in train test; do
        "$python" "$root/data/create_video_db.py" --list_file="$SAMPLE/${split}_list.csv" \
            --output_file="$SAMPLE/${split}_lmdb" --overwrite=1 >&2
    done
    # Mirrored, left is right: these classes are told apart by nothing else.
    set -- --width=0.125 --cpu_replicas=2 --random_mirror=0 --clip_per_video=4 "$@"
fi

exec "$python" "$root/tools/train_net.py" \
    --train_data="$TRAIN_DATA" \
    ${TEST_DATA:+"--test_data=$TEST_DATA"} \
    --model_name="$MODEL_NAME" \
    --model_depth="$MODEL_DEPTH" \
    --clip_length_rgb="$CLIP_LENGTH" \
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
    --plot="$OUTPUT/training.png" \
    "$@"
