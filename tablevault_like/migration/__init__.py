"""Bring a vault of TableVault 0.1 over."""

from tablevault_like.migration.migrating import migrate
from tablevault_like.migration.report import Item, Kind, Outcome, Report

__all__ = ["Item", "Kind", "Outcome", "Report", "migrate"]
