# `.venv` unless another virtual environment is active; README.md's second command makes it.
venv := env("VIRTUAL_ENV", justfile_directory() / ".venv")
export PATH := venv / "bin:" + env("PATH")

# List the recipes
default:
    @just --list

# Everything CI runs: format, lint, types, tests with branch coverage and its floors
check: lint types cover survive

[private]
lint:
    ruff format --check .
    ruff check .

[private]
types:
    pyright

[private]
cover:
    coverage erase
    coverage run -m pytest -q --all -m 'not untraced'
    coverage combine -q
    coverage json -q -o .coverage.json
    python tools/coverage_floor.py .coverage.json

# What coverage would slow down too much, and programs that are killed, which would not live to write it
[private]
survive:
    python -m pytest -q --all -m untraced
    python tools/soak.py --minutes 5

# Run the tests; arguments go to pytest
test *arguments:
    python -m pytest -q {{ arguments }}

# Format, and mend what the linter can mend
format:
    ruff format .
    ruff check --fix .

# Renew constraints.txt: the newest exact version of everything, for every Python supported
pin:
    uv pip compile pyproject.toml --extra dev --extra bench --universal --python-version 3.11 \
        --upgrade --no-header --no-annotate --no-emit-index-url --no-emit-find-links -q -o constraints.txt

# Measure against the peers; arguments go to the bench
bench *arguments:
    python -m bench {{ arguments }}

# Kill, hang, starve and flood a manager and its node for a time; arguments go to tools/soak.py
soak *arguments:
    python tools/soak.py {{ arguments }}

# Draw the README's picture, docs/up.svg, from a real run
picture:
    python tools/picture.py

# Draw the diagram in docs/architecture.md from the table of a task's life
diagram:
    python tools/diagram.py

# Write docs/cli.md from the command itself
cli-docs:
    python tools/cli_docs.py
