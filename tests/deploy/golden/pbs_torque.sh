#!/usr/bin/env bash

#PBS -N ibl-torque-7
#PBS -q gpuq
#PBS -S /bin/bash
#PBS -j oe
#PBS -o '/shared/work/job logs/'
#PBS -W group_list=my_lab
#PBS -l nodes=1:ppn=8:gpus=1,mem=32gb
stop() { printf "ibl-dask: %s\n" "$@" >&2; exit 1; }
number=${PBS_JOBID:-${SLURM_JOB_ID:-$$}}
exec >>'/shared/work/job logs/torque-7-'"${number%%.*}.log" 2>&1 || stop 'no log can be written in /shared/work/job logs'
export OMP_NUM_THREADS=8
export OPENBLAS_NUM_THREADS=8
export MKL_NUM_THREADS=8
export NUMEXPR_NUM_THREADS=8
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=67108864
export MALLOC_TRIM_THRESHOLD_=134217728
export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL=2s
export DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL=1s
export DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL=100ms
export DASK_DISTRIBUTED__ADMIN__TICK__LIMIT=60s
umask 0007
command -v /shared/envs/pose/bin/python >/dev/null || stop 'no such program on this node: /shared/envs/pose/bin/python (site.yaml, line 35); write the path of a Python that every node sees'
/shared/envs/pose/bin/python -m distributed.cli.dask_worker tcp://10.0.0.1:8786 --name torque-7 --nthreads 1 --memory-limit 29.80GiB --nanny --death-timeout 120 --resources GPU=1,GPU_CORES=8,MEMORY_GB=32 --preload ibl_dask.deploy.cluster.worker_setup --no-dashboard --dashboard-address 127.0.0.1:0
