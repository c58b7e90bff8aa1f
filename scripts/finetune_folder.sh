#!/bin/sh
# Fine-tunes weights on your own videos, VIDEOS/CLASS/NAME.mp4, and prints how well the videos that
# were held out are told apart. Run again it continues. Arguments go to train_net.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

VIDEOS=${VIDEOS:-}       # folder with a folder of videos for each class
PRETRAINED=${PRETRAINED:-r2plus1d_18-91a641e6} # weights, or the name of published ones
SPLIT_BY=${SPLIT_BY:-}   # source: clips named alike up to the last _ stay together; or video
TEST_SHARE=${TEST_SHARE:-} # of the videos of each class that is held out; 0.2 when empty
TEST_LIST=${TEST_LIST:-} # text file of the videos to hold out, CLASS/NAME a line
SEED=${SEED:-0}          # of the split and of training
# These are those of the weights when empty
MODEL_DEPTH=${MODEL_DEPTH:-}
CLIP_LENGTH=${CLIP_LENGTH:-} # frames; of optical flow: --clip_length_of=N behind the script
BATCH_SIZE=${BATCH_SIZE:-8} # clips a device
LEARNING_RATE=${LEARNING_RATE:-0.001} # of one device
WEIGHT_DECAY=${WEIGHT_DECAY:-0.005}
EPOCH_SIZE=${EPOCH_SIZE:-} # clips; 8 of each video when empty
NUM_EPOCHS=${NUM_EPOCHS:-8}
STEP_EPOCH=${STEP_EPOCH:-4}
MAX_FAILURES=${MAX_FAILURES:-} # clips of an epoch; a tenth of them when empty
TRAINER=${TRAINER:-auto} # torch or caffe2; auto: torch where PyTorch 2 is installed
GPUS=${GPUS:-}           # such as 0,1,2,3; empty: the CPU
THREADS=${THREADS:-4}    # videos decoded at the same time
OUTPUT=${OUTPUT:-$root/output/finetune} # lists, checkpoints and the log

if [ -z "$VIDEOS" ]; then
    echo "finetune_folder.sh: set VIDEOS, a folder with a folder of videos for each class" >&2
    exit 2
fi
case $EPOCH_SIZE in
*[!0-9]* | 0)
    echo "finetune_folder.sh: EPOCH_SIZE is $EPOCH_SIZE; a number from 1 on" >&2
    exit 2
    ;;
esac

python=$(sh "$root/scripts/setup.sh")

lists=$OUTPUT/lists
seed=$SEED
[ -z "$TEST_LIST" ] || seed=0 # nothing is chosen
"$python" "$root/data/split_videos.py" --videos="$VIDEOS" --output="$lists" --seed="$seed" \
    ${SPLIT_BY:+"--split_by=$SPLIT_BY"} \
    ${TEST_SHARE:+"--test_share=$TEST_SHARE"} \
    ${TEST_LIST:+"--test_list=$TEST_LIST"} \
    --num_threads="$THREADS" >&2
for side in train test; do
    # The paths, not the videos; they were checked above.
    "$python" "$root/data/create_video_db.py" --list_file="$lists/$side.csv" --use_list=1 \
        --use_video_id=1 --check=0 --overwrite=1 --output_file="$lists/${side}_lmdb" >&2
done
[ -n "$EPOCH_SIZE" ] || EPOCH_SIZE=$((8 * ($(wc -l <"$lists/train.csv") - 1)))
[ -n "$MAX_FAILURES" ] || MAX_FAILURES=$((EPOCH_SIZE / 10))

model=$("$python" "$root/tools/train_net.py" \
    --train_data="$lists/train_lmdb" \
    --test_data="$lists/test_lmdb" \
    --use_local_file=1 \
    --labels="$lists/labels.txt" \
    --pretrained_model="$PRETRAINED" \
    --is_checkpoint=0 \
    --resume=1 \
    ${MODEL_DEPTH:+"--model_depth=$MODEL_DEPTH"} \
    ${CLIP_LENGTH:+"--clip_length_rgb=$CLIP_LENGTH"} \
    --batch_size="$BATCH_SIZE" \
    --base_learning_rate="$LEARNING_RATE" \
    --weight_decay="$WEIGHT_DECAY" \
    --epoch_size="$EPOCH_SIZE" \
    --num_epochs="$NUM_EPOCHS" \
    --step_epoch="$STEP_EPOCH" \
    --max_failures="$MAX_FAILURES" \
    --trainer="$TRAINER" \
    --gpus="$GPUS" \
    --seed="$SEED" \
    --num_decode_threads="$THREADS" \
    --file_store_path="$OUTPUT" \
    "$@")

"$python" "$root/tools/test_net.py" --test_data="$lists/test_lmdb" --use_local_file=1 \
    --load_model_path="$model" --by_class=1 --gpus="$GPUS" --num_decode_threads="$THREADS" \
    --output="$OUTPUT/predictions.csv" --overwrite=1
echo "$model"
