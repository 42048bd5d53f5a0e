"""Panels and selections of their variants: genomics specification, clauses 3, 4 and 6."""

from dataclasses import dataclass
from struct import Struct

from .frame import digest

SLOTS = 4096
CHECK_SLOTS = 16
VARIANTS_PER_BLOCK = SLOTS - CHECK_SLOTS

_ASSEMBLIES = {37: "GRCh37", 38: "GRCh38"}


@dataclass(frozen=True)
class Variant:
    """A biallelic variant; positions are 1-based."""

    chrom: int
    position: int
    ref: str
    alt: str

    @property
    def id(self) -> str:
        return f"{self.chrom}:{self.position}:{self.ref}:{self.alt}"


class _Reader:
    """Reads little-endian values and fails at the end of the bytes."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def bytes(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise ValueError("the panel file is cut off")
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.bytes(width), "little")

    def text(self) -> str:
        return self.bytes(self.number(2)).decode("ascii")

    def is_at_end(self) -> bool:
        return self._at == len(self._data)


@dataclass(frozen=True)
class Panel:
    """An ordered list of variants that datasets are made on."""

    name: str
    assembly: str
    complete_calls: bool
    variants: tuple[Variant, ...]
    digest: bytes

    @classmethod
    def parse(cls, canonical: bytes) -> "Panel":
        """Parses canonical bytes as an archive sends them."""
        reader = _Reader(canonical)
        version, assembly, complete = reader.number(1), reader.number(1), reader.number(1)
        if version != 1 or assembly not in _ASSEMBLIES or complete > 1:
            raise ValueError("these are not the canonical bytes of a panel of version 1")
        name = reader.text()
        count = reader.number(4)
        variants = []
        for _ in range(count):
            chrom, position = reader.number(1), reader.number(4)
            variants.append(Variant(chrom, position, reader.text(), reader.text()))
        if not reader.is_at_end():
            raise ValueError("the panel has bytes after its last variant")
        name_of_bytes = digest("locus/genomics/panel/v1", canonical)
        return cls(name, _ASSEMBLIES[assembly], bool(complete), tuple(variants), name_of_bytes)

    @property
    def planes(self) -> tuple[int, ...]:
        """0 are calls, 1 are missing calls."""
        return (0,) if self.complete_calls else (0, 1)

    def select(self, ids: list[str] | None = None) -> "Selection":
        """The variants with these ids, or all of them."""
        if ids is None:
            return Selection(self, tuple(range(len(self.variants))))
        places = {variant.id: index for index, variant in enumerate(self.variants)}
        unknown = [name for name in ids if name not in places]
        if unknown:
            raise ValueError(f"variant {unknown[0]} is not on panel {self.name}")
        return Selection(self, tuple(sorted({places[name] for name in ids})))


@dataclass(frozen=True)
class Selection:
    """Variants of one panel, as ascending indices."""

    panel: Panel
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.indices:
            raise ValueError("no variant is selected")

    def runs(self) -> list[tuple[int, int]]:
        """Runs of neighbouring indices: first index and length."""
        runs: list[tuple[int, int]] = []
        for index in self.indices:
            if runs and sum(runs[-1]) == index:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((index, 1))
        return runs

    @property
    def digest(self) -> bytes:
        pair = Struct("<II")
        runs = self.runs()
        canonical = self.panel.digest + pair.pack(len(self.panel.variants), len(runs))
        canonical += b"".join(pair.pack(first, length) for first, length in runs)
        return digest("locus/genomics/variant-selection/v1", canonical)

    def slots(self) -> dict[int, list[int]]:
        """Requested slots of every panel block, ascending."""
        blocks: dict[int, list[int]] = {}
        for index in self.indices:
            block, place = divmod(index, VARIANTS_PER_BLOCK)
            blocks.setdefault(block, []).append(CHECK_SLOTS + place)
        return blocks
