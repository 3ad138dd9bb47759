"""One engine on one kind of GPU, term by term: what ``hermeion budget`` prints.

Options that are left out take the engine version's own defaults for that card.
"""

from __future__ import annotations

from hermeion.budgets.llamacpp import make_llamacpp_budget
from hermeion.budgets.options import BudgetOptions, BudgetReport
from hermeion.budgets.sglang import make_sglang_budget
from hermeion.budgets.vllm import make_vllm_budget
from hermeion.model_config import ModelConfig

__all__ = ["BudgetOptions", "BudgetReport", "make_budget"]


def make_budget(config: ModelConfig, options: BudgetOptions) -> BudgetReport:
    """The budget of the engine that the options name.

    Raises:
        InventoryError: An option is impossible; the message names it and what works.
        ModelError: The size of the files and the configuration contradict each other.
    """
    if options.engine == "vllm":
        return make_vllm_budget(config, options)
    if options.engine == "sglang":
        return make_sglang_budget(config, options)
    return make_llamacpp_budget(config, options)
