"""Draw docs/up.svg: the table of `warren up examples/quickstart.yaml`, from a real run.

The run lasts until the services look as README.md says they do. No address of a font or of
anything else is in the file.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import trio
from rich.console import Console
from rich.text import Text

from warren import load_file, open_supervisor
from warren.cli.live.layout import lines
from warren.cli.live.screen import Screen
from warren.cli.output_queue import Outlet
from warren.model.identity import TaskId
from warren.model.service import ServiceSpec
from warren.model.task import TaskStatus
from warren.wiring.supervisor import Supervisor

ROOT = Path(__file__).parent.parent
SOURCE = Path("examples/quickstart.yaml")
PICTURE = ROOT / "docs" / "up.svg"
WIDTH, HEIGHT = 92, 24
LONGEST = 60.0  # seconds
# rich's own, without the lines that name a font's address.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xml:space="preserve"
    xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
    font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


async def watch(specs: list[ServiceSpec]) -> list[Text]:
    """Run the services until there is something to see; gives the table as it stands then."""
    screen = Screen(Outlet(1))
    async with open_supervisor(publish=screen.note) as supervisor, supervisor.watch() as changes:
        screen.attach(lambda task: status_of(supervisor, task))
        for spec in specs:
            screen.set_service(spec)
            await supervisor.start(spec)
        with trio.fail_after(LONGEST):
            async for _ in changes:
                if is_worth_seeing(supervisor):
                    break
        return lines(screen.view(WIDTH, HEIGHT), WIDTH, HEIGHT)


def status_of(supervisor: Supervisor, task: TaskId) -> TaskStatus | None:
    """A task as it stands now."""
    statuses = supervisor.services[task.service].statuses()
    return next((status for status in statuses if status.id == task), None)


def is_worth_seeing(supervisor: Supervisor) -> bool:
    """Every replica of web is ready, and flaky waits for its second restart."""
    flaky = supervisor.services["flaky"].statuses()
    web = supervisor.services["web"].health()
    waits = any(task.restarts >= 2 and task.instance is None for task in flaky)
    return web.healthy == web.total and waits


def draw(table: list[Text]) -> str:
    """The table as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ warren up {SOURCE}", style="bold"))
    for line in table:
        console.print(line, no_wrap=True, crop=True)
    svg = console.export_svg(title="warren", code_format=FORMAT, unique_id="warren")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> int:
    table = trio.run(watch, load_file(ROOT / SOURCE))
    svg = draw(table)
    foreign = set(re.findall(r"https?://[^\"' )]+", svg)) - {"http://www.w3.org/2000/svg"}
    if foreign:
        print(f"the picture names {', '.join(sorted(foreign))}", file=sys.stderr)
        return 1
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
