#!/usr/bin/env bash
# Run the driver in a job, independent of a terminal:
#
#     qsub -v PROFILE=/shared/pbs.yaml,SESSIONS=/shared/Subjects cluster/driver.pbs.sh
#
# OPTIONS, passed in the same way, are further arguments of `ibl-dask run`. A comma ends a value for qsub, and the
# treatment of quotes differs between PBS versions: write %2C for a comma, as in
# OPTIONS="--tasks VideoCompress%2CVideoSyncQcNidq", and %25 for a percent sign before two digits. The driver needs one
# core; the jobs of the profile's pools do the work. Five minutes before its walltime the driver gets SIGTERM, and this
# job submits its script again, which continues; a deleted job stays deleted. Change walltime, queue and the lookup of
# ibl-dask below. SCRIPT is the path of this file, by default cluster/driver.pbs.sh where qsub was called.
#PBS -N ibl-dask
#PBS -S /bin/bash
#PBS -l select=1:ncpus=1:mem=4gb
#PBS -l walltime=24:00:00
#PBS -j oe
#PBS -r y
walltime_s=${WALLTIME_S:-86400} # as in the directive above

# Decode the values of qsub, and encode them again.
meant() { local v=${1//%2C/,}; v=${v//%22/\"}; v=${v//%27/\'}; v=${v//%5C/\\}; printf %s "${v//%25/%}"; }
taken() { local v=${1//%/%25}; v=${v//,/%2C}; v=${v//\"/%22}; v=${v//\'/%27}; printf %s "${v//\\/%5C}"; }
for name in PROFILE SESSIONS OPTIONS SCRIPT IBL_DASK; do
    if [ -n "${!name:-}" ]; then printf -v "$name" %s "$(meant "${!name}")"; fi
done

cd "${PBS_O_WORKDIR:-$PWD}" || exit 2
if [ -z "${PROFILE:-}" ] || [ -z "${SESSIONS:-}" ]; then
    echo "usage: qsub -v PROFILE=FILE,SESSIONS=FOLDER[,OPTIONS=...] driver.pbs.sh" >&2
    exit 2
fi

script=${SCRIPT:-cluster/driver.pbs.sh}
if [ ! -e "$script" ]; then
    echo "there is no $script in $PWD, which would be submitted once more: give qsub -v SCRIPT=FILE too" >&2
    exit 2
fi

# source /etc/profile.d/modules.sh && module load miniforge && source activate ibl_dask || exit 1
ibl_dask=${IBL_DASK:-ibl-dask}

if ! command -v "$ibl_dask" >/dev/null; then
    echo "there is no program $ibl_dask on $(hostname): load your environment in this script, or set IBL_DASK" >&2
    exit 2
fi

# PBS announces the end of the walltime only seconds before the kill, so `timeout` sends the signal earlier.
# shellcheck disable=SC2086 # sessions and options have blanks between them
timeout --signal=TERM "$((walltime_s - 300))" "$ibl_dask" run --profile "$PROFILE" $SESSIONS ${OPTIONS:-} &
driver=$!
# SIGTERM acts like Ctrl-C: the driver cancels its jobs and keeps finished results.
trap 'kill -TERM "$driver" 2>/dev/null' TERM INT
# `wait` returns on a signal, before the driver ends.
while kill -0 "$driver" 2>/dev/null; do wait "$driver"; done
wait "$driver"
code=$?

# 124: stopped by the clock before its work was done.
if [ "$code" = 124 ]; then
    echo "stopped before the end of the walltime: submitted once more, finished chunks are kept"
    again="PROFILE=$(taken "$PROFILE"),SESSIONS=$(taken "$SESSIONS"),OPTIONS=$(taken "${OPTIONS:-}")"
    qsub -v "$again,WALLTIME_S=$walltime_s,IBL_DASK=$(taken "$ibl_dask"),SCRIPT=$(taken "$script")" "$script"
fi
exit "$code"
