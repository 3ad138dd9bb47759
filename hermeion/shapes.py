"""What of a model's architecture decides its memory. Numbers alone: reading them is ``model_config``'s business."""

from __future__ import annotations

from pydantic import Field

from hermeion.records import Record


class Experts(Record):
    """The feed-forward part of a mixture of experts."""

    count: int = Field(description="Routed experts of one layer.", gt=0)
    per_token: int = Field(description="Routed experts that one token passes through.", gt=0)
    intermediate: int = Field(description="Feed-forward size of one routed expert.", gt=0)
    shared_intermediate: int = Field(default=0, description="Feed-forward size of the shared experts, added up.", ge=0)
    dense_layers: int = Field(default=0, description="Layers with an ordinary feed-forward part instead.", ge=0)


class Latent(Record):
    """Multi-head latent attention (DeepSeek, Kimi): keys and values are cached as one compressed vector."""

    kv_rank: int = Field(description="Size of the compressed keys and values.", gt=0)
    query_rank: int = Field(default=0, description="Size of the compressed queries. 0: not compressed.", ge=0)
    nope_dim: int = Field(description="Part of a head without rotary positions.", gt=0)
    rope_dim: int = Field(description="Part of a head with rotary positions.", gt=0)
    value_dim: int = Field(description="Size of a head's values.", gt=0)


class Shape(Record):
    """A model's architecture, as far as memory asks.

    Everything is in elements and tokens; bytes come in with a precision (``precisions``).
    """

    layers: int = Field(description="Transformer layers.", gt=0)
    hidden: int = Field(description="Hidden size.", gt=0)
    intermediate: int = Field(description="Feed-forward size of a dense layer.", gt=0)
    heads: int = Field(description="Attention heads.", gt=0)
    kv_heads: int = Field(description="Key/value heads.", gt=0)
    head_dim: int = Field(description="Size of one attention head.", gt=0)
    vocab: int = Field(description="Vocabulary size in tokens.", gt=0)
    max_context: int = Field(description="Longest context the model was made for, in tokens.", gt=0)
    architecture: str = Field(default="", description="Class name in `config.json`; shown.")
    tied_embeddings: bool = Field(default=False, description="Whether input and output embeddings are one matrix.")
    qkv_bias: bool = Field(default=False, description="Whether query, key and value have a bias.")
    gated: bool = Field(default=True, description="Whether the feed-forward part has a gate (three matrices, not two).")
    norms: int = Field(default=2, description="Norm vectors of a layer.", ge=0)
    sliding_window: int | None = Field(default=None, description="Tokens that a sliding-window layer sees.", gt=0)
    sliding_layers: int = Field(default=0, description="Layers with sliding-window attention.", ge=0)
    rotary_positions: int | None = Field(
        default=None, description="Positions in the rotary-embedding caches, all added up. None: `max_context`.", ge=0
    )
    rotary_dim: int | None = Field(
        default=None, description="Rotated part of a head. None: all of it; 0: no rotary embedding.", ge=0
    )
    experts: Experts | None = Field(default=None, description="Mixture of experts. None: a dense model.")
    latent: Latent | None = Field(default=None, description="Latent attention. None: ordinary attention.")
    tower_parameters: int = Field(
        default=0, description="Parameters of vision and audio towers and of their projectors.", ge=0
    )

    @property
    def full_layers(self) -> int:
        """Layers whose attention sees the whole context."""
        return self.layers - self.sliding_layers

    @property
    def moe_layers(self) -> int:
        """Layers with a mixture of experts."""
        return self.layers - self.experts.dense_layers if self.experts else 0

    def kv_heads_on(self, tensor_parallel: int) -> int:
        """KV heads on each GPU: split, and replicated beyond their number."""
        return max(1, self.kv_heads // tensor_parallel)

    def kv_elements(self, tensor_parallel: int = 1) -> int:
        """Elements that one layer caches of one token on each GPU. A latent is one vector, never split."""
        if self.latent:
            return self.latent.kv_rank + self.latent.rope_dim
        return 2 * self.kv_heads_on(tensor_parallel) * self.head_dim

    def tensor_parallel_sizes(self, most: int = 64) -> tuple[int, ...]:
        """Numbers of GPUs over which attention heads and KV heads can be split, up to ``most``."""
        return tuple(
            size
            for size in range(1, most + 1)
            if self.heads % size == 0 and (self.latent or self.kv_heads % size == 0 or size % self.kv_heads == 0)
        )
