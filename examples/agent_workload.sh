#!/bin/sh
# Prints how many conversations each agent handles, of those that were active lately.
#
#   agent_workload.sh [SINCE]
#
# SINCE is a time or a duration, as for `cekat conversations --since`. The default is 3d.
set -eu

# First into a variable: a pipe would hide the exit code. With the id, which is never empty,
# because $(…) drops empty lines at the end.
rows=$(cekat conversations --since "${1:-3d}" --columns id,agent)
[ -n "$rows" ] || exit 0
printf '%s\n' "$rows" | cut -f2 | sed 's/^$/(nobody)/' | sort | uniq -c | sort -rn
