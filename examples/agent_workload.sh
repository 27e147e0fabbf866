#!/bin/sh
# Prints how many conversations each agent handles, of those that were active lately.
#
#   agent_workload.sh [SINCE]
#
# SINCE is a time or a duration, as for `cekat conversations --since`. The default is 3d.
set -eu

# First into a variable: a pipe would hide the exit code.
agents=$(cekat conversations --since "${1:-3d}" --columns agent)
printf '%s\n' "$agents" | sed 's/^$/(nobody)/' | sort | uniq -c | sort -rn
