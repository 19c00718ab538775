# Sourced by the job scripts beside it, in the folder that sbatch was called from.
#
# One process per task that srun starts, and one task per GPU. USR1 comes before the time is up
# (#SBATCH --signal): pretrain writes a checkpoint and ends with status 75, and the job goes back
# into the queue. A job that is cancelled (TERM, 143) or fails does not.

set -uo pipefail
source "${VENV:-.venv}/bin/activate" || exit 2

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((10000 + SLURM_JOB_ID % 20000)) # below the ports that systems hand out
OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
SRUN_CPUS_PER_TASK=$OMP_NUM_THREADS # srun does not take it over from sbatch
export MASTER_ADDR MASTER_PORT OMP_NUM_THREADS SRUN_CPUS_PER_TASK

# A process that is lost ends the others within a minute; ones that end by themselves get as long.
srun --kill-on-bad-exit=0 --wait=60 ssl-photoz pretrain "$@"
status=$?
if [ "$status" -eq 75 ]; then
  echo "job $SLURM_JOB_ID goes back into the queue, to go on from its checkpoint"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
