#!/bin/sh
# Exports the conversations of an account, and retries failures that may pass.
#
#   nightly_export.sh TARGET [OPTION...]
#
# ATTEMPTS (default 5) is the number of runs, PAUSE (default 900) the seconds between them.
set -u
attempts=${ATTEMPTS:-5}

while :; do
  cekat export "$@"
  code=$?
  attempts=$((attempts - 1))
  [ "$attempts" -gt 0 ] || exit "$code"
  case $code in
    # The network, the API, the quota, the target, another export: the next run resumes.
    4 | 5 | 6 | 7 | 12) sleep "${PAUSE:-900}" ;;
    # Done, or something that needs a person.
    *) exit "$code" ;;
  esac
done
