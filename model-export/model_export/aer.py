"""Word alignments held against gold ones: reading both, alignment error rate, symmetrising two directions.

A link is (source word, target word), 0-based over the words that single spaces split. Gold links are sure or possible;
every sure link is also possible: in the formulas P is the union of a gold file's two columns.

The measures are those of Och and Ney, "A Systematic Comparison of Various Statistical Alignment Models", Computational
Linguistics 29(1), 2003, section 5. They are counted over the whole corpus, never averaged over sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from model_export.data import read_lines

Link = tuple[int, int]
Links = frozenset[Link]

_LINK = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


_UP_TO = (10, 20, 30, 50)  # words
LENGTHS = ("1-10", "11-20", "21-30", "31-50", "over 50")


def length_class(words: int) -> str:
    """Which of LENGTHS a text of so many words is in."""
    return next((name for name, last in zip(LENGTHS, _UP_TO, strict=False) if words <= last), LENGTHS[-1])


class GoldPair(NamedTuple):
    """Two sentences and what a person linked; `possible` holds the sure links too."""

    source: str
    target: str
    sure: Links
    possible: Links


def read_gold(path: Path, swap: bool = False) -> list[GoldPair]:
    """A file of `source TAB target TAB sure TAB possible` lines, plain or `.zst`; the last two may be empty.

    `swap` makes the second column the source, and turns every link round.
    """
    pairs = []
    for number, line in read_lines(path):
        place, columns = f"{path}:{number}", line.split("\t")
        if len(columns) != 4:
            raise ValueError(
                f"{place}: expected 4 columns split by one TAB (source, target, sure links, possible links), "
                f"found {len(columns)}"
            )
        source, target = columns[:2]
        sure, possible = (_links(text, _size(source), _size(target), place) for text in columns[2:])
        if swap:
            source, target, sure, possible = target, source, turned(sure), turned(possible)
        pairs.append(GoldPair(source, target, sure, sure | possible))
    if not pairs:
        raise ValueError(f"{path}: no line to score")
    return pairs


def read_links(path: Path, gold: Sequence[GoldPair]) -> list[Links]:
    """A file of `i-j` links split by spaces (Pharaoh format), one line for each pair of `gold`, plain or `.zst`."""
    lines = list(read_lines(path))
    if len(lines) != len(gold):
        raise ValueError(
            f"{path}: expected a line for each of the gold file's {len(gold):,} pairs, found {len(lines):,}"
        )
    return [
        _links(line, _size(pair.source), _size(pair.target), f"{path}:{number}")
        for (number, line), pair in zip(lines, gold, strict=True)
    ]


def _size(sentence: str) -> int:
    return len(sentence.split(" ")) if sentence else 0


def _links(text: str, sources: int, targets: int, place: str) -> Links:
    found = set()
    for word in text.split():
        match = _LINK.fullmatch(word)
        if match is None:
            raise ValueError(f"{place}: a link should be i-j, two 0-based word positions: was {word!r}")
        i, j = int(match[1]), int(match[2])
        if i >= sources or j >= targets:
            raise ValueError(f"{place}: link {word} is outside the sentence, which has {sources} and {targets} words")
        found.add((i, j))
    return frozenset(found)


def turned(links: Iterable[Link]) -> Links:
    """The same links seen from the other side: (target word, source word)."""
    return frozenset((j, i) for i, j in links)


class Agreement(NamedTuple):
    """How far links A agree with sure links S and possible links P, as counts, so that corpora add up.

    A share of nothing is NaN. Section 5 of Och and Ney 2003.
    """

    links: int = 0  # |A|
    sure: int = 0  # |S|
    found_sure: int = 0  # |A and S|
    found_possible: int = 0  # |A and P|

    @property
    def precision(self) -> float:
        """|A and P| / |A|: a link is wrong only when nobody would draw it."""
        return _share(self.found_possible, self.links)

    @property
    def recall(self) -> float:
        """|A and S| / |S|: a link is missed only when everybody would draw it."""
        return _share(self.found_sure, self.sure)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 - AER where every possible link is sure."""
        return _share(2 * self.precision * self.recall, self.precision + self.recall)

    @property
    def aer(self) -> float:
        """1 - (|A and S| + |A and P|) / (|A| + |S|): 0 is best."""
        return 1 - _share(self.found_sure + self.found_possible, self.links + self.sure)

    def plus(self, links: Links, pair: GoldPair) -> Agreement:
        """With one more pair's links counted."""
        return Agreement(
            self.links + len(links),
            self.sure + len(pair.sure),
            self.found_sure + len(links & pair.sure),
            self.found_possible + len(links & pair.possible),
        )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def diagonal(pair: GoldPair) -> Links:
    """A link for each target word, to the source word at the same share of its sentence: a straight line."""
    sources, targets = _size(pair.source), _size(pair.target)
    return frozenset((j * sources // targets, j) for j in range(targets)) if sources else frozenset()


def agreement(found: Iterable[Links], gold: Iterable[GoldPair]) -> Agreement:
    """Over all pairs, whose links `found` has in the same order."""
    total = Agreement()
    for links, pair in zip(found, gold, strict=True):
        total = total.plus(links, pair)
    return total


# Two directions into one. Both arguments hold (source, target) links: the one that the source-to-target model drew,
# and the one of the target-to-source model, turned round already.


def intersection(forward: Links, backward: Links) -> Links:
    """What both directions have. Och and Ney 2003, section 4."""
    return forward & backward


def union(forward: Links, backward: Links) -> Links:
    """What either direction has. Och and Ney 2003, section 4."""
    return forward | backward


def grow_diag(forward: Links, backward: Links) -> Links:
    """From the intersection outwards, through the eight neighbours of a link that is there.

    A link of the union is added next to one that is there when its source or its target word has none yet, until
    nothing changes; links are visited by target word, then source word, and one added further on is visited in the same
    round. Koehn, Och, Marcu, "Statistical Phrase-Based Translation", NAACL 2003, section 4.5 ("diag", without the final
    step); the neighbours' order (straight ones first) is that of Moses. Och and Ney 2003, section 4, grow through the
    four straight neighbours only.
    """
    return frozenset(_grown(forward, backward))


def grow_diag_final(forward: Links, backward: Links) -> Links:
    """`grow_diag`, then each direction's links whose source *or* target word has none yet, forward's first.

    Koehn, Och, Marcu 2003, section 4.5 ("diag").
    """
    return _final(forward, backward, any)


def grow_diag_final_and(forward: Links, backward: Links) -> Links:
    """`grow_diag`, then each direction's links whose source *and* target word have none yet, forward's first.

    Koehn, Och, Marcu 2003, section 4.5 ("diag-and").
    """
    return _final(forward, backward, all)


SYMMETRISATIONS: dict[str, Callable[[Links, Links], Links]] = {
    "intersection": intersection,
    "union": union,
    "grow-diag": grow_diag,
    "grow-diag-final": grow_diag_final,
    "grow-diag-final-and": grow_diag_final_and,
}

_NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))  # (source, target)


class _Growing(set[Link]):
    """Links, and which words have one."""

    def __init__(self, links: Links) -> None:
        super().__init__(links)
        self.sources, self.targets = {i for i, _ in links}, {j for _, j in links}

    def add(self, link: Link) -> None:
        super().add(link)
        self.sources.add(link[0])
        self.targets.add(link[1])

    def unlinked(self, link: Link) -> tuple[bool, bool]:
        """Whether its source word, and whether its target word, has no link yet."""
        return link[0] not in self.sources, link[1] not in self.targets


def _grown(forward: Links, backward: Links) -> _Growing:
    grown, candidates = _Growing(forward & backward), forward | backward
    before = -1
    while len(grown) > before:
        before = len(grown)
        for i, j in _by_target(candidates):
            if (i, j) not in grown:
                continue
            for down, right in _NEIGHBOURS:
                link = (i + down, j + right)
                if link in candidates and any(grown.unlinked(link)):
                    grown.add(link)
    return grown


def _final(forward: Links, backward: Links, needed: Callable[[Iterable[bool]], bool]) -> Links:
    grown = _grown(forward, backward)
    for direction in (forward, backward):
        for link in _by_target(direction):
            if needed(grown.unlinked(link)):
                grown.add(link)
    return frozenset(grown)


def _by_target(links: Iterable[Link]) -> list[Link]:
    return sorted(links, key=lambda link: (link[1], link[0]))
