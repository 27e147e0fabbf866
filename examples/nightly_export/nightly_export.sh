#!/bin/sh
# Exports the conversations of an account, and retries failures that may pass.
#
#   nightly_export.sh TARGET [OPTION...]
#
# ATTEMPTS (default 5) is the maximum number of runs. PAUSE (default 900) is the number of seconds
# between two runs.
set -u
attempts=${ATTEMPTS:-5}

while :; do
  cekat export "$@"
  code=$?
  attempts=$((attempts - 1))
  [ "$attempts" -gt 0 ] || exit "$code"
  case $code in
    # The network, the API or the target failed, the quota is used up, or another export is
    # running. The next run resumes.
    4 | 5 | 6 | 7 | 12) sleep "${PAUSE:-900}" ;;
    # The export is complete, or the failure needs a person.
    *) exit "$code" ;;
  esac
done
