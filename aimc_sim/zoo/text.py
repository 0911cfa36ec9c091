"""Penn Treebank as characters: text files to numbers in 0 ... 49.

A line of the files is a sentence, its characters separated by blanks, ``_`` in place of a space
(T. Mikolov's preprocessing). Every character is one token, and so is each end of a line: 49 + 1.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from aimc_sim import arguments

TextSplit = Literal["train", "valid", "test"]

PTB_CHARACTERS = "\n#$&'*-./0123456789<>N\\_abcdefghijklmnopqrstuvwxyz"
"""The token of a character is its place in this string; the end of a line is token 0."""


@dataclass(frozen=True, eq=False)
class Text:
    """A text as numbers.

    Attributes
    ----------
    name, split : str
        Name of the text, and of the part of it.
    tokens : (N,) int64 tensor
        Place of each character in ``characters``.
    characters : str
        The alphabet, by token.
    """

    name: str
    split: str
    tokens: Tensor
    characters: str = PTB_CHARACTERS

    def __len__(self) -> int:
        return len(self.tokens)


def ptb_characters(data_dir: str | Path, split: TextSplit = "test") -> Text:
    """Read Penn Treebank's characters from ``ptb.char.<split>.txt`` or ``.txt.xz``.

    Parameters
    ----------
    data_dir : path
        The folder of the files.
    split : {"train", "valid", "test"}
        Part of the text.

    Returns
    -------
    Text
        5,017,482 (train), 393,042 (valid) or 442,423 (test) tokens with the public files.

    Raises
    ------
    FileNotFoundError
        If the folder has no such file.
    ValueError
        If the split is unknown, or the file is damaged or holds another character.

    Notes
    -----
    Source: M. Marcus et al., Computational Linguistics 19, 313 (1993); T. Mikolov et al.,
    *Subword language modeling with neural networks*, 2012 (characters, splits).
    """
    arguments.choice(split, "split", get_args(TextSplit))
    plain = arguments.path(data_dir, "data_dir") / f"ptb.char.{split}.txt"
    packed = plain.with_name(plain.name + ".xz")
    path = plain if plain.is_file() else packed
    if not path.is_file():
        raise FileNotFoundError(
            f"no '{plain.name}' or '{packed.name}' in '{data_dir}': give the folder of Penn "
            "Treebank's characters (Mikolov's preprocessing: blanks between characters, _ for "
            "a space)"
        )
    try:
        content = path.read_bytes()
        text = (lzma.decompress(content) if path is packed else content).decode("ascii")
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(
            f"'{path}' is damaged or no text of Penn Treebank ({error}); replace it"
        ) from error
    return Text("ptb", split, _tokens(text, path))


def encode(text: str) -> Tensor:
    """Return the tokens (N,) int64 of a text in which each letter stands for itself.

    Raises
    ------
    ValueError
        If a character is not one of :data:`PTB_CHARACTERS`.
    """
    return _tokens(text, None)


def _tokens(text: str, path: Path | None) -> Tensor:
    place = {character: i for i, character in enumerate(PTB_CHARACTERS)}
    letters = text.replace(" ", "") if path is not None else text
    strange = sorted(set(letters) - set(place))
    if strange:
        where = f"'{path}'" if path is not None else "the text"
        raise ValueError(
            f"{where} holds {strange[0]!r}, which is none of the {len(place)} characters of Penn "
            "Treebank (lower case, N for a number, _ for a space); replace it"
        )
    table = np.zeros(128, dtype=np.int64)
    for character, i in place.items():
        table[ord(character)] = i
    return torch.from_numpy(table[np.frombuffer(letters.encode("ascii"), dtype=np.uint8)])
