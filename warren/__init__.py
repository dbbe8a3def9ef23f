"""Warren keeps services alive: tasks under probes, restarted when they fail.

    async with warren.open_supervisor() as supervisor:
        web = await supervisor.start(ServiceSpec(name="web", command=Argv(["python3", "app.py"])))
        await web.wait_ready()

What is named here is the library's front door. It is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warren.manifest.service_file import load_file
    from warren.model.byte_size import ByteSize
    from warren.model.check import Args, Argv, ExecCheck, HttpCheck, Scheme, StatusRange, TcpCheck
    from warren.model.container import Pull, Ulimit
    from warren.model.duration import Duration
    from warren.model.errors import (
        ConflictError,
        FieldError,
        NotFoundError,
        SpecError,
        UnavailableError,
        WarrenError,
    )
    from warren.model.event import EventKind
    from warren.model.mount import Mount, MountType
    from warren.model.probe import Probe
    from warren.model.service import Condition, Resources, Restart, ServiceSpec, Stop
    from warren.model.task import Phase
    from warren.store.directory import DataDirectoryError
    from warren.wiring.service import Service, ServiceEndedError, ServiceFailedError
    from warren.wiring.supervisor import Supervisor, open_supervisor

__version__ = "0.1.0"
__all__ = [
    "Args",
    "Argv",
    "ByteSize",
    "Condition",
    "ConflictError",
    "DataDirectoryError",
    "Duration",
    "EventKind",
    "ExecCheck",
    "FieldError",
    "HttpCheck",
    "Mount",
    "MountType",
    "NotFoundError",
    "Phase",
    "Probe",
    "Pull",
    "Resources",
    "Restart",
    "Scheme",
    "Service",
    "ServiceEndedError",
    "ServiceFailedError",
    "ServiceSpec",
    "SpecError",
    "StatusRange",
    "Stop",
    "Supervisor",
    "TcpCheck",
    "Ulimit",
    "UnavailableError",
    "WarrenError",
    "__version__",
    "load_file",
    "open_supervisor",
]

_HOMES = {
    "open_supervisor": "warren.wiring.supervisor",
    "Supervisor": "warren.wiring.supervisor",
    "Service": "warren.wiring.service",
    "ServiceEndedError": "warren.wiring.service",
    "ServiceFailedError": "warren.wiring.service",
    "Args": "warren.model.check",
    "Argv": "warren.model.check",
    "ByteSize": "warren.model.byte_size",
    "ExecCheck": "warren.model.check",
    "HttpCheck": "warren.model.check",
    "Scheme": "warren.model.check",
    "StatusRange": "warren.model.check",
    "TcpCheck": "warren.model.check",
    "Duration": "warren.model.duration",
    "ConflictError": "warren.model.errors",
    "DataDirectoryError": "warren.store.directory",
    "FieldError": "warren.model.errors",
    "NotFoundError": "warren.model.errors",
    "SpecError": "warren.model.errors",
    "UnavailableError": "warren.model.errors",
    "WarrenError": "warren.model.errors",
    "EventKind": "warren.model.event",
    "Phase": "warren.model.task",
    "Mount": "warren.model.mount",
    "MountType": "warren.model.mount",
    "Probe": "warren.model.probe",
    "Pull": "warren.model.container",
    "Ulimit": "warren.model.container",
    "Condition": "warren.model.service",
    "Resources": "warren.model.service",
    "Restart": "warren.model.service",
    "ServiceSpec": "warren.model.service",
    "Stop": "warren.model.service",
    "load_file": "warren.manifest.service_file",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
