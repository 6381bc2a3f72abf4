#!/usr/bin/env bash
# A Slurm of two nodes on this machine: two network, process, mount and host name spaces with a cable between them, so
# that each has its own address, /tmp and processes, and `ray stop` reaches no further. Runs a command on the first
# node; when it has ended everything is gone.
#
#   unshare --net --pid --mount --uts --fork --kill-child --mount-proc two_node_slurm.sh FOLDER COMMAND [ARGUMENT ...]
#
# Must be root. FOLDER holds the configuration, logs and each node's /tmp/ray; its path must be short (Unix sockets).
set -euo pipefail
folder=$1
shift
# When the first process of a process name space ends, the kernel ends all others in it: nothing outlives the test.
trap 'exit 143' TERM INT

mkdir -p "$folder"/{state,spool-n1,spool-n2,ray-n1,ray-n2,munge} /tmp/ray
chmod 755 "$folder" "$folder/munge"
printf '127.0.0.1 localhost\n10.201.0.1 n1\n10.201.0.2 n2\n' >"$folder/hosts"
cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=n1
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits for as long as credentials of its last start may be about, and then for the next look at the queue.
AuthInfo=socket=$folder/munge/socket,cred_expire=15
SchedulerParameters=bf_interval=3,sched_interval=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
# No control groups, accounting or process binding: these are the site's, not the script's.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=20
KillWait=2
NodeName=n1 CPUs=1 RealMemory=1024 Gres=gpu:1
NodeName=n2 CPUs=1 RealMemory=1024 Gres=gpu:1
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
# Slurm asks for a device file and Ray counts what Slurm grants; no GPU is needed to see that trials are placed by it.
echo 'Name=gpu File=/dev/zero' >"$folder/gres.conf"
printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >"$folder/cgroup.conf"
dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
chmod 600 "$folder/munge/key"

export SLURM_CONF=$folder/slurm.conf
# Each node is a host of its own: its name, its processes, what Ray keeps there, and the names of both. The rest of
# /tmp is what both see: the virtual environment may lie there.
node() {
  hostname "$1"
  ip link set lo up
  mount --bind "$folder/ray-$1" /tmp/ray
  mount --bind "$folder/hosts" /etc/hosts
  touch "$folder/$1.ready"
  while sleep 1; do :; done # as the first process it must take in the orphans that end: Ray waits for its own
}
export -f node
export folder
declare -A process
for name in n1 n2; do
  unshare --net --pid --mount --uts --fork --kill-child --mount-proc bash -c "node $name" &
  until [[ -e $folder/$name.ready ]]; do sleep 0.05; done
  process[$name]=$(pgrep --parent $!)
done
on() { # NODE COMMAND ...
  nsenter --target "${process[$1]}" --all "${@:2}"
}
ip link add cable type veth peer name cable netns "${process[n2]}"
ip link set cable netns "${process[n1]}"
for name in n1 n2; do
  on "$name" ip address add "10.201.0.${name#n}/24" dev cable
  on "$name" ip link set cable up
done

munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
  --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
on n1 slurmctld
on n1 slurmd
on n2 slurmd

deadline=$((SECONDS + 60))
until [[ $(on n1 sinfo --noheader --states=idle --format=%D) == 2 ]]; do
  if ((SECONDS > deadline)); then
    tail -n 20 "$folder"/*.log >&2
    exit 1
  fi
  sleep 0.2
done
on n1 "$@"
