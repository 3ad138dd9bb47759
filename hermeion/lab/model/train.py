# mypy: ignore-errors
# Its imports exist in the engine image only.
"""Make a tiny Llama that has learnt a handful of conversations by heart. Runs in the engine image.

``python3 train.py OUT``: writes a model folder as the Hub would serve it. Nothing is downloaded: the vocabulary is
made from the conversations, the weights from a fixed seed. Takes some tens of seconds on two cores.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from conversations import CONTEXT, CONVERSATIONS, MARKS, SPECIALS, TEMPLATE
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 512
STEPS_MAX = 600
WARM_UP = 30  # steps until the full learning rate
SHORT = 80  # tokens; conversations with tools are several times longer
ENOUGH = 0.01  # mean loss at which every trained answer is repeated word for word


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of the texts. The marks are tokens, but not special: parsers must see them in the text."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKS),
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bare.train_from_iterator(texts, trainer)
    bare.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in MARKS])
    end, start, turn_end = SPECIALS
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare,
        eos_token=turn_end,
        pad_token=end,
        additional_special_tokens=[start],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_batches(tokenizer: PreTrainedTokenizerFast) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """All conversations as tokens and labels; only the answers count for the loss.

    In two batches, short and long: padded to the longest, most of one batch would be padding.
    """
    rows = []
    for conversation in CONVERSATIONS:
        arguments: dict[str, Any] = {"tools": conversation.tools, "thinking": conversation.thinking}
        prompt = tokenizer.apply_chat_template(
            conversation.messages, add_generation_prompt=True, tokenize=False, **arguments
        )
        asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        said = tokenizer(conversation.answer + SPECIALS[2], add_special_tokens=False)["input_ids"]
        rows.append((asked, said))
    short = [row for row in rows if len(row[0]) + len(row[1]) < SHORT]
    long = [row for row in rows if row not in short]
    return [pad(group, tokenizer.pad_token_id) for group in (short, long)]


def pad(rows: list[tuple[list[int], list[int]]], filler: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of one length; -100 is what the loss leaves out."""
    length = max(len(asked) + len(said) for asked, said in rows)
    tokens = torch.full((len(rows), length), filler)
    labels = torch.full((len(rows), length), -100)
    for row, (asked, said) in enumerate(rows):
        tokens[row, : len(asked) + len(said)] = torch.tensor(asked + said)
        labels[row, len(asked) : len(asked) + len(said)] = torch.tensor(said)
    return tokens, labels


def train(model: LlamaForCausalLM, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Overfit until every answer is known by heart."""
    steps = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    start = time.monotonic()
    worst = float("inf")
    for step in range(1, STEPS_MAX + 1):
        for group in steps.param_groups:
            group["lr"] = 2e-3 * min(1.0, step / WARM_UP)
        steps.zero_grad()
        losses = [model(input_ids=tokens, labels=labels).loss for tokens, labels in batches]
        sum(losses).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        steps.step()
        worst = max(loss.item() for loss in losses)
        if step % 20 == 0:
            print(f"step {step}: loss {worst:.4f} after {time.monotonic() - start:.0f} s", flush=True)
        if worst < ENOUGH:
            return
    sys.exit(f"the model did not learn its answers: loss {worst:.4f} after {STEPS_MAX} steps")


def check(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Every trained answer must come out word for word, in the precision that is saved."""
    for conversation in CONVERSATIONS:
        prompt = tokenizer.apply_chat_template(
            conversation.messages, add_generation_prompt=True, tokenize=False,
            tools=conversation.tools, thinking=conversation.thinking,
        )  # fmt: skip
        asked = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            out = model.generate(**asked, max_new_tokens=120, do_sample=False)
        said = tokenizer.decode(out[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
        if said != conversation.answer:
            sys.exit(f"the model answers {said!r} to {conversation.messages[-1]!r}, wanted {conversation.answer!r}")


def main(out: Path) -> None:
    """Make, train, check and save."""
    torch.manual_seed(7)
    texts = [json.dumps(conversation.tools) for conversation in CONVERSATIONS if conversation.tools]
    texts += [str(message["content"]) for c in CONVERSATIONS for message in c.messages]
    texts += [conversation.answer for conversation in CONVERSATIONS] + [TEMPLATE]
    tokenizer = make_tokenizer(texts)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=704, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=CONTEXT, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    train(model, make_batches(tokenizer))
    model = model.to(torch.bfloat16).eval()
    check(model, tokenizer)
    model.generation_config.update(do_sample=True, temperature=0.6, top_p=0.95, top_k=20)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "README.md").write_text("A tiny Llama made on the spot by the Hermeion lab. It knows a few sentences.\n")
    print(f"saved {sum(p.numel() for p in model.parameters())} parameters, {len(tokenizer)} tokens", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
