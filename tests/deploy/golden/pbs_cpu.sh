#!/usr/bin/env bash

#PBS -N ibl-cpu-7
#PBS -q workq
#PBS -A my_lab
#PBS -l select=1:ncpus=8:mem=16gb
#PBS -l walltime=30:00:00
#PBS -S /bin/bash
#PBS -j oe
#PBS -o '/shared/work/job logs/'
#PBS -W group_list=my_lab
#PBS -l place=scatter
stop() { printf "ibl-dask: %s\n" "$@" >&2; exit 1; }
number=${PBS_JOBID:-${SLURM_JOB_ID:-$$}}
exec >>'/shared/work/job logs/cpu-7-'"${number%%.*}.log" 2>&1 || stop 'no log can be written in /shared/work/job logs'
export OMP_NUM_THREADS=2
export OPENBLAS_NUM_THREADS=2
export MKL_NUM_THREADS=2
export NUMEXPR_NUM_THREADS=2
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=67108864
export MALLOC_TRIM_THRESHOLD_=134217728
export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL=2s
export DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL=1s
export DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL=100ms
export DASK_DISTRIBUTED__ADMIN__TICK__LIMIT=60s
umask 0007
{ source /etc/profile.d/modules.sh
} || stop 'the setup failed (site.yaml, line 17): source /etc/profile.d/modules.sh'
{ module load miniforge
} || stop 'the setup failed (site.yaml, line 17): module load miniforge'
command -v python >/dev/null || stop 'no such program on this node: python (site.yaml, line 7); write the path of a Python that every node sees'
python -m distributed.cli.dask_worker tcp://10.0.0.1:8786 --name cpu-7 --nthreads 1 --memory-limit 3.73GiB --nworkers 4 --nanny --death-timeout 120 --resources CPU=2,MEMORY_GB=4 --preload ibl_dask.deploy.cluster.worker_setup --no-dashboard --dashboard-address 127.0.0.1:0 --lifetime 89925s --lifetime-stagger 17985s
