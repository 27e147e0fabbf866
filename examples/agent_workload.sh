#!/bin/sh
# Prints the number of recently active conversations that each agent handles.
#
#   agent_workload.sh [SINCE]
#
# SINCE is a time or a duration, as for `cekat conversations --since`. The default is 3d.
set -eu

# The output goes into a variable first, because a pipe would hide the exit code. Each line has the id,
# which is never empty, because $(…) drops empty lines at the end.
rows=$(cekat conversations --since "${1:-3d}" --columns id,agent)
[ -n "$rows" ] || exit 0
printf '%s\n' "$rows" | cut -f2 | sed 's/^$/(nobody)/' | sort | uniq -c | sort -rn
