#!/bin/sh
# Serves this folder over an OpenAI-compatible HTTP interface; needs the command greenllm.
case $0 in
*/*) script=$0 ;;
*) script=./$0 ;;
esac
script=$(readlink -f -- "$script" 2>/dev/null || printf '%s\n' "$script")
if ! command -v greenllm >/dev/null 2>&1; then
    echo "serve: the command greenllm is not found; activate the environment that has it, such as by" \
        "'. .venv/bin/activate', or install GreenLLM on this machine" >&2
    exit 127
fi
if ! greenllm --version >/dev/null 2>&1; then
    echo "serve: $(command -v greenllm) does not run (its Python is missing, or has no GreenLLM); install GreenLLM" \
        "there again, or activate another environment" >&2
    exit 127
fi
exec greenllm serve "${script%/*}/" "$@"
