"""Ask what a run will do, what it did, and why: plans, histories and reports. Nothing here changes a vault."""
