"""Prints what became of the mutants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from quant_conformance.errors import UsageError
from quant_conformance.mutants.hunt import Hunt, Hunter
from quant_conformance.mutants.model import Mutant
from quant_conformance.mutants.table import MUTANTS
from quant_conformance.runner.selection import Selection, select_cases
from quant_vectors import load_frozen

PLAIN_WIDTH = 140
"""Columns where there is no terminal to ask."""

FLAGS_SHOWN = 4


def report(families: Sequence[str], tier: str) -> int:
    """Does what :func:`quant_conformance.mutants.main` says."""
    vectors = load_frozen()
    cases = select_cases(vectors, Selection(tier, families))
    hunter = Hunter(vectors, cases)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    for family in families:
        if not any(family in mutant.families for mutant in MUTANTS):
            raise UsageError(f"no known bug is hunted in the family {family!r}")
    chosen = [m for m in MUTANTS if not set(m.families).isdisjoint(hunter.families)]
    watched = track(chosen, "mutants", console=Console(stderr=True), transient=True)
    hunts = list(hunter.hunt(watched))
    console.print(_mutants(hunts))
    console.print(_clauses(hunts))
    survivors = [hunt for hunt in hunts if not hunt.killers]
    for hunt in survivors:
        line = f"survives {hunt.family}: {hunt.mutant.id} – {hunt.mutant.bug}"
        console.print(escape(line), style="bold red", soft_wrap=True)
    console.print(
        f"{_count(_killed(hunts))} of {_count(h.mutant for h in hunts)} mutants killed; "
        f"{len(hunts) - len(survivors)} of {len(hunts)} mutant × family pairs; "
        f"{sum(hunt.asked for hunt in hunts)} answers judged"
    )
    return 1 if survivors else 0


def kill_rates(hunts: Iterable[Hunt]) -> dict[str, tuple[int, int]]:
    """Clause -> (mutants of it that every one of their families caught, mutants of it)."""
    hunts = list(hunts)
    killed = {mutant.id for mutant in _killed(hunts)}
    rates: dict[str, tuple[int, int]] = {}
    for mutant in {hunt.mutant.id: hunt.mutant for hunt in hunts}.values():
        for clause in mutant.clauses:
            dead, known = rates.get(clause, (0, 0))
            rates[clause] = (dead + (mutant.id in killed), known + 1)
    return rates


def _killed(hunts: Iterable[Hunt]) -> list[Mutant]:
    """Mutants that every one of their families caught."""
    hunts = list(hunts)
    alive = {hunt.mutant.id for hunt in hunts if not hunt.killers}
    return [hunt.mutant for hunt in hunts if hunt.mutant.id not in alive]


def _count(mutants: Iterable[Mutant]) -> int:
    return len({mutant.id for mutant in mutants})


def _mutants(hunts: Sequence[Hunt]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("mutant", no_wrap=True)
    table.add_column("clauses", no_wrap=True)
    table.add_column("killed by cases of")
    table.add_column("flags")
    by_mutant: dict[str, list[Hunt]] = {}
    for hunt in hunts:
        by_mutant.setdefault(hunt.mutant.id, []).append(hunt)
    for name, found in by_mutant.items():
        flags = Counter(flag for hunt in found for case in hunt.killers for flag in case.flags)
        table.add_row(
            escape(name),
            " ".join(found[0].mutant.clauses),
            ", ".join(_kills(hunt) for hunt in found),
            ", ".join(f"{flag} {count}" for flag, count in flags.most_common(FLAGS_SHOWN))
            + (", …" if len(flags) > FLAGS_SHOWN else ""),
        )
    return table


def _kills(hunt: Hunt) -> str:
    text = f"{hunt.family} {len(hunt.killers)}"
    return text if hunt.killers else f"[bold red]{text}[/]"


def _clauses(hunts: Sequence[Hunt]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("clause", no_wrap=True)
    table.add_column("killed", justify="right")
    table.add_column("of", justify="right")
    table.add_column("rate", justify="right")
    for clause, (dead, known) in sorted(kill_rates(hunts).items(), key=lambda i: _order(i[0])):
        style = None if dead == known else "bold red"
        table.add_row(clause, str(dead), str(known), f"{dead / known:.0%}", style=style)
    return table


def _order(clause: str) -> tuple[str, int]:
    name, _, number = clause.rpartition("-")
    return name, int(number)
