"""What can go wrong, as values with an exit code.

Every message says what, where (host and path), the evidence, and the next step.

    HermeionError          1
    ├── InventoryError     2   the inventory asks for something that does not exist
    ├── PlacementError     3   something wanted fits nowhere; carries one rejection per option tried
    ├── ProbeError         4   a host's answer could not be understood
    ├── SourceError        5   the Hub or the registry refuses, lacks or contradicts what is wanted
    ├── RenderError        6   a template names something the plan does not have
    ├── ApplyError         7   a host could not be brought to its plan
    ├── LabError           8   the lab cannot be built or reached
    └── ModelError         9   a model's own files are broken, contradict each other, or are of no known kind
"""

from __future__ import annotations


class HermeionError(Exception):
    """Base of every error a user can meet."""

    exit_code = 1


class InventoryError(HermeionError):
    """The inventory asks for something that does not exist."""

    exit_code = 2


class PlacementError(HermeionError):
    """Something wanted fits nowhere.

    Attributes:
        rejections: ``Rejection`` of every option tried.
        fix: ``Fix`` that was planned again and fits, or ``None``.
    """

    exit_code = 3
    rejections: tuple[object, ...] = ()
    fix: object | None = None


class ProbeError(HermeionError):
    """A host's answer could not be understood."""

    exit_code = 4


class SourceError(HermeionError):
    """The Hub or the registry refuses, lacks or contradicts what is wanted."""

    exit_code = 5


class RenderError(HermeionError):
    """A template names something the plan does not have."""

    exit_code = 6


class ApplyError(HermeionError):
    """A host could not be brought to its plan."""

    exit_code = 7


class LabError(HermeionError):
    """The lab cannot be built or reached."""

    exit_code = 8


class ModelError(HermeionError):
    """A model's own files are broken, contradict each other, or are of no known kind."""

    exit_code = 9
