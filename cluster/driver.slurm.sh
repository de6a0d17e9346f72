#!/usr/bin/env bash
# Run the driver in a job, independent of a terminal:
#
#     sbatch cluster/driver.slurm.sh cluster/slurm.yaml /shared/Subjects [more arguments of `ibl-dask run`]
#
# The driver needs one core; the jobs of the profile's pools do the work. Two minutes before its walltime the driver gets
# SIGTERM, and this job requeues itself and continues. Slurm requeues it after preemption; a cancelled job stays
# cancelled. Change time, partition and the lookup of ibl-dask below.
#SBATCH --job-name=ibl-dask
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=1-00:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=ibl-dask-%j.log

if [ $# -lt 2 ]; then
    echo "usage: sbatch $0 PROFILE SESSION... [options of ibl-dask run]" >&2
    exit 2
fi
profile=$1
shift

# source /etc/profile.d/modules.sh && module load miniforge && source activate ibl_dask || exit 1
ibl_dask=${IBL_DASK:-ibl-dask}

if ! command -v "$ibl_dask" >/dev/null; then
    echo "there is no program $ibl_dask on $(hostname): load your environment in this script, or set IBL_DASK" >&2
    exit 2
fi

again=0
"$ibl_dask" run --profile "$profile" "$@" &
driver=$!
# SIGTERM acts like Ctrl-C: the driver cancels its jobs and keeps finished results.
trap 'again=1; kill -TERM "$driver" 2>/dev/null' USR1
trap 'kill -TERM "$driver" 2>/dev/null' TERM INT
# `wait` returns on a signal, before the driver ends.
while kill -0 "$driver" 2>/dev/null; do wait "$driver"; done
wait "$driver"
code=$?

# 143: stopped by the signal before its work was done.
if [ "$again" = 1 ] && [ "$code" = 143 ]; then
    echo "stopped before the end of the walltime: into the queue again, finished chunks are kept"
    scontrol requeue "$SLURM_JOB_ID" && sleep 60 # which ends this job
fi
exit "$code"
