#!/usr/bin/env bash

#SBATCH -J ibl-apptainer-7
#SBATCH -p gpu
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH -t 04:00:00
#SBATCH --output='/shared/work/job logs/apptainer-7-%j.log'
#SBATCH --open-mode=append
#SBATCH --gres=gpu:a100:1
stop() { printf "ibl-dask: %s\n" "$@" >&2; exit 1; }
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
umask 0027
{ module load apptainer
} || stop 'the setup failed (site.yaml, line 37): module load apptainer'
command -v apptainer >/dev/null || stop 'no such program on this node: apptainer (site.yaml, line 38); write the path of a Python that every node sees'
apptainer exec --nv --bind /shared "/shared/images/ibl dask.sif" python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name apptainer-7 --nthreads 1 --memory-limit 29.80GiB --nanny --death-timeout 120 --resources GPU=1,GPU_CORES=8,MEMORY_GB=32 --preload ibl_dask.deploy.cluster.worker_setup --no-dashboard --dashboard-address 127.0.0.1:0 --lifetime 11925s --lifetime-stagger 2385s --interface ib0 --tls-ca-file '/shared/work/job logs/tls/ca.pem' --tls-cert '/shared/work/job logs/tls/worker.pem' --tls-key '/shared/work/job logs/tls/worker-key.pem'
