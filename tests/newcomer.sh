#!/usr/bin/env bash
# The path of a newcomer, timed: the wheel in a fresh environment, then the README's first script
# (own network, own data) and every command, from an empty folder.
#
#   tests/newcomer.sh [WHEEL [VENV]]
#
# The wheel is dist/*.whl by default, which "python -m build" makes. The environment is made anew in
# the folder VENV and stays there; without one it is removed at the end.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
most=300  # seconds that the script may take after the install

wheel=$(realpath "${1:-$(ls "$root"/dist/aimc_sim-*.whl)}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
venv=$(realpath -m "${2:-$scratch/venv}")
unset PYTHONPATH
export MPLBACKEND=Agg PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1

SECONDS=0
python3 -m venv --clear "$venv"
"$venv/bin/pip" install -q -c "$root/constraints.txt" "$wheel"
touch "$venv/installed"
install=$SECONDS

# The script as the README prints it: its first block of Python.
mkdir "$scratch/empty"
cd "$scratch/empty"
awk '/^```python/ && !done { on = 1; next } /^```/ && on { on = 0; done = 1 } on' \
    "$root/README.md" > ../script.py
[ -s ../script.py ] || { echo "README.md has no script"; exit 1; }
SECONDS=0
"$venv/bin/python" ../script.py > ../printed.txt
script=$SECONDS
grep -E '^(0|1 year) +(none|gdc) +[0-9.]+ ?%' ../printed.txt
grep -q '^cores  *[0-9]* of 64' ../printed.txt

SECONDS=0
"$venv/bin/python" "$root/tests/smoke.py"
echo "newcomer: install $install s, script $script s (at most $most), every command $SECONDS s"
[ "$script" -le "$most" ]
