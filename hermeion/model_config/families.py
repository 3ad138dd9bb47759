"""Every decoder whose configuration is understood."""

from __future__ import annotations

from collections.abc import Mapping

from hermeion.model_config.dense import DENSE
from hermeion.model_config.family import Family
from hermeion.model_config.mixtures import MIXTURES

FAMILIES: Mapping[str, Family] = {family.model_type: family for family in (*DENSE, *MIXTURES)}
"""By ``model_type``."""

DECODERS: Mapping[str, Family] = {name: family for family in FAMILIES.values() for name in family.architectures}
"""By the class that a configuration of its own names."""
