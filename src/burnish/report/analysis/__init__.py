"""The numbers of a report: what a run folder says, computed once for pictures and text."""
