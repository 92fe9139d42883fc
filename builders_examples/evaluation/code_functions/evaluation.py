"""Functions for the tables ``questions`` and ``answers``: a small evaluation of a model that isn't one."""

from collections.abc import Iterator, Mapping

import pandas as pd

from tablevault_like import Result

QUESTIONS = [
    ("q1", "geography", "the capital of Peru", "Lima", 1, "2024-03-01"),
    ("q2", "geography", "the longest river of Asia", "Yangtze", 2, "2024-03-01"),
    ("q3", "music", "the number of strings of a cello", "4", 1, "2024-04-15"),
    ("q4", "music", "the composer of 'Fidelio'", "Beethoven", 2, None),
]

KNOWN = {"the capital of Peru": "Lima", "the longest river of Asia": "Mekong", "the composer of 'Fidelio'": "Beethoven"}


def questions(resume_from: int) -> Iterator[dict[str, object]]:
    """Yield the questions, without those that were yielded before an interruption."""
    columns = ["id", "topic", "question", "expected", "points", "added"]
    for values in QUESTIONS[resume_from:]:
        yield dict(zip(columns, values, strict=True))


def hints(hints: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the hints that stand in the builder file, each with the id of its question."""
    yield from hints.items()


def answer(prompt: str, hint: str | None, temperature: float, row_key: str) -> Result:
    """Answer a prompt, and tell what that costs.

    A real function would send ``row_key`` along, so that a repeated call is charged once.
    """
    text = next((answer for question, answer in KNOWN.items() if question in prompt), None)
    certainty = 0.0 if text is None else 1.0 - temperature / 2
    words = len(prompt.split())
    values = {"answer": text, "certainty": certainty, "usage": {"prompt": words, "hinted": hint is not None}}
    return Result(values, cost=words * 0.001, tokens=words)


def grade(answers: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """Return the points of each answer."""
    both = answers.merge(questions, on="id", how="left")
    is_right = (both["answer"] == both["expected"]).fillna(False)
    return pd.DataFrame({"points": both["points"].where(is_right, 0)})


def running_total(points: pd.DataFrame, resume_from: int) -> Iterator[int]:
    """Yield, for each row, the sum of the points so far."""
    total = 0
    for position, value in enumerate(points["points"]):
        total += value
        if position >= resume_from:
            yield total
