#!/usr/bin/env python3
"""Cut a PLINK 1 fileset down to evenly spaced variants (all people kept).

    make_extract.py SOURCE_PREFIX OUT_PREFIX VARIANTS

Reads SOURCE_PREFIX.bed.zst, .bim.gz and .fam; writes OUT_PREFIX.bed.zst, .bim and .fam.
Variant i of the extract is variant floor(i * n / VARIANTS) of the source. Needs the zstd command.
"""

import gzip
import subprocess
import sys

MAGIC = bytes([0x6C, 0x1B, 0x01])

source, out, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
fam = open(f"{source}.fam").read()
bim = gzip.open(f"{source}.bim.gz", "rt").read().splitlines(keepends=True)
bed = subprocess.run(["zstd", "-dcq", f"{source}.bed.zst"], stdout=subprocess.PIPE, check=True).stdout

row = (len(fam.splitlines()) + 3) // 4
assert bed.startswith(MAGIC) and len(bed) == 3 + row * len(bim), "the files do not belong together"
assert 0 < wanted <= len(bim)
kept = [i * len(bim) // wanted for i in range(wanted)]

with open(f"{out}.fam", "w") as file:
    file.write(fam)
with open(f"{out}.bim", "w") as file:
    file.write("".join(bim[i] for i in kept))
rows = MAGIC + b"".join(bed[3 + i * row : 3 + (i + 1) * row] for i in kept)
with open(f"{out}.bed.zst", "wb") as file:
    file.write(subprocess.run(["zstd", "-19", "-cq"], input=rows, stdout=subprocess.PIPE, check=True).stdout)
print(f"{len(kept)} variants, chromosomes {sorted({bim[i].split()[0] for i in kept}, key=int)}")
