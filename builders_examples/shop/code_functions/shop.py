"""Functions for a shop that writes to its customers. What they are given is what the builder files look up."""

from collections.abc import Iterator, Mapping

import pandas as pd


def given_rows(rows: list[list[object]]) -> Iterator[list[object]]:
    """Yield the rows that stand in the builder file."""
    yield from rows


def louder(phrase: str, en: str, de: str) -> dict[str, str]:
    """Return a phrase that is meant to be heard."""
    return {"phrase": phrase, "en": f"{en}!", "de": f"{de}!"}


def phrases(phrases: Mapping[str, str]) -> Mapping[str, str]:
    """Return the phrases by the names of their columns."""
    return phrases


def person(name: str, city: str | None) -> tuple[str, str]:
    """Return the name and the city, which not every customer has told."""
    return name, city or "unknown"


def spent(totals: int | list[int] | None) -> int:
    """Sum up: a condition that several rows meet gives a list, one row its cell, and no row None."""
    return sum(totals) if isinstance(totals, list) else totals or 0


def favourite(orders: pd.DataFrame | None) -> str:
    """Return what was bought for the most money. Several columns come as a DataFrame, of however many rows."""
    return "nothing" if orders is None else str(orders.sort_values("total")["item"].iloc[-1])


def text(lines: list[str], coupon: str | None, signatures: Mapping[str, str], language: str) -> str:
    """Put a letter together."""
    return "\n".join([*lines, *([] if coupon is None else [coupon]), signatures[language]])


def report(orders: pd.DataFrame, customers: pd.DataFrame, phrases: pd.DataFrame, **figures: object) -> pd.DataFrame:
    """Return a row for each figure."""
    known = ", ".join(f"{row['full name']} ({row['id']})" for _, row in customers.iterrows())
    found = {"orders": len(orders), "customers": known, "phrases": ", ".join(phrases["phrase"]), **figures}
    return pd.DataFrame({"figure": list(found), "value": [str(value) for value in found.values()]})
