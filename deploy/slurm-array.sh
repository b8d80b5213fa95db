#!/usr/bin/env bash
# Predict INPUT in 16 shards; a requeued shard continues where it stopped:
#   sbatch --export=ALL,INPUT=...,OUTPUT=... deploy/slurm-array.sh
# Merge the shards when all of them are done:
#   sbatch --dependency=afterok:JOB --wrap 'python -m inference merge OUTPUT/shards/* --output OUTPUT/predictions'
#SBATCH --job-name=aurora
#SBATCH --array=1-16
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --requeue
set -euo pipefail
: "${INPUT:?expected the folder that holds csv_files/}" "${OUTPUT:?expected a folder for the predictions}"

python -m inference run --input "$INPUT" --output "$OUTPUT/shards/$SLURM_ARRAY_TASK_ID" --shard auto --resume
