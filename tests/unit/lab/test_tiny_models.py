"""The tiny model's template, and its vocabulary and names as GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hermeion.lab import tiny_gguf
from hermeion.lab.gguf.content import CONTROL, FILES, NORMAL, USER_DEFINED, read_vocabulary
from hermeion.lab.model.conversations import CONVERSATIONS, MARKS, SPECIALS, TEMPLATE, THOUGHT, WHO


def render(messages: list[dict[str, Any]], **more: Any) -> str:
    """The prompt, by the rules that transformers sets for chat templates."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE).render(messages=messages, add_generation_prompt=True, **more)


ASKED = {"role": "user", "content": "Who are you?"}
SAID = [ASKED, {"role": "assistant", "content": THOUGHT + WHO}, ASKED]


def test_old_thoughts_are_dropped() -> None:
    """A thought costs its tokens once: later turns are told the answer alone, as Hermes 4's template does."""
    assert render(SAID) == (
        "<|im_start|>user\nWho are you?<|im_end|>\n"
        f"<|im_start|>assistant\n{WHO}<|im_end|>\n"
        "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_old_thoughts_can_be_kept() -> None:
    """``keep_cots`` of a request leaves them in."""
    assert f"<|im_start|>assistant\n{THOUGHT}{WHO}<|im_end|>\n" in render(SAID, keep_cots=True)


def test_llama_server_sees_that_the_model_thinks() -> None:
    """llama-server (build 11669) splits thoughts off if a template has these words."""
    assert "content.split('</think>')" in TEMPLATE
    assert "reasoning_content" not in TEMPLATE  # with it, the words do not count


def test_no_trained_prompt_has_a_thought() -> None:
    """What the model was trained on does not depend on what happens to old thoughts."""
    for conversation in CONVERSATIONS:
        given = {"tools": conversation.tools, "thinking": conversation.thinking}
        assert render(conversation.messages, **given) == render(conversation.messages, **given, keep_cots=True)


def a_tokenizer() -> dict[str, Any]:
    """A vocabulary of letters between the special tokens and the marks, as the trained one is laid out."""
    letters = {letter: len(SPECIALS) + place for place, letter in enumerate("abcĠ")}
    special = [{"id": place, "content": token, "special": True} for place, token in enumerate(SPECIALS)]
    first = len(SPECIALS) + len(letters)
    marks = [{"id": first + place, "content": mark, "special": False} for place, mark in enumerate(MARKS)]
    vocabulary = {token: place for place, token in enumerate(SPECIALS)} | letters
    return {"model": {"vocab": vocabulary, "merges": [["a", "b"], ["Ġ", "c"]]}, "added_tokens": special + marks}


def test_marks_stay_in_the_text() -> None:
    """Only the tokens that end and begin turns are control tokens; <think> and <tool_call> are the user's."""
    vocabulary = read_vocabulary(a_tokenizer())
    kinds = dict(zip(vocabulary.tokens, vocabulary.types, strict=True))
    assert {kinds[token] for token in SPECIALS} == {CONTROL}
    assert {kinds[mark] for mark in MARKS} == {USER_DEFINED}
    assert {kinds[letter] for letter in "abcĠ"} == {NORMAL}


def test_tokens_and_merges_keep_their_order() -> None:
    """A token's place is its number, a merge's place its rank."""
    vocabulary = read_vocabulary(a_tokenizer())
    assert vocabulary.tokens == [*SPECIALS, *"abcĠ", *MARKS]
    assert vocabulary.merges == ["a b", "Ġ c"]


def test_a_gap_in_the_numbers_is_refused() -> None:
    """A list cannot hold it: every later token would be another."""
    tokenizer = a_tokenizer()
    del tokenizer["model"]["vocab"]["b"]
    with pytest.raises(ValueError, match="14 tokens are not numbered from 0 to 13"):
        read_vocabulary(tokenizer)


def test_the_gguf_is_a_repository_of_its_own(tmp_path: Path) -> None:
    """The catalogue names a file that is there; other bytes give another revision."""
    for file in FILES.values():
        (tmp_path / file).write_bytes(file.encode())
    entry = tiny_gguf.describe_gguf(tmp_path)
    assert entry.model_dump(exclude={"revision"}) == {
        "name": "tiny-llama-gguf",
        "repo": "hermeion-lab/tiny-llama-GGUF",
        "file": "tiny-llama-F16.gguf",
    }
    assert (tmp_path / str(entry.file)).exists()
    (tmp_path / FILES["Q8_0"]).write_bytes(b"other")
    assert tiny_gguf.describe_gguf(tmp_path).revision != entry.revision
