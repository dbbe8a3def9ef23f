"""Limits and what is used of them (S27), for people."""

from __future__ import annotations

from collections.abc import Iterator

from warren.model.byte_size import size_in_words
from warren.model.plural import counted
from warren.model.service import Resources
from warren.model.usage import Usage

USED_HEADS = ("MEMORY", "PEAK", "CPU", "PIDS")


def limits(resources: Resources) -> Iterator[str]:
    """`memory 512M`, `cpu 0.5`, `pids 200`: those that there are."""
    if resources.memory is not None:
        yield f"memory {resources.memory}"
    if resources.cpu is not None:
        yield f"cpu {resources.cpu:g}"
    if resources.pids is not None:
        yield f"pids {resources.pids}"


def used(usage: Usage, resources: Resources) -> Iterator[str]:
    """`memory 48.2 MiB of 64 MiB, peak 50 MiB`, `cpu 12.3 s`, `pids 3 of 200`: what is known."""
    if usage.memory_used is not None:
        peak = "" if usage.memory_peak is None else f", peak {size_in_words(usage.memory_peak)}"
        of = "" if resources.memory is None else f" of {size_in_words(resources.memory)}"
        yield f"memory {size_in_words(usage.memory_used)}{of}{peak}"
    if usage.cpu_seconds is not None:
        held = usage.throttled_seconds
        yield f"cpu {usage.cpu_seconds:.1f} s{f' (throttled {held:.1f} s)' if held else ''}"
    if usage.processes is not None:
        of = "" if resources.pids is None else f" of {resources.pids}"
        refused = usage.processes_refused
        said = f" (refused {counted(refused, 'time')})" if refused else ""
        yield f"pids {usage.processes}{of}{said}"


def used_cells(usage: Usage | None) -> list[str]:
    """What one task uses, under USED_HEADS; `-` is what is not known."""
    if usage is None:
        return ["-"] * len(USED_HEADS)
    return [
        _size(usage.memory_used),
        _size(usage.memory_peak),
        "-" if usage.cpu_seconds is None else f"{usage.cpu_seconds:.1f}s",
        _pids(usage),
    ]


def _size(size: int | None) -> str:
    return "-" if size is None else size_in_words(size)


def _pids(usage: Usage) -> str:
    if usage.processes is None:
        return "-"
    refused = usage.processes_refused
    return f"{usage.processes} ({refused} refused)" if refused else str(usage.processes)
