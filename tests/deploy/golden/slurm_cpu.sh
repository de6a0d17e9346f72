#!/usr/bin/env bash

#SBATCH -J ibl-cpu-7
#SBATCH -p batch
#SBATCH -A my_lab
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH --mem=12500M
#SBATCH -t 26:03:04
#SBATCH --output='/shared/work/job logs/cpu-7-%j.log'
#SBATCH --open-mode=append
#SBATCH --constraint=avx2
#SBATCH --exclude=node[1-3]
stop() { printf "ibl-dask: %s\n" "$@" >&2; exit 1; }
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMEXPR_NUM_THREADS=1
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=67108864
export MALLOC_TRIM_THRESHOLD_=134217728
export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL=2s
export DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL=1s
export DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL=100ms
export DASK_DISTRIBUTED__ADMIN__TICK__LIMIT=60s
umask 0027
{ module load miniforge
} || stop 'the setup failed (site.yaml, line 17): module load miniforge'
{ export GREETING='hello world'
} || stop 'the setup failed (site.yaml, line 18): export GREETING='"'"'hello world'"'"''
mkdir -p "/local/$USER/with blank" || stop 'no scratch folder can be made (site.yaml, line 14)'
command -v python >/dev/null || stop 'no such program on this node: python (site.yaml, line 6); write the path of a Python that every node sees'
python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name cpu-7 --nthreads 1 --memory-limit 1.46GiB --nworkers 8 --nanny --death-timeout 120 --resources CPU=1,MEMORY_GB=1.5625 --preload ibl_dask.deploy.cluster.worker_setup --no-dashboard --dashboard-address 127.0.0.1:0 --local-directory "/local/$USER/with blank" --lifetime 78078s --lifetime-stagger 15616s --interface ib0 --tls-ca-file '/shared/work/job logs/tls/ca.pem' --tls-cert '/shared/work/job logs/tls/worker.pem' --tls-key '/shared/work/job logs/tls/worker-key.pem'
