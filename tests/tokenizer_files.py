"""A small `tokenizer.json`, made by the library that reads such files."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

VOCABULARY = {"[UNK]": 0, "[BOS]": 1, "one": 2, "two": 3, "three": 4}


def write_tokenizer(folder: Path, name: str = "tokenizer.json") -> Path:
    """One token a word and one before each text; its texts are said to be cut at two tokens."""
    tokenizer = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[BOS] $A", special_tokens=[("[BOS]", VOCABULARY["[BOS]"])]
    )
    tokenizer.enable_truncation(2)
    file = folder / name
    tokenizer.save(str(file))
    return file
