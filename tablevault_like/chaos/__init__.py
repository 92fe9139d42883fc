"""Rehearse failures: run builders on a sample in a copy, kill them, resume, and tell whether it comes out the same."""

from __future__ import annotations

from tablevault_like.chaos.report import BuilderCalls, ChaosReport, Harm, Trial, Verdict, Violation
from tablevault_like.chaos.trials import Wanted, rehearse

__all__ = ["BuilderCalls", "ChaosReport", "Harm", "Trial", "Verdict", "Violation", "Wanted", "rehearse"]
