"""Which words of a command another program reads as a script.

Lives here: shells and interpreters, and those of their options whose value is a script. Does
not live here: what may stand in such a word (``command_template.py``).

It is told by names, so that it holds for the programs that are known here, under their own
names, wherever in a command they stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

_SHELLS = re.compile(r"r?(ba|da|a|k|mk|pdk|ya|z|c|tc|fi)?sh|nu|elvish|xonsh")
_POWERSHELLS = re.compile(r"(pwsh|powershell)(\.exe)?", re.IGNORECASE)
_OTHERS = re.compile(r"\{python\}|(python|pypy|perl|ruby|node|php|Rscript|lua)[0-9.]*")
_ALL_AFTER = frozenset({
    "ssh", "su", "runuser", "eval", "xargs", "watch", "parallel", "flock", "tmux",
    "awk", "gawk", "mawk", "nawk", "sed",
})
"""Of these any word behind may be a script, or a part of one."""

_OF_SHELLS = re.compile(r"[-+]\w*c\w*")
_OF_OTHERS = re.compile(r"-\w*[ceErp].*|--(eval|print|run)(=.*)?", re.DOTALL)
_WITH_VALUE = re.compile(r"[-+]\w*[oO]|--rcfile|--init-file|-[WXIMl]|--require")
"""Options behind which a word of theirs stands that is no script."""


def read_as_scripts(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield words of a command that a program would read as a script, with its name."""
    for at, word in enumerate(words):
        behind = words[at + 1:]
        program = PurePath(word).name
        if program in _ALL_AFTER or _POWERSHELLS.fullmatch(program) or (
                program == "env" and _splits(behind)):
            yield from ((each, program) for each in behind)
            return
        yield from ((each, program) for each in _scripts_of(program, behind))
        yield from _of_entrypoint(word, behind)
        if word.startswith("--wrap="):
            yield word.partition("=")[2], "sbatch --wrap"
        elif word == "--wrap":
            yield from ((each, "sbatch --wrap") for each in behind[:1])


def _scripts_of(program: str, behind: Sequence[str], *, anywhere: bool = False) -> Iterator[str]:
    """Yield the scripts among the words behind a shell or interpreter.

    ``anywhere``: other words stand between it and its options.
    """
    if _SHELLS.fullmatch(program):
        option = _OF_SHELLS
    elif _OTHERS.fullmatch(program):
        option = _OF_OTHERS
    else:
        return
    rest = list(behind)
    while rest and (anywhere or _is_option(rest[0])):
        word = rest.pop(0)
        if option.fullmatch(word):
            yield word
            yield from _first_operand(rest)
        elif _WITH_VALUE.fullmatch(word) and rest and not _is_option(rest[0]):
            rest.pop(0)


def _is_option(word: str) -> bool:
    return word.startswith(("-", "+"))


def _first_operand(words: Sequence[str]) -> Iterator[str]:
    """Yield the options that are next, and what stands behind them."""
    for word in words:
        yield word
        if not _is_option(word):
            return


def _of_entrypoint(word: str, behind: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what a shell reads that a container is told to begin with."""
    option, equals, value = word.partition("=")
    if option != "--entrypoint":
        return
    if not equals:
        value, behind = (behind[0] if behind else ""), behind[1:]
    name = PurePath(value).name
    if _POWERSHELLS.fullmatch(name):
        yield from ((each, name) for each in behind)
    yield from ((each, name) for each in _scripts_of(name, behind, anywhere=True))


def _splits(words: Sequence[str]) -> bool:
    """Tell whether ``env`` is to split a word into several."""
    return any(re.match(r"-[A-Za-z]*S|--split-string", word) for word in words)
