"""Token lists of a catalogue's texts, on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from vitrina.disk import nameless_file
from vitrina.types import Codes


@dataclass(frozen=True, eq=False)
class TokenLists:
    """n token lists, concatenated. flat: int32. starts: (n + 1,) int64, offsets of the lists in
    `flat`."""

    flat: npt.NDArray[np.int32]
    starts: Codes

    @classmethod
    def write(cls, batches: Iterable[Sequence[Sequence[int]]]) -> TokenLists:
        """Write lists to an unnamed temporary file, which is removed with the array."""
        lengths: list[npt.NDArray[np.int64]] = []
        with nameless_file() as file:
            for lists in batches:
                for line in lists:
                    file.write(np.asarray(line, dtype=np.int32).tobytes())
                lengths.append(np.array([len(line) for line in lists], dtype=np.int64))
            starts = np.cumsum(np.concatenate([np.zeros(1, dtype=np.int64), *lengths]))
            file.flush()
            if not starts[-1]:
                return cls(np.zeros(0, dtype=np.int32), starts)
            return cls(np.memmap(file, np.int32, mode="r", shape=(int(starts[-1]),)), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Codes:
        """Number of tokens in each list, (n,) int64."""
        return np.diff(self.starts)

    def lengths_of(self, rows: Codes) -> Codes:
        """Number of tokens in some lists, (len(rows),) int64."""
        lengths: Codes = self.starts[rows + 1] - self.starts[rows]
        return lengths

    def one_line(self, rows: Codes) -> Codes:
        """Concatenate some lists: (total tokens,) int64."""
        parts = [self.flat[self.starts[row] : self.starts[row + 1]] for row in rows]
        return np.concatenate(parts).astype(np.int64)

    def padded(self, rows: Codes, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad some lists with `pad`: ids, (len(rows), longest) int64, and the mask of tokens, bool
        of the same shape."""
        lengths = self.lengths_of(rows)
        there = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(there.shape, pad, dtype=np.int64)
        ids[there] = self.one_line(rows)
        return torch.from_numpy(ids), torch.from_numpy(there)
