"""What the pages of all benches are made of: a page of sections, its head, tables, judgements."""

from collections.abc import Iterable, Iterator, Mapping


def page(command: str, *sections: Iterable[str]) -> str:
    """A whole page, which says that `command` made it; each section ends with an empty line."""
    note = f"<!-- Made by {command}; do not edit. -->\n"
    return note + "\n" + "\n".join(line for lines in sections for line in (*lines, ""))


def head(title: str, meaning: str, machine: Mapping[str, str]) -> Iterator[str]:
    """The first section: what the page tells, and of which machine."""
    yield f"# {title}"
    yield ""
    yield meaning
    yield ""
    yield from table(("fact", "value"), machine.items())


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of a table."""
    heads = tuple(heads)
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" for _ in heads) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def met(is_met: bool) -> str:
    """A promise, judged."""
    return "met" if is_met else "**not met**"
